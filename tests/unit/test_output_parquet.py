import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from batch_score.errors import OutputError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import tabular_keys
from batch_score.output.parquet import ROW_GROUP_ROWS, finish_parquet
from batch_score.output.returned import accept

# How pandas hands text to Arrow: long text since pandas 3.
TEXT = str(pa.array(pd.Series(["a"])).type)
PARQUET = encoder_for(OutputOptions("predictions.parquet"))


def finished(folder, *values):
    """Spools one mini-batch per value and returns the finished table."""
    spool, ends, content = folder / "spool", [], b""
    for value in values:
        content += PARQUET.encode(accept(value), None, None).payload
        ends.append(len(content))
    spool.write_bytes(content)
    rows = finish_parquet(spool, iter(ends), folder / "out.parquet")
    assert sorted(path.name for path in folder.iterdir()) == ["out.parquet", "spool"]
    table = parquet.read_table(folder / "out.parquet")
    assert table.num_rows == rows
    return table


def test_segments_become_one_table_in_order(tmp_path):
    keys = tabular_keys("auto", "in.csv", np.array([4, 5]), pa.table({}))
    first = PARQUET.encode(accept(["a", "b"]), keys, np.arange(2)).payload
    second = PARQUET.encode(accept(["c"]), keys, np.array([1])).payload
    (tmp_path / "spool").write_bytes(first + second)
    ends = [len(first), len(first), len(first + second)]
    assert finish_parquet(tmp_path / "spool", ends, tmp_path / "out.parquet") == 3
    assert parquet.read_table(tmp_path / "out.parquet").to_pydict() == {
        "source": ["in.csv"] * 3,
        "row": [4, 5, 5],
        "prediction": ["a", "b", "c"],
    }
    assert parquet.read_schema(tmp_path / "out.parquet").field("source").type == pa.string()


def test_bytes_after_the_last_end_are_not_read(tmp_path):
    segment = PARQUET.encode(accept([1]), None, None).payload
    (tmp_path / "spool").write_bytes(segment + b"torn")
    assert finish_parquet(tmp_path / "spool", [len(segment)], tmp_path / "out.parquet") == 1


@pytest.mark.parametrize(
    ("left", "right", "kind"),
    [
        ([1], [0.5], "double"),
        (np.array([1]), np.array([0.5], np.float32), "double"),
        ([None], ["a"], "string"),
        (["a"], pd.DataFrame({"prediction": ["b"]}), TEXT),
        (["a"], pd.DataFrame({"prediction": pd.Categorical(["b"])}), TEXT),
        ([[[1]]], [[[0.5, 1.0]]], "list<element: double>"),
        (np.array([1], np.int8), np.array([300], np.int16), "int16"),
    ],
)
def test_types_are_widened(tmp_path, left, right, kind):
    table = finished(tmp_path, left, right)
    name = table.column_names[0]
    assert str(table.schema.field(name).type) == kind
    assert table.num_rows == 2
    assert table.column(name).null_count == (1 if left == [None] else 0)


def test_a_column_that_a_mini_batch_lacks_is_null_there(tmp_path):
    assert finished(tmp_path, [{"a": 1}], [{"b": "x"}]).to_pydict() == {"a": [1, None], "b": [None, "x"]}


def test_types_without_a_common_one_are_an_error_and_leave_nothing(tmp_path):
    with pytest.raises(OutputError, match=r"column 'prediction' is int64 in some mini-batches and string in others"):
        finished(tmp_path, [1], ["a"])
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]


def test_integers_that_a_float_cannot_hold_are_an_error(tmp_path):
    with pytest.raises(OutputError, match="column 'prediction' has values that become double"):
        finished(tmp_path, [2**53 + 1], [0.5])


def test_a_type_that_parquet_lacks_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="Parquet has no type"):
        finished(tmp_path, [{"a": {}}])


def test_a_short_or_damaged_spool_is_an_error_and_keeps_the_earlier_file(tmp_path):
    segment = PARQUET.encode(accept(list(range(1000))), None, None).payload
    spool, target = tmp_path / "spool", tmp_path / "out.parquet"
    target.write_bytes(b"earlier")
    for content in (segment[:-100], segment[:20], b"", b"\xff" * len(segment), segment + b"\0" * 50):
        spool.write_bytes(content)
        ends = [len(segment), len(segment) + 50] if len(content) > len(segment) else [len(segment)]
        with pytest.raises(OutputError, match=r"spool.* is damaged in bytes|Parquet"):
            finish_parquet(spool, ends, target)
        assert target.read_bytes() == b"earlier"
        assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(OutputError, match="could not be made"):
        finish_parquet(tmp_path / "spool", [], tmp_path / "gone" / "out.parquet")
    with pytest.raises(OutputError, match="could not be made"):
        finish_parquet(tmp_path / "no spool", [], tmp_path / "out.parquet")


def test_no_segment_makes_an_empty_file(tmp_path):
    assert finished(tmp_path, []).num_rows == 0


def test_small_mini_batches_share_row_groups(tmp_path):
    values = [np.arange(1000) + 1000 * number for number in range(300)]
    table = finished(tmp_path, *values)
    assert table.column("prediction").to_pylist() == list(range(300_000))
    groups = parquet.ParquetFile(tmp_path / "out.parquet").metadata
    sizes = [groups.row_group(number).num_rows for number in range(groups.num_row_groups)]
    assert len(sizes) == 3
    assert min(sizes[:-1]) >= ROW_GROUP_ROWS


def test_types_survive(tmp_path):
    moment = dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    row = {"t": moment, "b": b"\xff", "l": [1, 2], "s": {"a": "x"}, "d": dt.date(2024, 1, 2), "f": 0.5}
    assert finished(tmp_path, [row]).to_pylist() == [row]
