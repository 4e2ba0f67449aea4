"""Files that change under a running job: a mini-batch of them is an error with a path, or what was planned."""

import gzip
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reading import DELIMITED, JSONL, PARQUET

from batch_score.errors import InputError, RecordError
from batch_score.job.plan import plan

ROWS = 400
TABLE = pa.table(
    {
        "a": range(ROWS),
        "b": [f"x{number % 17}" for number in range(ROWS)],
        "d": pa.array([f"d{number % 3}" for number in range(ROWS)]).dictionary_encode(),
        "l": [[number] for number in range(ROWS)],
    }
)
CSV = b"a,b\n" + b"".join(b'%d,"x%d"\n' % (number, number) for number in range(ROWS))
LINES = b"".join(b'{"a": %d, "b": "x%d"}\n' % (number, number) for number in range(ROWS))


def parquet_bytes(table=TABLE, **options):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=50, **options)
    return sink.getvalue().to_pybytes()


KINDS = {
    "t.csv": (DELIMITED, CSV),
    "t.csv.gz": (DELIMITED, gzip.compress(CSV, mtime=0)),
    "t.jsonl": (JSONL, LINES),
    "t.jsonl.gz": (JSONL, gzip.compress(LINES, mtime=0)),
    "t.parquet": (PARQUET, parquet_bytes()),
}


@pytest.fixture(params=KINDS)
def planned(request, file):
    """Path, content, mini-batches and a maker of readers of a file of each kind."""
    make, content = KINDS[request.param]
    path = file(content, request.param)
    dataset = make(path)
    minibatches = [one for chunk in plan([dataset], 1000) for one in chunk]
    assert len(minibatches) > 3
    return path, content, minibatches, lambda: dataset.reader("/")


def rows_of(minibatch):
    return list(range(minibatch.first_row, minibatch.first_row + minibatch.rows))


def read_or_message(reader, minibatch):
    """The batch, or the message of the one error that is expected."""
    try:
        return reader.read(minibatch)
    except RecordError as error:
        return str(error)


def test_a_file_that_was_cut_short(planned):
    path, content, minibatches, reader = planned
    path.write_bytes(content[: len(content) // 3])
    with pytest.raises(RecordError, match=path.name):
        reader().read(minibatches[-1])


def test_a_file_that_is_empty_now(planned):
    path, _, minibatches, reader = planned
    path.write_bytes(b"")
    for minibatch in minibatches:
        with pytest.raises(RecordError, match=path.name):
            reader().read(minibatch)


def test_a_file_that_was_removed(planned):
    path, _, minibatches, reader = planned
    path.unlink()
    with pytest.raises(FileNotFoundError, match=path.name):
        reader().read(minibatches[1])


def test_a_file_that_was_replaced_by_something_else(planned):
    path, content, minibatches, reader = planned
    path.write_bytes(bytes(range(256)) * len(content))
    for minibatch in minibatches:
        with pytest.raises(RecordError, match=path.name):
            reader().read(minibatch)


def test_a_file_that_can_be_read_again_is_read_again(planned):
    """Another try of the same reader does not suffer from what the one before has met."""
    path, content, minibatches, reader = planned
    one = reader()
    one.read(minibatches[1])
    path.unlink()
    path.write_bytes(content[:40])
    with pytest.raises(RecordError, match=path.name):
        one.read(minibatches[0])
    path.unlink()
    path.write_bytes(content)
    assert one.read(minibatches[2]).table["a"].to_pylist() == rows_of(minibatches[2])
    assert one.read(minibatches[3]).table["a"].to_pylist() == rows_of(minibatches[3])


def test_a_file_that_is_cut_while_it_is_open(planned):
    path, _, minibatches, reader = planned
    one = reader()
    one.read(minibatches[0])
    os.truncate(path, 40)
    found = read_or_message(one, minibatches[-1])
    if isinstance(found, str):
        assert path.name in found
    else:  # a stream had the rest in its buffer
        assert found.table["a"].to_pylist() == rows_of(minibatches[-1])


def test_rows_in_front_are_noticed_by_the_ends_that_they_move(file):
    """Without a look at the ends, every mini-batch would be read, with rows of another place."""
    for make, name, content, more in ((DELIMITED, "t.csv", CSV, b"77777,y\n"), (JSONL, "t.jsonl", LINES, b'{"a":7}\n')):
        dataset = make(file(content, name))
        minibatches = [one for chunk in plan([dataset], 1000) for one in chunk]
        head = content.index(b"\n") + 1
        file(content[:head] + more + content[head:], name)
        for minibatch in minibatches:
            with pytest.raises(RecordError, match=r"no record ends at byte .* the file changed"):
                dataset.reader("/").read(minibatch)


@pytest.mark.parametrize(("pack", "name"), [(bytes, "t.csv"), (gzip.compress, "t.csv.gz")])
def test_a_last_record_that_goes_on_is_not_the_planned_one(file, pack, name):
    dataset = DELIMITED(file(pack(b"a,b\n1,x\n2,y"), name))
    [minibatch] = next(iter(plan([dataset], None)))
    assert dataset.reader("/").read(minibatch).items == 2
    file(pack(b"a,b\n1,x\n2,yes\n"), name)
    with pytest.raises(RecordError, match="no record ends at byte 11"):
        dataset.reader("/").read(minibatch)


def test_rows_behind_the_last_planned_one_do_not_matter(file):
    dataset = DELIMITED(file("a\n1\n2\n"))
    [minibatch] = next(iter(plan([dataset], None)))
    file("a\n1\n2\n3\n")
    assert dataset.reader("/").read(minibatch).table["a"].to_pylist() == [1, 2]


def test_lines_that_make_up_for_each_other_are_described_as_far_as_they_go(file):
    """A change that nothing shows: as many bytes, as many objects, but fewer lines."""
    dataset = JSONL(file('{"a":1}\n{"a":2}\n', "t.jsonl"))
    [minibatch] = next(iter(plan([dataset], None)))
    file('{"a":1}{"a":2} \n', "t.jsonl")
    batch = dataset.reader("/").read(minibatch)
    assert [one.record for one in batch.describe([0, 1], ())] == ['{"a":1}{"a":2} ', None]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (TABLE.slice(0, 60), "rows from row .* where the footer counted"),
        (TABLE.slice(0, 0), "0 rows from row .* where the footer counted"),
        (TABLE.drop_columns(["b"]), "bytes of rows from row .* the file changed"),
        (TABLE.rename_columns(["a", "B", "d", "l"]), "cannot be read as planned: .*b.*; check the file"),
        (
            TABLE.set_column(1, "b", [[f"other {number}" for number in range(ROWS)]]),
            "bytes of rows from row .* the file changed",
        ),
    ],
)
def test_another_parquet_file_in_the_place_of_the_planned_one(parquet, other, message):
    dataset = PARQUET(parquet(TABLE, row_group_size=50))
    minibatches = [one for chunk in plan([dataset], 1000) for one in chunk]
    parquet(other, row_group_size=50)
    with pytest.raises(RecordError, match=message):
        dataset.reader("/").read(minibatches[-1])


def test_types_that_cannot_become_the_declared_ones_are_an_error_with_the_path(parquet):
    dataset = PARQUET(parquet(TABLE), set_column_types={"l": "int64"})
    [minibatch] = next(iter(plan([dataset], None)))
    with pytest.raises(RecordError, match=r"t\.parquet: .*[Cc]ast.*check the file and set_column_types"):
        dataset.reader("/").read(minibatch)


@st.composite
def damaged(draw, content):
    """The content cut short, with other bytes in it, or with some that are new or turned around."""
    raw = bytearray(content)
    begin = draw(st.integers(0, len(raw) - 1))
    end = draw(st.integers(begin, min(len(raw), begin + 300)))
    match draw(st.sampled_from(["cut", "new", "turned", "other"])):
        case "cut":
            del raw[begin:]
        case "new":
            raw[begin:begin] = draw(st.binary(min_size=1, max_size=5))
        case "turned":
            raw[begin:end] = raw[begin:end][::-1]
        case "other":
            for place in draw(st.lists(st.integers(0, len(raw) - 1), max_size=20)):
                raw[place] = draw(st.sampled_from(b'",{}[]\n\r\0\xff\\5'))
    return bytes(raw)


@given(data=st.data(), opened=st.booleans())
def test_damage_of_any_kind_is_an_error_with_the_path_or_does_not_disturb(planned, data, opened):
    path, content, minibatches, reader = planned
    path.write_bytes(content)
    one = reader()
    if opened:
        one.read(minibatches[0])
    path.write_bytes(data.draw(damaged(content)))
    for minibatch in (minibatches[1], minibatches[2], minibatches[-1]):
        found = read_or_message(one, minibatch)
        if isinstance(found, str):
            assert str(path) in found
        else:
            assert found.items + len(found.failed_items) + found.dropped == minibatch.rows
            assert len(found.describe(range(minibatch.rows), ("a", "b"))) == minibatch.rows


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:0],
        lambda content: content[:-1],
        lambda content: content[:-500] + bytes(492) + content[-8:],
        lambda content: content.replace(b"/////", b"!!!!!"),  # what Arrow keeps of its schema
        lambda content: content.replace(b"name", b"\xffame"),
    ],
    ids=["empty", "cut", "zeros", "schema", "name"],
)
def test_a_damaged_footer_is_an_error_of_the_input(file, damage):
    path = file(damage(parquet_bytes(pa.table({"name": ["x"] * 100}))), "t.parquet")
    with pytest.raises(InputError, match=r"t\.parquet: .*Parquet file"):
        PARQUET(path)


def test_a_parquet_file_that_is_whole_again_is_read_on(file):
    """After a failure in the middle of a file, the reader begins anew and does not find itself at the end."""
    content = parquet_bytes()
    path = file(content, "t.parquet")
    dataset = PARQUET(path)
    first, second, *_ = [one for chunk in plan([dataset], 1000) for one in chunk]
    reader = dataset.reader("/")
    reader.read(first)
    path.write_bytes(content[:4] + bytes(len(content) - 4))
    with pytest.raises(RecordError, match=r"t\.parquet: .*cannot be read as planned"):
        reader.read(second)
    path.write_bytes(content)
    assert reader.read(second).table["a"].to_pylist() == rows_of(second)
