"""Mini-batches that fail: what of them is scored, what each item is told, and who is not blamed."""

import gzip
import json

import pandas as pd
import pytest
from tests.integration.running import numbers, tries

from batch_score import TabularDataset
from batch_score.job.queue import PATIENCE


def lines_of(result):
    text = (result.run_dir / "failed_items.jsonl").read_text(encoding="utf-8")
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda line: line["row"])


def test_the_parts_of_a_mini_batch_come_out_under_their_keys_and_in_their_order(tmp_path, job, script):
    script("""
        import json

        def run(rows, context):
            print(json.dumps([len(rows), context.global_row_index_lower_bound, context.minibatch_index]))
            if {7, 8} & set(rows["id"]):
                raise ValueError("a bad row")
            return rows[["a"]] * 2
    """)
    numbers(tmp_path / "t.csv", 16)
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, append_row_file_name="o.csv", key="id", run_max_try=2)
    assert result.status == "completed"
    wanted = pd.read_csv("t.csv").query("id not in (7, 8)")
    found = pd.read_csv(result.output)
    assert found["id"].tolist() == wanted["id"].tolist()
    assert found["a"].tolist() == (wanted["a"] * 2).tolist()
    assert [(line["row"], line["key"], line["record"].split(",")[0]) for line in lines_of(result)] == [
        (7, {"id": 7}, "7"),
        (8, {"id": 8}, "8"),
    ]
    (printed,) = (result.run_dir / "logs" / "user" / "stdout").glob("*/*")
    calls = [json.loads(line) for line in printed.read_text().splitlines()]
    assert calls[:2] == [[16, 0, 0]] * 2
    assert [8, 8, 0] in calls, "the second half begins at row 8"
    assert len(calls) <= 2 + 2 * (2 * 4)


def test_parts_with_different_columns_cannot_stand_under_one_header(tmp_path, job, script):
    script("""
        def run(rows):
            if 5 in set(rows["id"]):
                raise ValueError("a bad row")
            return rows.assign(extra=1) if rows["id"].iloc[0] >= 8 else rows
    """)
    numbers(tmp_path / "t.csv", 16)
    result = job(TabularDataset.from_delimited_files("t.csv"), append_row_file_name="o.csv", run_max_try=1)
    assert sorted(pd.read_csv(result.output)["id"]) == [0, 1, 2, 3, 4, 6, 7]
    errors = {line["row"]: line["error"] for line in lines_of(result)}
    assert errors == {5: "ValueError", **dict.fromkeys(range(8, 16), "ReturnTypeError")}


def test_lines_that_are_dropped_are_no_failed_items_also_when_their_mini_batch_fails(tmp_path, job, script):
    script("""
        def run(rows):
            if 0 in set(rows["id"]):
                raise ValueError("a bad row")
            return rows
    """)
    lines = [json.dumps({"id": number}) for number in range(8)]
    lines[2:2] = lines[5:5] = ["{"]
    (tmp_path / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    dataset = TabularDataset.from_json_lines_files("t.jsonl", invalid_lines="drop")
    skipped = job(dataset, mini_batch_size=60, on_failure="skip", run_max_try=1)
    found = lines_of(skipped)
    assert skipped.totals.items_dropped == 2
    assert skipped.totals.items_failed == len(found) < 8
    assert all(json.loads(line["record"]) for line in found)
    split = job(dataset, mini_batch_size=60, run_max_try=1)
    assert (split.totals.items_dropped, split.totals.items_failed, split.totals.items_succeeded) == (2, 1, 7)
    assert [line["record"] for line in lines_of(split)] == ['{"id": 0}']


def test_records_that_cannot_be_read_are_no_success_of_a_script_that_always_fails(tmp_path, job, script):
    script("def run(rows):\n    raise ValueError('always')\n")
    lines = [json.dumps({"id": number}) for number in range(200)]
    (tmp_path / "t.jsonl").write_text("\n".join([*lines, *["{"] * 5, *lines]) + "\n", encoding="utf-8")
    dataset = TabularDataset.from_json_lines_files("t.jsonl")
    result = job(dataset, mini_batch_size=12, run_max_try=1)
    assert result.status == "failed"
    assert "always" in result.ending.cause
    assert len(tries(result.run_dir)) <= 405 + PATIENCE
    assert {line["error"] for line in lines_of(result)} == {"ValueError", "RecordError"}


KILLS_WHILE_IT_ENCODES = """
    import os, time

    class Deadly:
        def __str__(self):
            time.sleep(0.2)
            os.kill(os.getpid(), 9)

    def run(rows):
        time.sleep(0.3)
        return [Deadly() if number == 2 else number for number in rows["id"]]
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_who_was_beside_the_one_that_kills_is_not_blamed(workers, tmp_path, batch_score, script):
    """The result of one row kills the process while it is encoded, when the next row is in `run()` already."""
    numbers(tmp_path / "t.csv", 8)
    options = ("--mini-batch-size", 1, "--process-count-per-node", workers, "--append-row-file-name", "o.txt")
    done = batch_score.run(script(KILLS_WHILE_IT_ENCODES), "t.csv", *options, "--run-max-try", 2)
    assert done.code == 0, done.err
    assert sorted(map(int, done.output.read_text().split())) == [0, 1, 3, 4, 5, 6, 7]
    assert [(item["row"], item["error"], item["attempts"]) for item in done.failed_items] == [(2, "WorkerDied", 2)]


def test_a_stream_does_not_keep_others_from_being_planned(tmp_path, batch_score, script):
    """Two files that each have more mini-batches than are planned ahead: both workers have one from the start."""
    script("def run(rows):\n    return rows\n")
    for name in ("a", "b"):
        text = "id\n" + "".join(f"{number:06}\n" for number in range(1_500))
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    options = ("--mini-batch-size", 7, "--process-count-per-node", 2, "--output-action", "summary_only")
    done = batch_score.run("score.py", "a.csv.gz", "b.csv.gz", *options)
    assert done.json["items"] == {"total": 3_000, "succeeded": 3_000, "failed": 0}, done.err
    first = [json.loads(row["Mini-batch Detail"])["source"] for row in tries(done.run_dir)[:800]]
    assert set(first) == {"a.csv.gz", "b.csv.gz"}
