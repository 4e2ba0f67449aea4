"""Parquet as the workers read it: rows, types, what does not fit."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reading import PARQUET, TEXT, Read, same_for_all_sizes

from batch_score.errors import ConfigError, InputError, RecordError
from batch_score.job.plan import plan
from batch_score.onnx.binding import arrow_type
from batch_score.onnx.tensors import column_values

TABLE = pa.table(
    {
        "i": pa.array(range(100), pa.int64()),
        "n": pa.array([None if n == 70 else n for n in range(100)], pa.int32()),
        "b": pa.array([n % 3 == 0 for n in range(100)]),
        "m": pa.array([None if n == 3 else True for n in range(100)]),
        "c": pa.array([f"c{n // 30}" for n in range(100)]).dictionary_encode(),
        "l": pa.array([[n] for n in range(100)]),
    }
)


@pytest.mark.parametrize("group", [1, 7, 100])
@pytest.mark.parametrize("size", [1, 500, 10_000_000])
def test_parquet_rows_come_back_once_and_in_order_with_equal_dtypes(parquet, group, size):
    read = Read(PARQUET(parquet(TABLE, row_group_size=group)), size)
    assert list(read.whole.index) == read.column("i") == list(range(100))
    assert read.dtypes() == {("int64", "float64", "bool", "object", TEXT, "object")}
    assert read.column("n") == [None if n == 70 else float(n) for n in range(100)]
    assert read.failed == []


def test_nulls_in_any_file_make_floats_in_all(parquet):
    paths = [parquet(pa.table({"i": pa.array([1, 2])}), "1.parquet"), parquet(pa.table({"i": [3, None]}), "2.parquet")]
    assert Read(PARQUET(paths)).dtypes() == {("float64",)}


def test_nulls_that_no_statistics_tell_of_are_failed_items(parquet):
    path = parquet(pa.table({"i": pa.array([1, 2, None, 4])}), write_statistics=False)
    read = Read(PARQUET(path))
    assert read.dtypes() == {("int64",)}
    assert read.column("i") == [1, 2, 4]
    assert [row for row, _ in read.failed] == [2]


def test_large_integers_keep_every_digit(parquet):
    assert Read(PARQUET(parquet(pa.table({"i": [2**62 + 1]})))).column("i") == [2**62 + 1]


def test_parquet_in_any_order_of_mini_batches(parquet):
    dataset = PARQUET(parquet(TABLE, row_group_size=10))
    minibatches = [one for chunk in plan([dataset], 200) for one in chunk]
    reader = dataset.reader("/")
    order = np.random.default_rng(1).permutation(len(minibatches))
    for place in order:
        batch = reader.read(minibatches[place])
        assert list(batch.table["i"].to_pylist()) == list(batch.ordinals)


def test_a_worker_does_not_decode_the_row_groups_of_the_others(parquet, monkeypatch):
    """With one mini-batch per row group dealt out to four workers, each decodes a quarter of the file."""
    dataset = PARQUET(parquet(pa.table({"i": range(4000)}), row_group_size=100))
    minibatches = [one for chunk in plan([dataset], 1000) for one in chunk]
    decoded = []
    whole = pq.ParquetFile.iter_batches

    def counted(self, *args, **options):
        for part in whole(self, *args, **options):
            decoded.append(part.num_rows)
            yield part

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    reader = dataset.reader("/")
    rows = sum(reader.read(minibatch).table.num_rows for minibatch in minibatches[::4])
    assert sum(decoded) <= 2 * rows


def test_parquet_columns_can_be_declared_and_chosen(parquet):
    dataset = PARQUET(parquet(TABLE), set_column_types={"i": "float32"}, include_path=True)
    assert dataset.schema.names == ["i", "n", "b", "m", "c", "l", "Path"]
    read = Read(dataset.select(("b", "i"), {}))
    assert list(read.whole.columns) == ["b", "i", "Path"]
    assert str(read.whole["i"].dtype) == "float32"


def test_parquet_files_that_cannot_be_used(parquet, file):
    good = parquet(pa.table({"a": [1]}), "a.parquet")
    with pytest.raises(InputError, match=r"b\.parquet: column 'a' is double, not int64 as in .*a\.parquet"):
        PARQUET([good, parquet(pa.table({"a": [1.5]}), "b.parquet")])
    with pytest.raises(InputError, match=r"c\.parquet: not a Parquet file"):
        PARQUET(file(b"PAR1 or not", "c.parquet"))
    with pytest.raises((InputError, ConfigError), match="names column 'z'"):
        PARQUET(good, set_column_types={"z": "int64"})


def test_a_parquet_file_that_lost_rows(parquet):
    dataset = PARQUET(parquet(pa.table({"i": range(100)})))
    [minibatch] = next(iter(plan([dataset], None)))
    parquet(pa.table({"i": range(60)}))
    with pytest.raises(RecordError, match="60 rows from row 0 where the footer counted 100"):
        dataset.reader("/").read(minibatch)


def test_large_integers_become_the_nearest_floats(parquet):
    """As they do when they are read from text."""
    read = Read(PARQUET(parquet(pa.table({"a": [2**53 + 1, None, 3]}))))
    assert read.column("a") == [2.0**53, None, 3.0]
    narrow = PARQUET(parquet(pa.table({"a": [2**24 + 1, 3]}))).select(["a"], {"a": pa.float32()})
    assert Read(narrow).column("a") == [2.0**24, 3.0]


def test_a_parquet_value_that_does_not_fit_its_declared_type_is_a_failed_item(parquet):
    path = parquet(pa.table({"a": ["1", "x", None, "4", "5.5"], "b": range(5)}))
    rows, failed = same_for_all_sizes(PARQUET(path, set_column_types={"a": "int64"}))
    assert rows == {0: {"a": 1, "b": 0}, 3: {"a": 4, "b": 3}}
    assert sorted(row for row, _ in failed) == [1, 2, 4]
    assert "column 'a'" in dict(failed)[1]


@given(st.lists(st.decimals(-(10**12), 10**12, places=7), min_size=1, max_size=50))
def test_decimals_become_the_nearest_floats(parquet, values):
    path = parquet(pa.table({"a": pa.array([*values, None], pa.decimal128(30, 7))}))
    declared = Read(PARQUET(path, set_column_types={"a": "float64"})).column("a")
    assert declared == [*map(float, values), None]
    for dtype in ("float32", "float64"):
        read = column_values(pa.table({"a": pa.array(values, pa.decimal128(30, 7))}), "a", dtype)
        fed = Read(PARQUET(path).select(["a"], {"a": arrow_type(dtype)})).whole["a"].to_numpy()[:-1]
        wanted = np.array([str(value) for value in values], dtype)
        assert np.array_equal(read, wanted)
        assert np.array_equal(fed, wanted)


def test_files_may_keep_the_same_values_in_different_ways(parquet):
    """As pandas does: how wide the indices of categories are depends on their number."""
    values = [f"v{place}" for place in range(300)]
    few, many = (pd.DataFrame({"a": pd.Categorical(values[:count]), "n": range(count)}) for count in (3, 300))
    plain = pa.table({"a": values, "n": range(300)})
    strict = plain.cast(pa.schema([pa.field("a", pa.string(), nullable=False), pa.field("n", pa.int64(), False)]))
    tables = [pa.Table.from_pandas(few), pa.Table.from_pandas(many), plain, strict]
    read = Read(PARQUET([parquet(one, f"{place}.parquet") for place, one in enumerate(tables)]))
    assert read.dtypes() == {(TEXT, "int64")}
    assert read.column("a") == values[:3] + values * 3


def test_of_a_group_of_large_rows_only_some_are_in_memory(parquet):
    rows = [f"{place:06}" + "x" * 200_000 for place in range(500)]
    dataset = PARQUET(parquet(pa.table({"a": rows}), row_group_size=500, use_dictionary=False, write_batch_size=1))
    before = pa.total_allocated_bytes()
    [first, *_] = next(iter(plan([dataset], "1MB")))
    reader = dataset.reader("/")
    batch = reader.read(first)
    assert batch.table["a"].to_pylist() == rows[: first.rows]
    assert pa.total_allocated_bytes() - before < 60_000_000  # bytes; the group has 100 million
    del reader, batch
    assert Read(dataset, "20MB").column("a") == rows


def test_parquet_columns_of_one_name_are_refused(parquet):
    path = parquet(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))
    with pytest.raises(InputError, match="more than one column is called 'a'"):
        PARQUET(path)
