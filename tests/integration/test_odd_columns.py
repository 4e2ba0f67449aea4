"""Whole jobs over columns, and with results, of types that Arrow has but cannot do everything with."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch_score import TabularDataset


def test_an_item_with_a_column_of_views_fails_alone(tmp_path, batch_score, script):
    """Telling its key and record must not end the worker."""
    views = pa.array([f"name {number}" for number in range(20)], pa.string_view())
    pq.write_table(pa.table({"name": views, "n": pa.array(range(20))}), tmp_path / "t.parquet")
    name = script("""
        def run(rows):
            if "name 7" in set(rows["name"]):
                raise ValueError("seven")
            return rows
    """)
    done = batch_score.run(name, "t.parquet", "--key", "name", "--process-count-per-node", 1)
    assert done.code == 0, done.err
    [failed] = done.failed_items
    assert (failed["row"], failed["error"], failed["key"]) == (7, "ValueError", {"name": "name 7"})
    assert json.loads(failed["record"]) == {"name": "name 7", "n": 7}
    rows = sorted(done.output.read_text().splitlines()[1:])
    assert rows == sorted(f"name {number},{number}" for number in range(20) if number != 7)


def test_as_many_items_are_told_as_count_as_failed(tmp_path, job, script):
    """Six elements for sixteen items, of four items only: twelve items have none of their own, but ten have failed."""
    script("def run(rows):\n    return rows.iloc[[0, 0, 1, 1, 2, 3]]\n")
    (tmp_path / "t.csv").write_text("id\n" + "1\n" * 16)
    result = job(TabularDataset.from_delimited_files("t.csv"), append_row_file_name="o.csv")
    assert (result.totals.items_succeeded, result.totals.items_failed) == (6, 10)
    lines = [json.loads(line) for line in (result.run_dir / "failed_items.jsonl").read_text().splitlines()]
    assert sum(line.get("items", 1) for line in lines) == 10
    run = json.loads((result.run_dir / "run.json").read_text())
    assert run["items"]["failed"] == 10


@pytest.mark.parametrize("large_first", [True, False])
def test_integers_that_no_float_holds_are_a_failed_try_and_not_the_end_of_the_job(large_first, tmp_path, job, script):
    script(f"""
        def run(rows):
            large = (rows["id"].iloc[0] == 0) == {large_first}
            return [2**53 + 1 if large else 0.5] * len(rows)
    """)
    (tmp_path / "t.csv").write_text("id\n" + "0\n" * 10 + "1\n" * 10)
    result = job(
        TabularDataset.from_delimited_files("t.csv"),
        mini_batch_size=20,
        run_max_try=1,
        append_row_file_name="o.parquet",
    )
    assert (result.status, result.totals.items_succeeded, result.totals.items_failed) == ("completed", 10, 10)
    assert pq.read_table(result.output)["prediction"].to_pylist() == [2**53 + 1 if large_first else 0.5] * 10
    lines = [json.loads(line) for line in (result.run_dir / "failed_items.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert all("integers beyond 2**53 are not exact as floats" in line["message"] for line in lines)


def test_parts_of_a_split_mini_batch_may_return_different_columns(tmp_path, job, script):
    """Segments that were admitted apart are joined to one."""
    script("""
        def run(rows):
            if len(rows) > 4 or 7 in rows["id"].values:
                raise ValueError("too many, or seven")
            return [{"a": int(row)} if row % 2 else {"a": row / 2, "b": {}} for row in rows["id"]]
    """)
    (tmp_path / "t.csv").write_text("id\n" + "".join(f"{row}\n" for row in range(16)))
    result = job(TabularDataset.from_delimited_files("t.csv"), run_max_try=1, append_row_file_name="o.parquet")
    assert (result.status, result.totals.items_succeeded, result.totals.items_failed) == ("completed", 15, 1)
    found = {row["row"]: row["a"] for row in pq.read_table(result.output).to_pylist()}
    assert found == {row: row if row % 2 else row / 2 for row in range(16) if row != 7}
