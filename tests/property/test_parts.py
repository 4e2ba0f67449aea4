"""The laws of parts: a mini-batch that is cut and put together again is the same, and every item keeps its words.

The twin knows of every record, as it was written, what becomes of it.
"""

import gzip
import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from batch_score.dataset.description import Description
from batch_score.dataset.files import FileReader
from batch_score.dataset.parquet import RowGroup, range_size, row_ranges
from batch_score.dataset.tabular import TabularDataset
from batch_score.job.plan import plan
from batch_score.minibatch import MiniBatch

FAILED, DROPPED = "failed", "dropped"
TYPES = {"a": "int64", "b": "string"}
# The record in the file, and the row that is read of it or what becomes of it.
DELIMITED = [
    ("1,x", {"a": 1, "b": "x"}),
    ('-5,"p\nq"', {"a": -5, "b": "p\nq"}),
    ("3,", {"a": 3, "b": None}),
    ("8,é", {"a": 8, "b": "é"}),
    ("2.5,x", FAILED),
    ("7", FAILED),
    (",y", FAILED),
    ('"a""b",z', FAILED),
    ("1,é,3", FAILED),
]
JSONL = [
    ('{"a": 1, "b": "x"}', {"a": 1, "b": "x"}),
    ('{"b": "é", "c": 0, "a": -2}', {"a": -2, "b": "é"}),
    ('{"a": 3}', {"a": 3, "b": None}),
    ('{"a": "t", "b": ""}', FAILED),
    ('{"a": null, "b": "n"}', FAILED),
    ("nope", DROPPED),
    ("[1]", DROPPED),
    ('{"a": 1}{"a": 2}', DROPPED),
]
PARQUET = [
    (("1", "x"), {"a": 1, "b": "x"}),
    (("-2", None), {"a": -2, "b": None}),
    (("t", "é"), FAILED),
    ((None, "n"), FAILED),
]


def read(dataset, size):
    """Every mini-batch of the dataset with the batch that one worker reads of it."""
    reader = dataset.reader("/")
    return [(one, reader.read(one)) for chunk in plan([dataset], size) for one in chunk]


@st.composite
def texts(draw, folder, kinds):
    """A dataset of a text file, the twin's records, and a size of mini-batches."""
    kind, pool = draw(st.sampled_from(list(kinds.items())))
    records = [pool[0], *draw(st.lists(st.sampled_from(pool), max_size=25))]
    encoding, codec = draw(st.sampled_from([("utf8", "utf-8"), ("latin1", "latin-1"), ("utf16", "utf-16")]))
    lines = [record for record, _ in records]
    head = ["a,b"] if kind == "csv" else []
    content = draw(st.sampled_from(["\n", "\r\n", "\n\n"])).join([*head, *lines, *draw(st.sampled_from([[], [""]]))])
    pack = draw(st.sampled_from(["", ".gz"]))
    path = folder / f"t.{kind}{pack}"
    data = content.encode(codec)
    path.write_bytes(gzip.compress(data) if pack else data)
    options = {"set_column_types": TYPES, "encoding": encoding, "include_path": draw(st.booleans())}
    if kind == "csv":
        return TabularDataset.from_delimited_files(path, **options), records
    return TabularDataset.from_json_lines_files(path, invalid_lines="drop", **options), records


@st.composite
def parquets(draw, folder):
    found = [PARQUET[0], *draw(st.lists(st.sampled_from(PARQUET), max_size=25))]
    table = pa.table({name: [row[place] for row, _ in found] for place, name in enumerate("ab")})
    pq.write_table(table, folder / "t.parquet", row_group_size=draw(st.integers(1, 12)))
    records = [(json.dumps(dict(zip("ab", row, strict=True)), ensure_ascii=False), fate) for row, fate in found]
    return TabularDataset.from_parquet_files(folder / "t.parquet", set_column_types={"a": "int64"}), records


def cuts(draw, rows):
    """Consecutive parts that cover all positions."""
    inner = draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else set()
    return list(itertools.pairwise([0, *sorted(inner), rows]))


def twin_counts(fates):
    items = [place for place, fate in enumerate(fates) if isinstance(fate, dict)]
    return items, [place for place, fate in enumerate(fates) if fate == FAILED], fates.count(DROPPED)


def check_part(part, fates, first):
    """The part has exactly what the twin says of records whose first ordinal is `first`."""
    items, failed, dropped = twin_counts(fates)
    assert (part.ordinals - first).tolist() == items
    assert part.table.select(["a", "b"]).to_pylist() == [fates[place] for place in items]
    assert sorted(item.row - first for item in part.failed_items) == failed
    assert part.dropped == dropped


def check_words(batch, records, start, columns):
    """Every record of `records`, whose first is at position `start`, is described as it was written."""
    expected = [
        Description({name: fate[name] for name in columns} if columns and isinstance(fate, dict) else None, record)
        for record, fate in records
    ]
    assert batch.describe(range(start, start + len(records)), columns) == expected


def check(draw, dataset, records):
    for minibatch, whole in read(dataset, draw(st.sampled_from([1, 20, 60, "1MB"]))):
        mine = records[minibatch.first_row : minibatch.first_row + minibatch.rows]
        columns = draw(st.sampled_from([(), ("a",), ("b", "a")]))
        spans = cuts(draw, minibatch.rows)
        parts = [whole.part(minibatch, start, stop) for start, stop in spans]
        for (start, stop), part in zip(spans, parts, strict=True):
            check_part(part, [fate for _, fate in mine[start:stop]], minibatch.first_row + start)
            check_words(part, mine[start:stop], start, columns)
        check_words(whole, mine, 0, columns)
        check_together(parts, whole)


def check_together(parts, whole):
    assert pa.concat_tables([part.table for part in parts]) == whole.table
    assert np.concatenate([part.ordinals for part in parts]).tolist() == whole.ordinals.tolist()
    together = [item for part in parts for item in part.failed_items]
    assert sorted(item.row for item in together) == sorted(item.row for item in whole.failed_items)
    assert set(map(repr, together)) == set(map(repr, whole.failed_items))
    assert sum(part.dropped for part in parts) == whole.dropped
    assert sum(part.bytes_read for part in parts) == whole.bytes_read


@given(st.data())
def test_parts_of_text_are_what_was_written_and_make_up_the_whole(tmp_path, data):
    dataset, records = data.draw(texts(tmp_path, {"csv": DELIMITED, "jsonl": JSONL}))
    check(data.draw, dataset, records)


@given(st.data())
def test_parts_of_parquet_are_what_was_written_and_make_up_the_whole(tmp_path, data):
    dataset, records = data.draw(parquets(tmp_path))
    check(data.draw, dataset, records)


@given(st.integers(1, 40), st.data())
def test_parts_of_files_make_up_the_whole(count, data):
    paths = tuple(f"{number}.bin" for number in range(count))
    minibatch = MiniBatch(0, "", 0, 0, 70, count, files=paths)
    whole = FileReader("/base").read(minibatch)
    parts = [whole.part(minibatch, start, stop) for start, stop in cuts(data.draw, count)]
    assert [path for part in parts for path in part.files] == [f"/base/{path}" for path in paths]
    assert sum(part.items for part in parts) == whole.items
    assert whole.describe(range(count), ()) == [Description()] * count


@given(st.data())
def test_positions_are_described_in_any_order_and_as_often_as_asked(tmp_path, data):
    kinds = {"csv": DELIMITED, "jsonl": JSONL}
    dataset, records = data.draw(texts(tmp_path, kinds) | parquets(tmp_path))
    [(minibatch, batch)] = read(dataset, "1MB")
    asked = data.draw(st.lists(st.integers(0, minibatch.rows - 1), max_size=10))
    all_of_them = batch.describe(range(len(records)), ("a",))
    assert batch.describe(asked, ("a",)) == [all_of_them[place] for place in asked]


@given(
    st.lists(st.builds(RowGroup, st.integers(0, 12), st.integers(0, 60), st.just(0)), max_size=6), st.integers(1, 80)
)
def test_a_range_of_an_unchanged_parquet_file_has_the_planned_size(groups, bound):
    for planned in row_ranges(groups, bound):
        assert range_size(groups, planned.first_row, planned.rows) == planned.size
