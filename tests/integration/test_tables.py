"""Tables in, tables out: every row once, with its key and the value it would have got from a plain loop."""

import bz2
import csv
import gzip
import io
import json

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests import models
from tests.integration.running import FULL, numbers, tries

from batch_score import TabularDataset
from batch_score.output.parquet import ROW_GROUP_BYTES

ECHO = "def run(rows):\n    return rows\n"
SIZES = ["1", "2", "7", "64", "1KB", "1GB"]


def features(path, rows, first, random):
    """A table of `id` and 20 columns of float32 text."""
    frame = pd.DataFrame(random.normal(size=(rows, 20)).astype(np.float32), columns=[f"f{k}" for k in range(20)])
    frame.insert(0, "id", np.arange(first, first + rows))
    frame.to_csv(path, index=False)


def direct(model, frame):
    """What ONNX Runtime says when it is called once with the whole table."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": frame.drop(columns="id").to_numpy(np.float32)})[0]


def parts(folder, rows):
    random = np.random.default_rng(1)
    for part, first in enumerate(range(0, rows, rows // 4)):
        features(folder / f"part-{part}.csv", rows // 4, first, random)
    return pd.concat([pd.read_csv(path) for path in sorted(folder.glob("part-*.csv"))])


def check_imports_without_pandas(logs):
    """Importing it takes longer than all else a worker imports, and 100 MB; some versions of Arrow do so unasked."""
    logged = (logs / "sys" / "node" / "node-0").glob("*.stderr.txt")
    imported = [{line.split("|")[-1].strip() for line in log.read_text().splitlines()} for log in logged]
    assert any("onnxruntime" in names for names in imported)  # not in one whose rows others had scored before it began
    assert all("pandas" not in names for names in imported)


def test_a_model_scores_every_row_as_onnxruntime_does(tmp_path, batch_score, monkeypatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    model = models.mlp(tmp_path / "model.onnx")
    frame = parts(tmp_path, 400_000 if FULL else 20_000)
    done = batch_score.run("model.onnx", "part-*.csv", "--key", "id", "--mini-batch-size", "300KB")
    assert done.code == 0, done.err
    result = pd.read_csv(done.output)
    assert list(result.columns) == ["id", "p_0", "p_1"]
    assert sorted(result["id"]) == list(range(len(frame)))
    assert done.json["mini_batches"]["total"] > 4
    wanted = pd.DataFrame(direct(model, frame), index=frame["id"])
    np.testing.assert_allclose(result.sort_values("id")[["p_0", "p_1"]], wanted, rtol=1e-6)
    check_imports_without_pandas(done.logs)


def test_the_key_auto_names_file_and_row(tmp_path, batch_score):
    models.mlp(tmp_path / "model.onnx")
    frame = parts(tmp_path, 4_000)
    columns = ",".join(f"f{k}" for k in range(20))
    done = batch_score.run("model.onnx", "part-*.csv", "--features", columns, "--mini-batch-size", "50KB")
    assert done.code == 0, done.err
    result = pd.read_csv(done.output)
    keys = sorted(zip(result["source"], result["row"], strict=True))
    assert keys == [(f"part-{part}.csv", row) for part in range(4) for row in range(1_000)]
    assert done.json["items"] == {"total": len(frame), "succeeded": len(frame), "failed": 0}


PEAK = """\
import sys
from batch_score.cli.app import run_app
try:
    run_app(sys.argv[1:])
finally:
    lines = open("/proc/self/status").read().splitlines()
    print(next(line.split()[1] for line in lines if line.startswith("VmHWM")), file=sys.stderr)
"""


def peak(batch_score, *arguments):
    """Peak memory of the coordinator in MB."""
    done = batch_score.program(PEAK, "run", *arguments, "--json", "--quiet")
    assert done.code == 0, done.err
    return int(done.err.split()[-1]) / 1024


@pytest.mark.parametrize(("form", "limit"), [("o.csv", 30), ("o.parquet", 30 + ROW_GROUP_BYTES / 2**20)])
def test_the_coordinator_needs_no_more_memory_for_more_rows(form, limit, tmp_path, batch_score, script):
    """The larger output has 60 MB, so that a coordinator that kept what it appends would be seen.

    Parquet is made at the end, a row group at a time.
    """
    script("def run(rows):\n    return [f'{row:0300}' for row in rows['id']]\n")
    rows = 2_000_000 if FULL else 200_000
    numbers(tmp_path / "small.csv", rows // 10)
    numbers(tmp_path / "large.csv", rows)
    options = ("--mini-batch-size", "64KB", "--process-count-per-node", "2", "--append-row-file-name", form)
    small = peak(batch_score, "score.py", "small.csv", "--run-dir", "small", *options)
    large = peak(batch_score, "score.py", "large.csv", "--run-dir", "large", *options)
    assert large - small < limit


# A field of a CSV file: text with everything that has a meaning in CSV, a number, or nothing.
TEXTS = st.text(st.sampled_from("ab ,\"\n\r'é😀;\t"), max_size=8)
ENDS = st.sampled_from(["\n", "\r\n"])


@st.composite
def delimited(draw):
    """A CSV file whose text column needs all kinds of quoting, as bytes."""
    end = draw(ENDS)
    out = io.StringIO()
    # With "\n" as the line end this writer leaves a carriage return without the quotes that it needs.
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])) if end == "\r\n" else csv.QUOTE_ALL
    writer = csv.writer(out, lineterminator=end, quoting=quoting)
    writer.writerow(["id", draw(st.sampled_from(["text", 'te"xt', "te\nxt", "te,xt"])), "number"])
    rows = draw(st.lists(st.tuples(TEXTS, st.integers(-9, 10**6)), min_size=1, max_size=30))
    writer.writerows((number, text, value) for number, (text, value) in enumerate(rows))
    text = out.getvalue()
    if draw(st.booleans()):
        text = text.removesuffix(end)
    return (b"\xef\xbb\xbf" if draw(st.booleans()) else b"") + text.encode()


def as_pandas(path):
    frame = pd.read_csv(path, keep_default_na=False)
    frame.columns = ["id", "text", "number"]
    return frame


def check_against_pandas(path, output):
    wanted = as_pandas(path)
    records = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    records.sort(key=lambda record: record["row"])
    assert [record["row"] for record in records] == list(range(len(wanted)))
    assert [int(record["id"]) for record in records] == list(wanted["id"])
    assert [record["text"] or "" for record in records] == [str(text) for text in wanted["text"]]
    assert [record["number"] for record in records] == list(wanted["number"])


RENAME = """
def run(rows):
    return rows.set_axis(["id", "text", "number"], axis=1)
"""


@example(data=b'\xef\xbb\xbf"id","text","number"\r\n0,"a ""b""\r\n,c",1\r\n1,"\n\n",2', size="1")
@given(data=delimited(), size=st.sampled_from(SIZES))
def test_any_table_reads_as_pandas_reads_it(data, size, tmp_path, job, script):
    script(RENAME)
    path = tmp_path / "table.csv"
    path.write_bytes(data)
    dataset = TabularDataset.from_delimited_files(path, set_column_types=None)
    result = job(dataset, mini_batch_size=size, append_row_file_name="out.jsonl")
    assert result.status == "completed", result
    check_against_pandas(path, result.output)


@pytest.mark.parametrize("size", ["1", "100", "1GB"])
def test_a_table_with_quoted_newlines_reads_as_pandas_reads_it_in_workers(size, tmp_path, batch_score, script):
    script(RENAME)
    path = tmp_path / "table.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "number"])
        writer.writerows((i, ['say "hi"', "two\r\nlines", "", "a,b", "\n"][i % 5], i * i) for i in range(300))
    done = batch_score.run(
        "score.py",
        path,
        "--mini-batch-size",
        size,
        "--append-row-file-name",
        "out.jsonl",
    )
    assert done.code == 0, done.err
    assert done.json["mini_batches"]["total"] == {"1": 300, "1GB": 1}.get(size, done.json["mini_batches"]["total"])
    check_against_pandas(path, done.output)


def test_column_types_do_not_change_from_one_mini_batch_to_the_next(tmp_path, job, script):
    script("def run(rows):\n    return [','.join(str(kind) for kind in rows.dtypes)] * len(rows)\n")
    (tmp_path / "t.csv").write_text("a,b,c,d\n" + "1,,x,true\n" * 40 + "2,3.5,,false\n" * 40)
    result = job(
        TabularDataset.from_delimited_files(tmp_path / "t.csv"), mini_batch_size=30, append_row_file_name="o.txt"
    )
    assert len(set(result.output.read_text().splitlines())) == 1


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", None)])
def test_compressed_tables(suffix, pack, tmp_path, batch_score, script):
    script(ECHO)
    plain = numbers(tmp_path / "plain.txt", 20_000)
    for part in range(2):
        data = plain.read_bytes()
        packed = pack(data) if pack else pa.compress(data, "zstd", asbytes=True)
        (tmp_path / f"part-{part}.csv{suffix}").write_bytes(packed)
    done = batch_score.run("score.py", f"part-*.csv{suffix}", "--mini-batch-size", "32KB")
    assert done.code == 0, done.err
    result = pd.read_csv(done.output).sort_values(["source", "row"])
    wanted = pd.read_csv(plain)
    for part in range(2):
        rows = result[result["source"] == f"part-{part}.csv{suffix}"]
        assert list(rows["row"]) == list(range(20_000))
        assert (rows[["id", "a", "b"]].to_numpy() == wanted.to_numpy()).all()
    assert done.json["mini_batches"]["total"] > 10


def test_json_lines(tmp_path, batch_score, script):
    script(ECHO)
    records = [{"id": i, "text": ['"quoted"', "a\nb", "é"][i % 3], "value": i / 8} for i in range(500)]
    lines = [json.dumps(record, ensure_ascii=i % 2 == 0) for i, record in enumerate(records)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = batch_score.run("score.py", "t.jsonl", "--mini-batch-size", "1KB", "--append-row-file-name", "o.jsonl")
    assert done.code == 0, done.err
    result = [json.loads(line) for line in done.output.read_text(encoding="utf-8").splitlines()]
    assert sorted(result, key=lambda record: record["row"]) == [
        {"source": "t.jsonl", "row": i, **record} for i, record in enumerate(records)
    ]


def test_parquet(tmp_path, batch_score, script):
    script(ECHO)
    table = pa.table(
        {"id": range(5_000), "text": [f"row {i}" for i in range(5_000)], "when": pa.array([0] * 5_000, "timestamp[us]")}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2_000)
    done = batch_score.run("score.py", "t.parquet", "--mini-batch-size", "8KB", "--append-row-file-name", "o.parquet")
    assert done.code == 0, done.err
    assert done.json["mini_batches"]["total"] > 3
    result = pq.read_table(done.output).sort_by("row")
    assert result["row"].to_pylist() == list(range(5_000))
    assert result["id"].to_pylist() == list(range(5_000))
    assert result["text"].to_pylist() == table["text"].to_pylist()
    assert pa.types.is_timestamp(result.schema.field("when").type)


def test_several_inputs(tmp_path, batch_score, script):
    script(ECHO)
    numbers(tmp_path / "first.csv", 100)
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    numbers(tmp_path / "folder" / "deep" / "second.csv", 50, first=100)
    numbers(tmp_path / "part-1.csv", 25, first=150)
    done = batch_score.run("score.py", "part-*.csv", "first.csv", "folder", "--key", "id")
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["id"]) == list(range(175))
    assert done.json["mini_batches"]["total"] == 3


def test_several_datasets_are_counted_through(tmp_path, job, script):
    script("def run(rows, context):\n    return [context.minibatch_index] * len(rows)\n")
    paths = [numbers(tmp_path / f"{k}.csv", 10, first=10 * k) for k in range(3)]
    datasets = [TabularDataset.from_delimited_files(path) for path in paths]
    result = job(datasets, append_row_file_name="o.csv")
    frame = pd.read_csv(result.output)
    assert [sorted(set(frame[frame["source"] == str(path)]["prediction"])) for path in paths] == [[0], [1], [2]]


def test_a_file_named_twice_is_scored_once(tmp_path, batch_score, script):
    script(ECHO)
    numbers(tmp_path / "a.csv", 10)
    done = batch_score.run("score.py", "a.csv", "*.csv", "--key", "id")
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["id"]) == list(range(10))


def test_a_file_without_rows_beside_others(tmp_path, batch_score, script):
    script(ECHO)
    numbers(tmp_path / "a.csv", 0)
    numbers(tmp_path / "b.csv", 10)
    (tmp_path / "c.csv").write_text("")
    done = batch_score.run("score.py", "*.csv")
    assert (done.code, done.json["items"]["total"]) == (0, 10), done.err


def test_a_table_without_rows_fails_and_says_so(tmp_path, batch_score, script):
    script(ECHO)
    numbers(tmp_path / "a.csv", 0)
    done = batch_score.run("score.py", "a.csv")
    assert done.code in (1, 2)
    assert "no " in done.err
    assert done.err.count("\n") == 1


def test_records_that_cannot_be_read_are_failed_items_with_their_row(tmp_path, batch_score, script):
    script(ECHO)
    lines = [f"{i},{i}" for i in range(100)]
    lines[17] = "17,seventeen"
    lines[60] = "60,60,60"
    lines[99] = ""
    (tmp_path / "t.csv").write_text("id,a\n" + "\n".join(lines[:99]) + "\n")
    # Types are settled from the first part; here they are declared, because all rows are in that part.
    done = batch_score.run("score.py", "t.csv", "--set-column-types", "a=int64", "--mini-batch-size", "100")
    assert done.code == 0, done.err
    result = pd.read_csv(done.output)
    assert sorted(result["id"]) == [i for i in range(99) if i not in (17, 60)]
    assert (result["row"] == result["id"]).all()
    assert sorted((item["row"], item["error"], item["source"]) for item in done.failed_items) == [
        (17, "RecordError", "t.csv"),
        (60, "RecordError", "t.csv"),
    ]
    assert done.json["items"] == {"total": 99, "succeeded": 97, "failed": 2}
    assert len(tries(done.run_dir)) == done.json["mini_batches"]["total"]


def test_a_bare_carriage_return_ends_a_record_as_for_pandas(tmp_path, batch_score, script):
    """What follows it here is too short for a record: pandas would fill it up, a job says that it failed."""
    script(ECHO)
    (tmp_path / "t.csv").write_bytes(b"id,text\n0,a\n1,b\rc\n2,d\n")
    for size in ("1", "1GB"):
        done = batch_score.run("score.py", "t.csv", "--mini-batch-size", size, "--run-dir", size)
        assert done.code == 0, done.err
        rows = pd.read_csv(done.output).sort_values("row")[["row", "id", "text"]].to_numpy().tolist()
        assert rows == [[0, 0, "a"], [1, 1, "b"], [3, 2, "d"]]
        assert [(item["row"], item["error"]) for item in done.failed_items] == [(2, "RecordError")]
