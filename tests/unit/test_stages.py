"""What a worker makes of a task, whatever its batch, its scorer and the values they give do."""

import gzip
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.reading import DELIMITED, JSONL, PARQUET

from batch_score.dataset.base import TableBatch
from batch_score.dataset.frame import frame
from batch_score.dataset.text import TextReader
from batch_score.faults import fault_of
from batch_score.job.plan import plan
from batch_score.minibatch import Status
from batch_score.output.encoder import OutputOptions
from batch_score.worker.messages import Task, WorkerSpec
from batch_score.worker.stages import Stages


class Scorer:
    """Answers with `answer(rows)`."""

    def __init__(self, answer):
        self.run = lambda rows, _: answer(rows)

    def items(self, batch):
        return frame(batch.table)

    def take_notes(self):
        return {}


def stages(reader, answer=lambda rows: rows, *, key="auto", output="o.csv"):
    options = OutputOptions(output) if output else None
    spec = WorkerSpec(None, (reader,), key, options, (), "/", "/", Path("/"), "node-0", "info")
    return Stages(spec, Scorer(answer))


def planned(dataset, size=None):
    return [one for chunk in plan([dataset], size) for one in chunk]


def outcome_of(worker, task):
    return worker.encode(worker.run(worker.load(task), 0.0))[0]


class Fixed:
    """A reader that gives one batch."""

    def __init__(self, batch):
        self.batch = batch

    def read(self, minibatch):
        return replace(self.batch, first_row=minibatch.first_row)


class Broken:
    """Records that cannot be told."""

    def texts(self, positions):
        raise pa.ArrowNotImplementedError(f"no way to tell {len(positions)}")


@pytest.fixture
def three(file):
    """The one mini-batch of a file of three rows."""
    [minibatch] = planned(DELIMITED(file("a\n1\n2\n3\n")))
    return minibatch


def test_items_that_cannot_be_described_are_told_without_key_and_record_and_that_is_said_once(three, caplog):
    batch = TableBatch(pa.table({"a": [1, 2, 3]}), np.arange(3), records=Broken())
    worker = stages(Fixed(batch), lambda rows: rows.iloc[:1])
    with caplog.at_level(logging.WARNING):
        found = [outcome_of(worker, Task(three, 0)), outcome_of(worker, Task(three, 0, describe=(0, 2)))]
    assert [one.status for one in found] == [Status.RUN_DONE, Status.DESCRIBED]
    assert [[item.row for item in one.failed_items] for one in found] == [[1, 2], [0, 2]]
    assert {(item.key, item.record) for one in found for item in one.failed_items} == {(None, None)}
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "ArrowNotImplementedError: no way to tell 2" in caplog.text


def test_an_error_in_making_the_outcome_is_a_failed_try(three):
    batch = TableBatch(pa.table({"a": [1, 2, 3]}), np.arange(3), failed_items=None)
    found = outcome_of(stages(Fixed(batch)), Task(three, 0))
    assert (found.status, found.fault.error, found.succeeded) == (Status.RUN_EXCEPTION, "TypeError", 0)


class Leaves:
    def __str__(self):
        raise SystemExit("gone")


def test_a_value_whose_text_cannot_be_had_is_a_failed_try(three):
    found = outcome_of(
        stages(DELIMITED(three.source).reader("/"), lambda _: [Leaves()] * 3, output="o.txt"), Task(three, 0)
    )
    assert (found.status, found.fault.error, found.fault.message) == (Status.RUN_EXCEPTION, "SystemExit", "gone")


def test_an_exception_without_a_readable_message_is_a_fault():
    class MuteError(Exception):
        def __str__(self):
            raise KeyError

    found = fault_of(MuteError())
    assert (found.error, found.message) == ("MuteError", "(its message cannot be shown: KeyError)")
    assert "MuteError" in found.traceback


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", "y", "z"], pa.string_view()),
        pa.array([b"x", b"y", b"z"], pa.binary_view()),
        pa.array([["x"], ["y"], ["z"]], pa.list_(pa.string_view())),
        pa.array([{"k": "x"}, {"k": "y"}, {"k": "z"}], pa.struct([("k", pa.string_view())])),
        pa.array([["x"], ["y"], ["z"]], pa.list_(pa.binary(1), 1)),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize("form", ["o.csv", "o.jsonl", "o.parquet", "o.txt"])
def test_columns_of_views_are_scored_carried_as_keys_and_described(column, form, parquet):
    """pyarrow can neither filter views nor, inside of lists, hand them to pandas."""
    dataset = PARQUET(parquet(pa.table({"c": column, "n": [1.0, 2.0, 3.0]})))
    [minibatch] = planned(dataset)
    worker = stages(dataset.reader("/"), lambda rows: rows[["n"]].iloc[[0, 2]], key=("c",), output=form)
    found = outcome_of(worker, Task(minibatch, 0))
    assert found.fault is None
    [item] = found.failed_items
    y = {"struct": {"k": "y"}}.get(str(column.type)[:6], ["y"] if pa.types.is_nested(column.type) else "y")
    assert (item.row, item.key, json.loads(item.record)) == (1, {"c": y}, {"c": y, "n": 2.0})
    assert outcome_of(worker, Task(minibatch, 1, describe=(1,))).failed_items[0].key == {"c": y}


def test_more_absent_items_than_failed_ones_are_not_named(file):
    """Six elements for sixteen items: ten have failed, though twelve have no element of their own."""
    dataset = DELIMITED(file("a\n" + "1\n" * 16))
    [minibatch] = planned(dataset)
    labels = {"twice": [0, 0, 1, 1, 2, 3], "once": [0, 1, 2, 3, 4, 5]}
    named = {}
    for name, rows in labels.items():
        worker = stages(dataset.reader("/"), lambda frame, rows=rows: frame.loc[rows])
        found = outcome_of(worker, Task(minibatch, 0))
        assert (found.total, found.succeeded) == (16, 6)
        named[name] = [item.row for item in found.failed_items]
    assert named == {"twice": [], "once": list(range(6, 16))}


def test_a_line_that_was_dropped_is_no_item_to_describe(file):
    lines = ['{"a": 1}', "no json", '{"a": "t"}', '{"a": 2}']
    dataset = JSONL(file("\n".join(lines), "t.jsonl"), invalid_lines="drop", set_column_types={"a": "int64"})
    [minibatch] = planned(dataset)
    worker = stages(dataset.reader("/"), key=("a",))
    found = outcome_of(worker, Task(minibatch, 0, describe=(0, 1, 2, 3)))
    told = [(item.row, item.key, item.record, item.fault.error) for item in found.failed_items]
    assert told == [(0, {"a": 1}, lines[0], ""), (2, None, lines[2], "RecordError"), (3, {"a": 2}, lines[3], "")]


class Counting(TextReader):
    """Counts what it reads, and how often it opens a stream."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.read_ones, self.streams = [], []

    def __copy__(self):
        return self  # so that the test sees what a thread reads with

    def read(self, minibatch):
        self.read_ones.append(minibatch.index)
        found = super().read(minibatch)
        if not any(one is self._stream[1] for one in self.streams):
            self.streams.append(self._stream[1])
        return found


@pytest.fixture
def stream(tmp_path):
    """The mini-batches of a compressed file, and what reads them."""
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a\n" + b"".join(b"%d\n" % number for number in range(100, 160))))
    dataset = DELIMITED(path)
    minibatches = planned(dataset, 40)
    assert [one.rows for one in minibatches] == [10] * 6
    return minibatches, Counting(dataset.format, "/")


def test_a_mini_batch_in_parts_is_read_once_whatever_is_read_ahead_between_its_parts(stream):
    minibatches, reader = stream
    worker = stages(reader)
    tasks = [task for at, ahead in enumerate(minibatches[1:5]) for task in (part(minibatches[0], at), Task(ahead, 0))]
    found = [outcome_of(worker, task) for task in tasks]
    assert [one.returned for one in found] == [2, 10] * 4
    assert reader.read_ones == [0, 1, 2, 3, 4]
    assert len(reader.streams) == 1


def part(minibatch, number):
    return Task(minibatch, 1, part=(2 * number, 2 * number + 2))


def test_a_part_of_another_mini_batch_takes_the_place_in_memory(stream):
    (first, other, *_), reader = stream
    worker = stages(reader)
    for task in (part(first, 0), part(other, 0), part(other, 1), part(first, 1)):
        outcome_of(worker, task)
    assert reader.read_ones == [0, 1, 0]


def test_what_is_described_in_the_end_leaves_memory(stream):
    (first, *_), reader = stream
    worker = stages(reader)
    for task in (part(first, 0), Task(first, 2, describe=(0,)), Task(first, 0)):
        outcome_of(worker, task)
    assert reader.read_ones == [0, 0]
