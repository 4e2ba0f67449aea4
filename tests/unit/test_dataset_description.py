"""Failed items in words: keys and rows as JSON, records as they stand in the file."""

import datetime as dt
import json
from decimal import Decimal

import pyarrow as pa
import pytest
from tests.unit.reading import DELIMITED, JSONL, PARQUET

from batch_score.dataset.description import CUT, RECORD_LIMIT, decoded, json_values, rows_at
from batch_score.job.plan import plan

UTC_NOON = dt.datetime(2020, 1, 2, 12, tzinfo=dt.UTC)
POINTS = pa.map_(pa.string(), pa.int64())
VIEWS = pa.array(["x", "y"], pa.string_view())
RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 5], pa.int32()), pa.array([7, None, 0.5]))
SWAPPED = pa.ListViewArray.from_arrays(
    pa.array([2, 0, 0], pa.int32()), pa.array([1, 2, 0], pa.int32()), pa.array([7, 8, 9])
)
FAR = pa.array([2**62], pa.int64()).cast(pa.timestamp("us"))


def only_batch(dataset):
    [minibatch] = next(iter(plan([dataset], None)))
    return dataset.reader("/").read(minibatch)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, None]), [1, None]),
        (pa.array([2**64 - 1], pa.uint64()), [2**64 - 1]),
        (pa.array([True, None]), [True, None]),
        (pa.nulls(1), [None]),
        (pa.array([0.1, None, 2.0], pa.float32()), [0.1, None, 2.0]),
        (pa.array([1e300, float("nan"), float("-inf")]), [1e300, "nan", "-inf"]),
        (pa.array([1.5], pa.float16()), [1.5]),
        (pa.array(["é", None, ""]), ["é", None, ""]),
        (pa.array(["x"], pa.string_view()), ["x"]),
        (pa.array([b"a\xff\n", None]), ["a\\xff\n", None]),
        (pa.array([b"\x80b"], pa.binary(2)), ["\\x80b"]),
        (pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", None, "x"]),
        (pa.array([Decimal("1.20"), None]), ["1.20", None]),
        (pa.array([dt.date(2020, 1, 2), None]), ["2020-01-02", None]),
        (pa.array([dt.time(3, 4, 5)]), ["03:04:05.000000"]),
        (pa.array([UTC_NOON.replace(tzinfo=None), None], pa.timestamp("ns")), ["2020-01-02T12:00:00.000000000", None]),
        (pa.array([UTC_NOON], pa.timestamp("s", "Asia/Tokyo")), ["2020-01-02T12:00:00Z"]),
        (pa.array([2**62], pa.int64()).cast(pa.timestamp("us")), ["<value out of range: 4611686018427387904>"]),
        (pa.array([0], pa.int64()).cast(pa.timestamp("s", "No/Where")), ["1970-01-01T00:00:00Z"]),
        (pa.array([2**30], pa.int32()).cast(pa.date32()), ["<value out of range: 1073741824>"]),
        (pa.array([1500, None], pa.duration("ms")), [1.5, None]),
        (pa.array([{"a": 1, "b": [b"\xff"]}, None]), [{"a": 1, "b": ["\\xff"]}, None]),
        (pa.array([{}, None]), [{}, None]),
        (pa.array([[9], [1, 2], None, [], [None]]).slice(1), [[1, 2], None, [], [None]]),
        (pa.array([[1.0, 2.0], None, [3.0, float("nan")]], pa.list_(pa.float64(), 2)), [[1, 2], None, [3, "nan"]]),
        (pa.array([[[1], []], []], pa.large_list(pa.list_(pa.int8()))), [[[1], []], []]),
        (pa.array([[("z", 0)], [("k", 1)], None], POINTS).slice(1), [[{"key": "k", "value": 1}], None]),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), ["MonthDayNano(months=1, days=2, nanoseconds=3)"]),
        (pa.array([b"0123456789abcdef"], pa.uuid()), ["0123456789abcdef"]),
        (pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 1], pa.int8()), VIEWS), ["y", None, "x", "y"]),
        (RUNS, [7, 7, None, 0.5, 0.5]),
        (RUNS.slice(1, 3), [7, None, 0.5]),
        (RUNS.slice(2, 0), []),
        (SWAPPED, [[9], [7, 8], []]),
        (pa.array([["x"], None], pa.list_view(pa.string_view())), [["x"], None]),
        (pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])]), ["1", "b"]),
    ],
)
def test_arrow_values_become_values_that_json_holds(array, expected):
    found = json_values(array)
    assert found == expected
    assert json.loads(json.dumps(found, allow_nan=False)) == expected


@pytest.mark.parametrize("array", [VIEWS, VIEWS.cast(pa.binary_view()), RUNS, SWAPPED, FAR])
def test_rows_are_found_in_columns_that_arrow_cannot_filter(array):
    table = pa.table({"c": pa.chunked_array([array, array, array]), "n": range(3 * len(array))})
    values = json_values(array) * 3
    for places in ([], [0], [0, table.num_rows - 1], range(table.num_rows)):
        assert list(rows_at(table, places)) == [{"c": values[place], "n": place} for place in places]


def test_a_value_that_cannot_be_described_is_null_beside_the_others():
    odd = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [FAR])  # beyond the years of Python
    assert list(rows_at(pa.table({"odd": odd, "n": [1]}), [0])) == [{"odd": None, "n": 1}]


def test_text_that_is_not_utf8_is_escaped():
    """Parquet writers are not always asked whether their text is text."""
    broken = pa.Array.from_buffers(pa.string(), 1, pa.array([b"a\xff"]).buffers())
    assert json_values(broken) == ["a\\xff"]


@pytest.mark.parametrize("letter", ["a", "é", "漢", "\U0001f600"])
def test_records_are_cut_to_the_limit(letter):
    whole = letter * RECORD_LIMIT
    assert decoded(whole.encode()) == whole
    for longer in (whole + letter, whole * 10):
        found = decoded(longer.encode())
        assert len(found) == RECORD_LIMIT
        assert found == letter * (RECORD_LIMIT - len(CUT)) + CUT


def test_a_record_is_the_raw_line_of_the_file(file):
    text = 'a,b\n1, "x"\n2,"p\r\nq"\r\n\nx,"é""\n3,y'
    batch = only_batch(DELIMITED(file(text), set_column_types={"a": "int64"}))
    found = batch.describe(range(3), ("a",))
    assert [(one.key, one.record) for one in found] == [
        ({"a": 1}, '1, "x"'),
        ({"a": 2}, '2,"p\r\nq"'),
        (None, 'x,"é""\n3,y'),
    ]


@pytest.mark.parametrize(
    ("encoding", "raw", "record"),
    [
        ("utf8", b"2,\xff\\", "2,\\xff\\"),
        ("ascii", b"2,\xe9", "2,\\xe9"),
        ("windows1252", b"2,\x81\x80", "2,\\x81€"),
        ("latin1", b"x,\xe9", "x,é"),
    ],
)
def test_bytes_that_are_no_text_in_the_encoding_of_the_file_are_escaped(file, encoding, raw, record):
    dataset = DELIMITED(file(b"a,b\n1,x\n" + raw + b"\n"), encoding=encoding, set_column_types={"a": "int64"})
    batch = only_batch(dataset)
    assert [item.row for item in batch.failed_items] == [1]
    assert batch.describe([1], ())[0].record == record


def test_failed_and_dropped_json_lines_have_their_text_but_no_key(file):
    lines = ['{"a": 1, "k": {"x": [null, 2.5]}}', '{"a": "t"}', "no json", '{"a": 2, "k": null}']
    batch = only_batch(JSONL(file("\n".join(lines), "t.jsonl"), invalid_lines="drop", set_column_types={"a": "int64"}))
    found = batch.describe(range(4), ("k",))
    assert [one.record for one in found] == lines
    assert [one.key for one in found] == [{"k": {"x": [None, 2.5]}}, None, None, {"k": None}]


def test_without_key_columns_there_is_no_key(file):
    assert only_batch(DELIMITED(file("a\n1\n"))).describe([0], ())[0].key is None


def test_the_path_may_be_a_key(file):
    path = file("a\n1\n")
    assert only_batch(DELIMITED(path, include_path=True)).describe([0], ("Path",))[0].key == {"Path": str(path)}


def test_a_parquet_row_is_one_json_object_of_what_the_file_holds(parquet):
    table = pa.table({"a": ["1", "x"], "t": pa.array([0, None], pa.timestamp("s")), "b": [b"\xff", b"b" * 9000]})
    batch = only_batch(PARQUET(parquet(table), set_column_types={"a": "int64"}))
    first, second = batch.describe([0, 1], ("a",))
    assert first.key == {"a": 1}
    assert first.record == '{"a": "1", "t": "1970-01-01T00:00:00.000", "b": "\\\\xff"}'
    assert second.key is None
    assert second.record.startswith('{"a": "x", "t": null, "b": "bbb')
    assert (len(second.record), second.record[-4:]) == (RECORD_LIMIT, " ...")


def test_only_the_columns_that_are_read_are_in_the_record_of_a_parquet_row(parquet):
    dataset = PARQUET(parquet(pa.table({"a": [1], "b": [2], "c": [3]}))).select(["c", "a"], {})
    assert only_batch(dataset).describe([0], ())[0].record == '{"c": 3, "a": 1}'


def test_a_part_knows_the_keys_of_its_own_rows_and_all_records(file):
    dataset = DELIMITED(file("a\n10\n20\n30\n40\n"))
    [minibatch] = next(iter(plan([dataset], None)))
    part = dataset.reader("/").read(minibatch).part(minibatch, 1, 3)
    found = part.describe(range(4), ("a",))
    assert [one.key for one in found] == [None, {"a": 20}, {"a": 30}, None]
    assert [one.record for one in found] == ["10", "20", "30", "40"]


def test_a_part_shares_the_memory_of_the_whole(file):
    dataset = DELIMITED(file("a\n" + "1\n" * 1000))
    [minibatch] = next(iter(plan([dataset], None)))
    whole = dataset.reader("/").read(minibatch)
    part = whole.part(minibatch, 100, 900)
    assert part.table["a"].chunk(0).buffers()[1].address == whole.table["a"].chunk(0).buffers()[1].address
    assert part.ordinals.base is not None


def test_looking_at_no_item_looks_at_no_byte(file, monkeypatch):
    dataset = DELIMITED(file("a\n1\n"))
    monkeypatch.setattr(type(dataset.format), "split", lambda *_: pytest.fail("the bytes were cut into records"))
    assert only_batch(dataset).items == 1
