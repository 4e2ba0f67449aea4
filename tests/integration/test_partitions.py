"""Jobs with `partition_format` and `partition_keys`: the real command on real trees of files."""

import csv
import gzip
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tests.integration.running import tries, wait_for
from tests.models import named_inputs, weighted_sum

from batch_score import FileDataset, TabularDataset
from batch_score.errors import ConfigError

STORES = {"A": ("2020", "2021"), "B": ("2020",), "C d": ("2020", "2021", "2022")}
FORMAT = ("--partition-format", "/{store}/{year:yyyy}/t.csv")
GROUPS = """
    import pandas as pd

    def run(rows, mini_batch_context):
        keys = mini_batch_context.partition_key_value
        assert all((rows[name] == value).all() for name, value in keys.items())
        assert list(rows.columns) == ["id", "v", "store", "year"], rows.columns
        return pd.DataFrame({"sum": rows["v"].sum(), "of": len(rows), "keys": repr(sorted(keys))}, index=rows.index)
"""


def tree(folder, form=".csv", rows=4):
    """Tables `id,v` in `store/year/`, with ids counted through; gives the ids by store and year."""
    found, number = {}, 0
    for store, years in STORES.items():
        for year in years:
            table = pd.DataFrame({"id": range(number, number + rows), "v": range(rows)})
            found[store, year] = list(table["id"])
            path = folder / store / year / f"t{form}"
            path.parent.mkdir(parents=True)
            if form == ".parquet":
                table.to_parquet(path, index=False, row_group_size=3)
            elif form.startswith(".jsonl"):
                table.to_json(path, orient="records", lines=True)
            else:
                table.to_csv(path, index=False)
            number += rows
    return found


def lines(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("form", [".csv", ".csv.gz", ".jsonl", ".jsonl.gz", ".parquet"])
def test_one_mini_batch_for_each_combination_and_every_row_with_its_own_key(form, tmp_path, batch_score, script):
    tree(tmp_path / "in", form)
    keys = ("--partition-format", f"/{{store}}/{{year:yyyy}}/t{form}", "--partition-keys", "store")
    done = batch_score.run(script(GROUPS), "in", *keys)
    assert done.code == 0, done.err
    assert done.json["mini_batches"] == {"total": 3, "succeeded": 3, "failed": 0}
    found = {(row["source"], int(row["row"])): row for row in lines(done.output)}
    wanted = {
        (f"in/{store}/{year}/t{form}", row): str(4 * len(years))
        for store, years in STORES.items()
        for year in years
        for row in range(4)
    }
    assert {place: row["of"] for place, row in found.items()} == wanted
    assert {row["keys"] for row in found.values()} == {"['store']"}


@pytest.mark.parametrize("name", ["o.txt", "o.csv", "o.tsv", "o.jsonl", "o.parquet"])
def test_every_form_of_output_names_file_and_row(name, tmp_path, batch_score, script):
    tree(tmp_path / "in")
    text = "def run(rows):\n    return rows.sample(frac=1, random_state=1)[['id']]\n"
    done = batch_score.run(script(text), "in", *FORMAT, "--partition-keys", "store", "--append-row-file-name", name)
    assert done.code == 0, done.err
    read = {
        "o.txt": lambda path: pd.read_csv(path, sep=" ", names=["id"]),
        "o.tsv": lambda path: pd.read_csv(path, sep="\t"),
        "o.jsonl": lambda path: pd.read_json(path, lines=True),
        "o.parquet": lambda path: pq.read_table(path).to_pandas(),
    }
    table = read.get(name, pd.read_csv)(done.output)
    assert sorted(table["id"]) == list(range(24))
    if name != "o.txt":
        firsts = {f"in/{store}/{year}/t.csv": ids[0] for (store, year), ids in tree(tmp_path / "again").items()}
        assert (table["source"].map(firsts) + table["row"] == table["id"]).all()


def test_without_keys_the_format_only_adds_columns(tmp_path, batch_score, script):
    tree(tmp_path / "in", rows=10)
    done = batch_score.run(script(GROUPS), "in", *FORMAT, "--mini-batch-size", "20", "--key", "store,id")
    assert done.code == 0, done.err
    assert done.json["mini_batches"]["total"] > 6
    found = lines(done.output)
    assert list(found[0]) == ["store", "id", "sum", "of", "keys"]
    assert {row["keys"] for row in found} == {"[]"}
    assert {(row["store"], int(row["id"])) for row in found} == {
        (store, one) for (store, _), ids in tree(tmp_path / "again", rows=10).items() for one in ids
    }


def test_a_record_that_cannot_be_read_and_a_row_without_a_result_name_their_own_file(tmp_path, batch_score, script):
    tree(tmp_path / "in")
    (tmp_path / "in/A/2021/t.csv").write_text("id,v\n4,0\n5,many\n6,2\n7,3\n", encoding="utf-8")
    text = "def run(rows):\n    assert rows['v'].dtype == 'int64'\n    return rows[rows['id'] != 22]\n"
    done = batch_score.run(script(text), "in", *FORMAT, "--partition-keys", "store", "--key", "auto")
    assert done.code == 0, done.err
    assert done.json["items"] == {"total": 24, "succeeded": 22, "failed": 2}
    first, second = sorted(done.failed_items, key=lambda item: item["source"])
    assert (first["source"], first["row"], first["record"]) == ("in/A/2021/t.csv", 1, "5,many")
    assert first["error"] == "RecordError"
    assert (second["source"], second["row"], second["record"]) == ("in/C d/2022/t.csv", 2, "22,2")
    assert second["error"] == "NotReturned"
    places = {(row["source"], int(row["row"])): int(row["id"]) for row in lines(done.output)}
    assert places["in/A/2021/t.csv", 2] == 6
    assert places["in/C d/2022/t.csv", 3] == 23


def test_a_group_that_fails_is_tried_again_whole_and_all_its_items_are_named(tmp_path, batch_score, script):
    tree(tmp_path / "in")
    text = """
        def run(rows):
            print(len(rows))
            if 5 in set(rows["id"]):
                raise ValueError("bad group")
            return rows
    """
    done = batch_score.run(script(text), "in", *FORMAT, "--partition-keys", "store", "--run-max-try", "2")
    assert done.code == 0, done.err
    sizes = [int(size) for path in (done.logs / "user/stdout").rglob("*.txt") for size in path.read_text().split()]
    assert sorted(sizes) == [4, 8, 8, 12]  # never split
    assert [(item["source"], item["row"]) for item in done.failed_items] == [
        (f"in/A/{year}/t.csv", row) for year in ("2020", "2021") for row in range(4)
    ]
    assert [item["record"] for item in done.failed_items] == [f"{n},{n % 4}" for n in range(8)]
    details = [json.loads(row["Mini-batch Detail"]) for row in tries(done.run_dir)]
    assert ["in/A/2020/t.csv", "in/A/2021/t.csv"] in [one.get("sources") for one in details]


def test_a_group_that_runs_out_of_memory_is_not_split(tmp_path, job, script):
    tree(tmp_path / "in")
    script("def run(rows):\n    if len(rows) == 8:\n        raise MemoryError\n    return rows\n")
    dataset = TabularDataset.from_delimited_files("in", partition_format="/{store}/{year:yyyy}/t.csv")
    result = job(dataset, partition_keys=["store"], append_row_file_name="o.csv")
    assert result.totals.items_failed == 8
    assert result.totals.mini_batches_failed == 1


def test_a_run_that_was_cut_off_goes_on_with_the_groups_that_are_left(tmp_path, batch_score, script):
    tree(tmp_path / "in")
    text = """
        import pathlib
        def run(rows, context):
            if pathlib.Path("stop").exists() and context.minibatch_index == 2:
                raise ValueError("not now")
            print("group", context.minibatch_index)
            return rows
    """
    (tmp_path / "stop").touch()
    once = ("--error-threshold", "0", "--run-max-try", "1", "--process-count-per-node", "1")
    done = batch_score.run(script(text), "in", *FORMAT, "--partition-keys", "store", *once)
    assert done.code == 1
    assert done.json["mini_batches"]["succeeded"] == 2
    (tmp_path / "stop").unlink()
    again = batch_score("resume", done.run_dir, "--json", "--quiet", "--error-threshold", "-1")
    assert again.code == 0, again.err  # the failed one stays failed
    assert len(lines(again.output)) == 12
    (tmp_path / "in/A/2021").rename(tmp_path / "in/A/2019")
    changed = batch_score("resume", done.run_dir, "--json", "--quiet")
    assert changed.code == 0  # complete already


def test_an_interrupted_run_refuses_other_groups(tmp_path, batch_score, script):
    tree(tmp_path / "in")
    (tmp_path / "x").mkdir()
    for name in ("1_a", "1_b", "2_a"):
        (tmp_path / "x" / name).touch()
    text = "def run(files, context):\n    assert context.minibatch_index == 0\n    return files\n"
    keys = ("--partition-format", "{n}_{m}", "--partition-keys", "n")
    done = batch_score.run(script(text), "x", *keys, "--error-threshold", "0", "--run-max-try", "1")
    assert done.code == 1
    (tmp_path / "x" / "1_c").touch()
    again = batch_score("resume", done.run_dir, "--json", "--quiet", "--error-threshold", "-1")
    assert again.code == 1
    assert "another one than before" in again.err


def test_files_come_by_combination_with_their_keys(tmp_path, batch_score, script):
    tree(tmp_path / "in", ".bin.csv")
    text = """
        def run(files, mini_batch_context):
            keys = mini_batch_context.partition_key_value
            assert keys["year"].year >= 2020
            return [f"{len(files)} {sorted(keys)} {keys['store']}" for file in files]
    """
    keys = ("--partition-format", "/{store}/{year:yyyy}/*.csv", "--partition-keys", "store,year")
    done = batch_score.run(script(text), "in", "--input-type", "file", *keys)
    assert done.code == 0, done.err
    assert done.json["mini_batches"]["total"] == 6
    found = {row["source"]: row["prediction"] for row in lines(done.output)}
    assert found["in/C d/2022/t.bin.csv"] == "1 ['store', 'year'] C d"
    assert len(found) == 6


def test_several_inputs_are_grouped_each_for_itself(tmp_path, job, script):
    tree(tmp_path / "one")
    tree(tmp_path / "two")
    script("def run(rows, context):\n    return [context.partition_key_value['store']] * len(rows)\n")
    datasets = [
        TabularDataset.from_delimited_files("one", partition_format="/{store}/{year:yyyy}/t.csv"),
        TabularDataset.from_delimited_files("two", partition_format="/{store}/{any}/t.csv"),
    ]
    result = job(datasets, partition_keys='["store"]', append_row_file_name="o.csv")
    assert result.status == "completed"
    assert result.totals.mini_batches_succeeded == 6
    with pytest.raises(ConfigError, match=r"'year', but the keys of .* are store, any"):
        job(datasets, partition_keys=["year"])


def test_the_plan_shows_the_combinations(tmp_path, batch_score):
    tree(tmp_path / "in")
    done = batch_score("plan", "in", *FORMAT, "--partition-keys", "store", "--json")
    plan = [json.loads(line) for line in done.out.splitlines()]
    assert [one["partition"] for one in plan] == [{"store": store} for store in STORES]
    assert [one["rows"] for one in plan] == [8, 4, 12]
    assert [part["source"] for part in plan[0]["ranges"]] == ["in/A/2020/t.csv", "in/A/2021/t.csv"]
    assert plan[1]["source"] == "in/B/2020/t.csv"
    for_a_person = batch_score("plan", "in", *FORMAT, "--partition-keys", "store")
    assert "store=C d  3 files from in/C d/2020/t.csv  12 rows" in for_a_person.out
    assert "files: 6" in for_a_person.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--partition-keys", "store"), "give the partition_format"),
        ((*FORMAT, "--partition-keys", "shop"), "are store, year"),
        ((*FORMAT, "--partition-keys", "store", "--mini-batch-size", "1MB"), "both say how the input is cut"),
        (("--partition-format", "/{store}/{year:yyyy}/u.csv"), "in/A/2020/t.csv does not match"),
        (("--partition-format", "/{id}/{year:yyyy}/t.csv"), "adds the column 'id'"),
        (("--partition-format", "/in"), "at least one"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_started(arguments, message, tmp_path, called, script):
    tree(tmp_path / "in")
    done = called("run", script(GROUPS), "in", *arguments)
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert message in done.err


def test_a_file_of_a_group_that_is_gone_fails_the_group(tmp_path, job, script):
    tree(tmp_path / "in")
    path = tmp_path / "in/C d/2021/t.csv"
    script(f"import os\ndef init():\n    os.remove({str(path)!r})\ndef run(rows):\n    return rows\n")
    dataset = TabularDataset.from_delimited_files("in", partition_format="/{store}/{year:yyyy}/t.csv")
    result = job(dataset, partition_keys=["store"], append_row_file_name="o.csv", run_max_try=1)
    assert result.totals.items_succeeded == 12
    failed = [json.loads(line) for line in (result.run_dir / "failed_items.jsonl").read_text().splitlines()]
    assert len(failed) == 12
    assert all("in/C d/2021/t.csv" in item["message"] for item in failed)


def test_a_model_takes_rows_of_several_files(tmp_path, batch_score):
    weighted_sum(tmp_path / "m.onnx", 2)
    ids = tree(tmp_path / "in")
    done = batch_score.run("m.onnx", "in", *FORMAT, "--partition-keys", "store")
    assert done.code == 0, done.err
    assert done.json["mini_batches"]["total"] == 3
    found = {(row["source"], int(row["row"])): float(row["score"]) for row in lines(done.output)}
    assert found == {
        (f"in/{store}/{year}/t.csv", row): own[row] + 2 * row for (store, year), own in ids.items() for row in range(4)
    }


def test_a_key_can_be_a_column_that_a_model_takes(tmp_path, batch_score):
    named_inputs(tmp_path / "m.onnx")
    for place in ("here", "there"):
        path = tmp_path / "in" / place / "t.csv"
        path.parent.mkdir(parents=True)
        path.write_text("amount,weight\n1.5,2\n2.5,4\n", encoding="utf-8")
    done = batch_score.run("m.onnx", "in", "--partition-format", "/{place}/t.csv", "--partition-keys", "place")
    assert done.code == 0, done.err
    assert [(row["source"], row["product"], row["where"]) for row in lines(done.output)] == [
        (f"in/{place}/t.csv", product, place) for place in ("here", "there") for product in ("3", "10")
    ]


def test_partitions_that_were_written_are_scored_as_such(tmp_path, job, script):
    pd.DataFrame({"id": range(100), "k": [n % 7 for n in range(100)], "v": 1.5}).to_csv(tmp_path / "t.csv", index=False)
    script("def run(rows, context):\n    assert list(rows.columns) == ['id', 'v', 'k']\n    return rows[['id', 'k']]\n")
    dataset = TabularDataset.from_delimited_files(tmp_path / "t.csv").partition_by(["k"], tmp_path / "by")
    result = job(dataset, partition_keys=["k"], append_row_file_name="o.csv")
    assert result.totals.mini_batches_succeeded == 7
    assert sorted((int(row["id"]), int(row["k"])) for row in lines(result.output)) == [(n, n % 7) for n in range(100)]


def test_a_step_goes_on_with_equal_keys_and_begins_anew_with_others(tmp_path, monkeypatch, script):
    from batch_score import ParallelRunConfig, ParallelRunStep  # noqa: PLC0415 - the step by itself, without run_dir

    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    for name in ("1_a", "1_b", "2_a"):
        (tmp_path / "x" / name).write_bytes(gzip.compress(b""))
    script("def run(files):\n    return files\n")

    def step(keys):
        config = ParallelRunConfig(entry_script="score.py", engine="inline", device="cpu", partition_keys=keys)
        dataset = FileDataset.from_files("x", partition_format="{n}_{m}")
        return ParallelRunStep("by-keys", config, [dataset]).run()

    assert step(["n"]).totals.mini_batches_succeeded == 2
    assert step(["n"]).reused
    other = step(["n", "m"])
    assert not other.reused
    assert other.totals.mini_batches_succeeded == 3


def test_groups_survive_a_killed_coordinator_exactly_once(tmp_path, batch_score, script):
    for store in range(12):
        for part in "ab":
            path = tmp_path / "in" / f"s{store}" / part / "t.csv.gz"
            path.parent.mkdir(parents=True)
            path.write_bytes(gzip.compress("".join(f"{n}\n" for n in ["id", *range(5)]).encode()))
    text = """
        import time
        def run(rows, context):
            time.sleep(0.1)
            return rows.assign(of=context.partition_key_value["store"])
    """
    keys = ("--partition-format", "/{store}/{part}/t.csv.gz", "--partition-keys", "store")
    with batch_score.started(script(text), "in", *keys, "--run-dir", "r", "--process-count-per-node", "2") as process:
        output = tmp_path / "r" / "outputs" / "predictions.csv"
        wait_for(lambda: output.exists() and output.stat().st_size > 300)
        process.kill()
    wait_for(lambda: not batch_score.alive())
    before = len(lines(output))
    assert 0 < before < 120
    again = batch_score("resume", "r", "--json", "--quiet")
    assert again.code == 0, again.err
    found = sorted((row["source"], int(row["row"]), int(row["id"]), row["of"]) for row in lines(output))
    assert found == sorted(
        (f"in/s{s}/{part}/t.csv.gz", n, n, f"s{s}") for s in range(12) for part in "ab" for n in range(5)
    )
