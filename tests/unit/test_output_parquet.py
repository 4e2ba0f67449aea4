import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from batch_score.errors import OutputError, ReturnTypeError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import tabular_keys
from batch_score.output.parquet import ROW_GROUP_ROWS, UnitedSchema, finish_parquet, join_segments, spool_schema
from batch_score.output.publish import draft_of
from batch_score.output.returned import accept

# How pandas hands text to Arrow: long text since pandas 3.
TEXT = str(pa.array(pd.Series(["a"])).type)
RUN = b"the id of a run."
PARQUET = encoder_for(OutputOptions("predictions.parquet"))


def finished(folder, *values):
    """Spools one mini-batch per value and returns the finished table."""
    spool, ends, content = folder / "spool", [], b""
    for value in values:
        content += PARQUET.encode(accept(value), None, None).payload
        ends.append(len(content))
    spool.write_bytes(content)
    rows = finish_parquet(spool, iter(ends), folder / "out.parquet", RUN)
    draft_of(folder / "out.parquet", RUN).unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["out.parquet", "spool"]
    table = parquet.read_table(folder / "out.parquet")
    assert table.num_rows == rows
    return table


def segment(column):
    """What a mini-batch that returned one column `x` leaves in the spool."""
    return PARQUET.encode(accept(pa.table({"x": column})), None, None).payload


def refusal(*columns):
    """Why the last of the columns is not admitted, in whichever order the others and it come."""
    for turned in (columns, columns[::-1]):
        united = UnitedSchema()
        for column in turned[:-1]:
            united.admit(segment(column))
        before = united.schema
        with pytest.raises(OutputError) as caught:
            united.admit(segment(turned[-1]))
        assert united.schema == before
    return str(caught.value)


def test_segments_become_one_table_in_order(tmp_path):
    keys = tabular_keys("auto", "in.csv", np.array([4, 5]), pa.table({}))
    first = PARQUET.encode(accept(["a", "b"]), keys, np.arange(2)).payload
    second = PARQUET.encode(accept(["c"]), keys, np.array([1])).payload
    (tmp_path / "spool").write_bytes(first + second)
    ends = [len(first), len(first), len(first + second)]
    assert finish_parquet(tmp_path / "spool", ends, tmp_path / "out.parquet", RUN) == 3
    assert parquet.read_table(tmp_path / "out.parquet").to_pydict() == {
        "source": ["in.csv"] * 3,
        "row": [4, 5, 5],
        "prediction": ["a", "b", "c"],
    }
    assert parquet.read_schema(tmp_path / "out.parquet").field("source").type == pa.string()


def test_bytes_after_the_last_end_are_not_read(tmp_path):
    segment = PARQUET.encode(accept([1]), None, None).payload
    (tmp_path / "spool").write_bytes(segment + b"torn")
    assert finish_parquet(tmp_path / "spool", [len(segment)], tmp_path / "out.parquet", RUN) == 1


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


FAR = pa.array([2**55])


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5]), "integers beyond 2**53 are not exact as floats"),
        (pa.array([-(2**60), 1]), pa.array([None], pa.float32()), "integers beyond 2**53"),
        (pa.array([[{"n": 2**60}]]), pa.array([[{"n": 0.5}]]), "integers beyond 2**53"),
        (pa.array([2**63], pa.uint64()), pa.array([-1]), "beyond 2**63"),
        (pa.array([2**63], pa.uint64()), pa.array([1], pa.decimal128(5, 2)), "beyond 2**63"),
        (FAR.cast(pa.timestamp("ms")), FAR.cast(pa.timestamp("ns")), "do not fit the unit ns"),
        (FAR.cast(pa.duration("s")), FAR.cast(pa.duration("us")), "do not fit the unit us"),
        (pa.array([1], pa.timestamp("ms")), pa.array([1], pa.timestamp("ms", "UTC")), ""),
        (pa.array([0.5]), pa.array([1], pa.decimal128(5, 2)), ""),
        (pa.array([1], pa.decimal256(76, 0)), pa.array([1], pa.decimal256(76, 70)), "no decimal of 146 digits"),
        (pa.array(["a"]), pa.array([b"a"]), ""),
        (pa.array([True]), pa.array([1]), ""),
        (pa.array([[1]]), pa.array([1]), ""),
    ],
)
def test_a_union_that_is_not_exact_is_refused_at_once_in_whichever_order_it_comes(one, other, reason):
    message = refusal(one, other)
    assert "column 'x' is" in message
    assert "return one type for it, or write .jsonl" in message
    assert reason in message


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        ([pa.array([2**53, -(2**53)]), pa.array([0.5], pa.float32())], "double"),
        ([pa.array([1.5], pa.float16()), pa.array([0.1], pa.float32())], "float"),
        ([pa.array([2**63 - 1], pa.uint64()), pa.array([-1], pa.int8())], "int64"),
        ([pa.array([2**32 - 1], pa.uint32()), pa.array([-1], pa.int8())], "int64"),
        ([pa.array([2**63 - 1]), pa.array([1], pa.decimal128(5, 2)), pa.array([2], pa.uint64())], "decimal128(22, 2)"),
        ([pa.array([1], pa.decimal128(38, 0)), pa.array([0], pa.decimal128(20, 20))], "decimal256(58, 20)"),
        ([pa.array([2**40], pa.timestamp("s")), pa.array([1], pa.timestamp("us"))], "timestamp[us]"),
        ([pa.array([b"abc"], pa.binary(3)), pa.array([b"de"], pa.binary(2))], "large_binary"),
        ([pa.array([[1, 2]], pa.list_(pa.int8(), 2)), pa.array([[0.5], None])], "list<element: double>"),
        ([pa.array([[[None, None]]]), pa.array([[[{"a": 1}]]])], "list<element: list<element: struct<a: int64>>>"),
        ([pa.array([{"a": {}}]), pa.array([{"b": 1}])], "struct<a: struct<empty: null>, b: int64>"),
        ([pa.array(["a"], pa.string_view()), pa.array(["b"]).dictionary_encode()], "string"),
    ],
)
def test_an_exact_union_holds_every_value(tmp_path, columns, kind):
    united = UnitedSchema()
    segments = [segment(column) for column in columns]
    for one in segments:
        united.admit(one)
    target = tmp_path / "out.parquet"
    for content in (segments, [join_segments(segments)], [join_segments(segments[::-1])]):
        (tmp_path / "spool").write_bytes(b"".join(content))
        finish_parquet(tmp_path / "spool", np.cumsum([len(one) for one in content]).tolist(), target, RUN)
        found = parquet.read_table(target)
        assert found.num_rows == sum(map(len, columns))
        target.unlink()
    assert str(finished(tmp_path, *(pa.table({"x": column}) for column in columns)).schema.field("x").type) == kind


def test_a_resumed_run_knows_what_was_beyond_other_types(tmp_path):
    content = segment(pa.array([2**53 + 1]))
    (tmp_path / "spool").write_bytes(content)
    united = spool_schema(tmp_path / "spool", [len(content)])
    with pytest.raises(OutputError, match="column 'x' is int64 in some mini-batches and double in others"):
        united.admit(segment(pa.array([0.5])))
    united.admit(segment(pa.array([1], pa.int8())))


def test_the_marks_of_segments_are_not_in_the_file_and_the_same_for_all_values_of_a_kind(tmp_path):
    first, second = (pa.ipc.open_stream(segment(pa.array([[value]]))).schema for value in (2**60, 2**61))
    assert first.equals(second, check_metadata=True)
    assert first.field("x").type.value_field.metadata
    finished(tmp_path, pa.table({"x": [[2**60]], "y": [2**60]}), pa.table({"x": [[2**61]], "y": [1]}))
    schema = parquet.read_schema(tmp_path / "out.parquet")
    for field in (schema.field("y"), schema.field("x").type.value_field):
        assert not [name for name in field.metadata or {} if name.startswith(b"batch_score")]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([[(1, 2, 3)]], pa.list_(pa.month_day_nano_interval())), "Parquet has no type for month_day_nano"),
        (pa.array([2**60], pa.int64()).cast(pa.timestamp("s")), "out of bounds timestamp"),
        (pa.StructArray.from_arrays([pa.array([1])] * 2, names=["a", "a"]), "two fields of struct<.*> share a name"),
    ],
)
def test_what_a_parquet_file_cannot_hold_is_an_error_of_the_try(column, message):
    with pytest.raises(ReturnTypeError, match=f"column 'x' that run.* cannot be written as Parquet .*{message}"):
        segment(column)


def test_text_in_more_than_one_dictionary_is_one_column(tmp_path):
    """The values of both chunks together are too many for their indices."""
    texts = [str(number) for number in range(200)]
    chunks = [
        pa.array(part).dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string()))
        for part in (texts[:99], texts[99:])
    ]
    table = pa.table({"x": pa.chunked_array(chunks)})
    assert finished(tmp_path, table)["x"].to_pylist() == texts


def test_a_short_or_damaged_spool_is_an_error_and_leaves_no_file(tmp_path):
    segment = PARQUET.encode(accept(list(range(1000))), None, None).payload
    spool, target = tmp_path / "spool", tmp_path / "out.parquet"
    for content in (segment[:-100], segment[:20], b"", b"\xff" * len(segment), segment + b"\0" * 50):
        spool.write_bytes(content)
        ends = [len(segment), len(segment) + 50] if len(content) > len(segment) else [len(segment)]
        with pytest.raises(OutputError, match=r"spool.* is damaged in bytes|Parquet"):
            finish_parquet(spool, ends, target, RUN)
        assert list(tmp_path.iterdir()) == [spool]


def test_a_file_that_is_there_is_never_replaced_and_two_runs_do_not_meet(tmp_path):
    segment = PARQUET.encode(accept([1, 2]), None, None).payload
    spool, target = tmp_path / "spool", tmp_path / "out.parquet"
    spool.write_bytes(segment)
    assert finish_parquet(spool, [len(segment)], target, b"first") == 2
    made = target.stat()
    with pytest.raises(OutputError, match=r"exists and is not of this run.* move that file away, then resume"):
        finish_parquet(spool, [len(segment)], target, b"second")
    # A session that goes on finds its own file, and leaves it.
    assert finish_parquet(spool, [], target, b"first") == 2
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (made.st_ino, made.st_mtime_ns)
    assert sorted(tmp_path.iterdir()) == sorted([spool, target, draft_of(target, b"first")])
    # Moved away meanwhile, it is no draft that may be written into.
    moved = target.rename(tmp_path / "moved.parquet")
    assert finish_parquet(spool, [len(segment)], target, b"first") == 2
    assert moved.stat().st_mtime_ns == made.st_mtime_ns
    assert not moved.samefile(target)


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    (tmp_path / "spool").write_bytes(b"")
    with pytest.raises(OutputError, match="could not be made"):
        finish_parquet(tmp_path / "spool", [], tmp_path / "gone" / "out.parquet", RUN)
    with pytest.raises(OutputError, match="could not be made"):
        finish_parquet(tmp_path / "no spool", [], tmp_path / "out.parquet", RUN)


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
