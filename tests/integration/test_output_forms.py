"""Every output form for everything that run() may return."""

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.integration.running import numbers

from batch_score import TabularDataset

RECORD = Path(__file__).resolve().parents[2] / "docs" / "formats" / "run-record.md"

RETURNS = {
    "frame": "return rows[['id']].assign(score=rows['id'] * 2)",
    "list": "return [int(i) * 2 for i in rows['id']]",
    "tuple": "return tuple(int(i) * 2 for i in rows['id'])",
    "array": "return rows['id'].to_numpy() * 2",
    "series": "return (rows['id'] * 2).rename('score')",
    "generator": "yield from (int(i) * 2 for i in rows['id'])",
    "arrow": "import pyarrow as pa; return pa.table({'score': pa.array(rows['id'].to_numpy() * 2)})",
    "dicts": "return [{'score': int(i) * 2} for i in rows['id']]",
    "matrix": "import numpy as np; return np.column_stack([rows['id'], rows['id'] * 2])",
}
VALUE = {"list": "prediction", "tuple": "prediction", "array": "prediction", "generator": "prediction"}


def records(path):
    """The records of an output file, by its form."""
    match path.suffix:
        case ".csv":
            return pd.read_csv(path).to_dict("records")
        case ".tsv":
            return pd.read_csv(path, sep="\t").to_dict("records")
        case ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return pq.read_table(path).to_pylist()


@pytest.fixture
def table(tmp_path):
    return TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 25))


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("what", RETURNS)
def test_what_run_returns_comes_back_with_its_key(what, form, table, job, script):
    script(f"def run(rows):\n    {RETURNS[what]}\n")
    result = job(table, mini_batch_size=60, append_row_file_name=f"out.{form}")
    assert result.status == "completed", result
    assert result.totals.mini_batches > 3
    found = sorted(records(result.output), key=lambda record: record["row"])
    assert [record["row"] for record in found] == list(range(25))
    assert {record["source"] for record in found} == {table.paths[0]}
    column = "prediction_1" if what == "matrix" else VALUE.get(what, "score")
    assert [record[column] for record in found] == [2 * row for row in range(25)]


TEXT = {
    "frame": "".join(f"{i} {2 * i}\n" for i in range(25)),
    "arrow": "".join(f"{2 * i}\n" for i in range(25)),
    "dicts": "".join(f"{{'score': {2 * i}}}\n" for i in range(25)),
    "matrix": "".join(f"[{i}, {2 * i}]\n" for i in range(25)),
}


@pytest.mark.parametrize("what", RETURNS)
def test_the_text_form_byte_for_byte(what, table, job, script):
    script(f"def run(rows):\n    {RETURNS[what]}\n")
    result = job(table, mini_batch_size=60, append_row_file_name="parallel_run_step.txt")
    assert result.output.read_bytes() == TEXT.get(what, "".join(f"{2 * i}\n" for i in range(25))).encode()


def test_the_text_form_of_awkward_values(table, job, script):
    values = [1.5, None, True, "two words", "é😀", ("a", 1), {"k": [1]}, "a\nb", "", 1e-300]
    script(f"def run(rows):\n    return {values!r}\n")
    result = job(table, mini_batch_size="1GB")
    assert result.output.name == "parallel_run_step.txt"
    assert result.output.read_bytes() == "".join(f"{value}\n" for value in values).encode()


def test_the_text_form_of_a_frame_is_what_to_csv_writes(tmp_path, table, job, script):
    script("""
        import pandas as pd

        FRAME = pd.DataFrame({
            "text": ["plain", "two words", 'say "hi"', "a\\nb", "", None, "é"],
            "number": [1.0, 0.1 + 0.2, 1e22, -0.0, float("nan"), float("inf"), 3],
            "flag": [True, False, True, False, True, False, None],
        })

        def run(rows):
            return FRAME
    """)
    result = job(table, mini_batch_size="1GB")
    scope = {}
    exec((tmp_path / "score.py").read_text(), scope)  # noqa: S102 - the script above
    assert result.output.read_text() == scope["FRAME"].to_csv(sep=" ", header=False, index=False)
    result = job(table, mini_batch_size="1GB", append_row_dataframe_header=True)
    assert result.output.read_text() == scope["FRAME"].to_csv(sep=" ", index=False)


def test_a_header_appears_once(table, job, script):
    script("def run(rows):\n    return rows\n")
    result = job(table, mini_batch_size=60, append_row_file_name="o.csv")
    assert result.output.read_text().count("source,row,id,a,b\n") == 1
    result = job(table, mini_batch_size=60, append_row_dataframe_header=True)
    assert result.output.read_text().splitlines().count("id a b") == 1


FIRST_A_LIST = "def run(rows):\n    return [1] * len(rows) if rows['id'].iloc[0] == 0 else rows\n"


def test_a_header_that_comes_too_late_is_left_out_and_said_so(table, job, script):
    script(FIRST_A_LIST)
    result = job(table, mini_batch_size=60, append_row_dataframe_header=True)
    assert result.status == "completed", result
    lines = result.output.read_text().splitlines()
    assert len(lines) == 25
    assert lines[0] == "1"
    assert "no header" in result.ending.output_form
    assert "no header is written" in (result.run_dir / "logs" / "sys" / "master_role.txt").read_text()


@pytest.mark.parametrize(
    ("config", "form"),
    [
        ({"append_row_file_name": "o.csv"}, "25 rows, csv, separator ',', header"),
        ({"append_row_file_name": "o.tsv"}, "25 rows, tsv, separator '\\t', header"),
        ({"append_row_file_name": "o.jsonl"}, "25 rows, jsonl"),
        ({"append_row_file_name": "o.parquet"}, "25 rows, parquet"),
        ({}, "25 rows, txt, separator ' ', no header"),
        ({"append_row_dataframe_header": True}, "25 rows, txt, separator ' ', header"),
    ],
)
def test_the_result_says_how_to_read_the_output(config, form, table, job, script):
    script("def run(rows):\n    return rows\n")
    result = job(table, mini_batch_size=60, **config)
    assert result.ending.output_form == form
    assert f"{result.output}\n               {form}\n" in (result.run_dir / "logs" / "job_result.txt").read_text()


def test_settings_beside_the_script_are_for_the_text_form_only(tmp_path, table, job, script):
    script("def run(rows):\n    return rows\n")
    overrides = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ";"}}}
    (tmp_path / "parallel_run_step.settings.json").write_text(json.dumps(overrides))
    result = job(table, mini_batch_size="1GB", append_row_file_name="o.csv")
    assert result.output.read_text().splitlines()[0] == "source,row,id,a,b"
    said = (
        "parallel_run_step.settings.json beside the entry script is for the text form (.txt) and has no effect on o.csv"
    )
    assert said in (result.run_dir / "logs" / "sys" / "master_role.txt").read_text()


def test_settings_beside_the_script_override_to_csv(tmp_path, table, job, script):
    script("def run(rows):\n    return rows\n")
    overrides = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ";", "index": True, "header": True}}}
    (tmp_path / "parallel_run_step.settings.json").write_text(json.dumps(overrides))
    result = job(table, mini_batch_size=60)
    lines = result.output.read_text().splitlines()
    assert lines[0].endswith("id;a;b")
    rows = sorted((line.split(";") for line in lines[1:]), key=lambda row: int(row[1]))
    assert rows[7][1:] == ["7", "1.75", "-7"]
    assert [row[0] for row in rows].count("0") == result.totals.mini_batches_succeeded > 1
    assert len(lines) == 26


def test_summary_only_writes_no_rows_but_counts(table, job, script):
    script("def run(rows):\n    return rows\n")
    result = job(table, mini_batch_size=60, output_action="summary_only")
    assert (result.status, result.output, result.totals.items_succeeded) == ("completed", None, 25)
    assert list((result.run_dir / "outputs").iterdir()) == []


@pytest.mark.parametrize(
    ("key", "header"),
    [
        ("auto", ["source", "row", "prediction"]),
        ("none", ["prediction"]),
        ("id", ["id", "prediction"]),
        ("b,id", ["b", "id", "prediction"]),
    ],
)
def test_the_key_columns(key, header, table, job, script):
    script("def run(rows):\n    return [1] * len(rows)\n")
    result = job(table, mini_batch_size=60, append_row_file_name="o.csv", key=key)
    frame = pd.read_csv(result.output)
    assert list(frame.columns) == header
    if "id" in header:
        assert sorted(frame["id"]) == list(range(25))


def test_a_filtered_and_sorted_frame_keeps_its_keys(table, job, script):
    script("def run(rows):\n    return rows[rows['id'] % 3 == 0].sort_values('id', ascending=False)[['id']]\n")
    result = job(table, mini_batch_size=60, append_row_file_name="o.csv")
    frame = pd.read_csv(result.output)
    assert (frame["row"] == frame["id"]).all()
    assert sorted(frame["id"]) == list(range(0, 25, 3))
    lines = (result.run_dir / "failed_items.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["row"] for line in lines) == [i for i in range(25) if i % 3]


def test_output_goes_to_its_own_folder_and_nothing_else_does(tmp_path, batch_score, script):
    script("def run(rows):\n    return rows\n")
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--output", "there", "--append-row-file-name", "o.parquet")
    assert done.code == 0, done.err
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["o.parquet"]
    assert done.output == tmp_path / "there" / "o.parquet"
    assert pq.read_table(done.output).num_rows == 10


def test_the_counts_agree_everywhere(tmp_path, batch_score, script):
    script("def run(rows):\n    return rows\n")
    numbers(tmp_path / "t.csv", 1_000)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", "1KB")
    run = json.loads((done.run_dir / "run.json").read_text())
    report = done.json
    assert {name: run[name] for name in report} == report
    page = RECORD.read_text(encoding="utf-8")
    assert [name for name in (*run, *run["times"][0], "resumed") if f"`{name}`" not in page] == []
    assert report["items"] == {"total": 1_000, "succeeded": 1_000, "failed": 0}
    assert report["bytes_read"] == (tmp_path / "t.csv").stat().st_size - len("id,a,b\n")
    assert report["output"] == str(done.output)
    assert run["config"]["mini_batch_size"] == "1KB"
    assert run["inputs"] == [{"kind": "delimited", "inputs": ["t.csv"], "options": {}}]
    assert list(run["fingerprint"]["inputs"][0]["listed"]) == ["t.csv"]


@pytest.mark.parametrize("form", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_a_failed_job_leaves_the_rows_it_has_in_the_output_that_it_names(form, table, job, script):
    script("""
        def run(rows):
            if rows["id"].iloc[0] > 10:
                raise ValueError("late")
            return rows
    """)
    result = job(table, mini_batch_size=20, append_row_file_name=f"o.{form}", error_threshold=0, run_max_try=1)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert result.totals.items_succeeded > 5
    if form == "parquet":  # made of whole jobs only; the rows are in the run directory, for a job that goes on
        assert result.output is None
        assert list((result.run_dir / "outputs").iterdir()) == []
    elif form == "txt":
        assert len(result.output.read_text().splitlines()) == result.totals.items_succeeded
    else:
        assert len(records(result.output)) == result.totals.items_succeeded


def test_a_type_that_one_parquet_column_cannot_hold_fails_its_mini_batch_only(table, job, script):
    script("""
        def run(rows, context):
            return [{"score": "text" if context.minibatch_index == 2 else int(i)} for i in rows["id"]]
    """)
    options = {"append_row_file_name": "o.parquet", "mini_batch_size": 20, "engine": "inline"}
    result = job(table, "score.py", **options)
    assert result.status == "completed", result
    assert result.totals.mini_batches_given_up == 1
    assert "column 'score' is int64 in some mini-batches and string in others" in str(result)
    kept = pq.read_table(result.output)
    assert len(kept) == result.totals.items_succeeded == 25 - result.totals.items_failed
    assert kept.schema.field("score").type == "int64"
