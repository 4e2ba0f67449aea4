"""The frozen records that pass between planning, the queue, the workers and the append writer."""

from __future__ import annotations

import os
import zlib
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

# The index of the frame that `run()` gets, and the key column made of it: by this name one is known from the other.
ROW = "row"


# The value of a key in a path.
KeyValue: TypeAlias = str | datetime


class Range(NamedTuple):
    """Rows of one file in a mini-batch that covers several; the attributes are those of `MiniBatch`."""

    source: str
    offset: int
    length: int
    first_row: int
    rows: int
    affinity: str = ""


@dataclass(frozen=True, slots=True)
class MiniBatch:
    """One unit of work: a byte or row range of one file, or a list of files, or the rows of several files.

    Attributes:
        index: Stable id, counted from 0 through all inputs in order; the same on every try.
        source: Path of the one file a tabular mini-batch comes from; empty for a list of files, or rows of several.
        offset: First byte in the file (of the decoded text when the file is compressed or UTF-16/32; the start
            of the first row group for Parquet).
        length: Bytes; for Parquet the uncompressed size that the footer states, for files 0.
        first_row: Ordinal of the first item, counted from 0 in its file (in the listing, for files). Rows of several
            files are counted through all of them.
        rows: Number of items.
        files: The paths of a FileDataset's mini-batch, else empty.
        dataset: Position of the dataset among the job's inputs.
        affinity: Mini-batches with the same non-empty value are read one after the other by one worker, because
            their file can only be read as a stream.
        whole: `run()` must get all of it at once, because it may mean the whole group: never split.
        ranges: The rows of each file where they come from several, in the order in which `run()` gets them.
        partition: The keys that all its items have in common, with their values; empty without partition keys.
    """

    index: int
    source: str
    offset: int
    length: int
    first_row: int
    rows: int
    files: tuple[str, ...] = ()
    dataset: int = 0
    affinity: str = ""
    whole: bool = False
    ranges: tuple[Range, ...] = ()
    partition: tuple[tuple[str, KeyValue], ...] = ()

    @property
    def identity(self) -> int:
        """CRC-32 over what is scored, so that a resumed job knows the mini-batch of this index again."""
        place = (self.dataset, self.source, self.offset, self.length, self.first_row, self.rows, *self.files)
        place += tuple(part for one in self.ranges for part in one[:-1])
        return zlib.crc32("\0".join(map(str, place)).encode("utf-8", "surrogateescape"))


def path_text(path: str) -> str:
    r"""A path as text; bytes that are not UTF-8, which Python has as lone surrogates, become `\xNN`."""
    return os.fsencode(path).decode(errors="backslashreplace")


def places(minibatch: MiniBatch) -> Callable[[int], tuple[str, int]]:
    """Gives for the ordinal of a row in its mini-batch the file it is in, and its ordinal there."""
    starts = list(accumulate((one.rows for one in minibatch.ranges), initial=0))

    def place(row: int) -> tuple[str, int]:
        if not minibatch.ranges:
            return minibatch.source, row
        number = bisect_right(starts, row) - 1
        one = minibatch.ranges[number]
        return one.source, one.first_row + row - starts[number]

    return place


def tried(index: int, attempt: int, part: tuple[int, int] | None) -> str:
    """A try in a message, e.g. `mini-batch 12, try 1` or `mini-batch 12, items 0 to 49, try 3`."""
    items = f", items {part[0]} to {part[1] - 1}" if part else ""
    return f"mini-batch {index}{items}, try {attempt}"


class Status(StrEnum):
    """How one try of a mini-batch ended (values as the ParallelRunStep reports spell them)."""

    RUN_DONE = "RUN_DONE"
    RUN_EXCEPTION = "RUN_EXCEPTION"
    RUN_TIMEOUT = "RUN_TIMEOUT"
    LOAD_EXCEPTION = "LOAD_EXCEPTION"
    LOAD_TIMEOUT = "LOAD_TIMEOUT"
    ENCODE_TIMEOUT = "ENCODE_TIMEOUT"
    WORKER_DIED = "WORKER_DIED"
    DESCRIBED = "DESCRIBED"  # no try: what failed for good was looked up


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time of one try went, in seconds.

    Attributes:
        started: Wall-clock start of the try as a POSIX time stamp.
        waiting: Time the worker's run stage waited for this mini-batch to be read.
        load: Reading and parsing.
        run: Inside `run()`.
        encode: Encoding what came back.
        process: CPU time (`time.process_time`) spent while `run()` was active.
    """

    started: float = 0.0
    waiting: float = 0.0
    load: float = 0.0
    run: float = 0.0
    encode: float = 0.0
    process: float = 0.0


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a try or an item failed.

    Attributes:
        error: Name of the exception class, or of the cause (`Timeout`, `WorkerDied`, `NotReturned`).
        message: One line.
        traceback: The full text, empty when there is none.
    """

    error: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that could not be read or scored.

    Attributes:
        source: Its file.
        row: Its ordinal in that file, None for a FileDataset.
        fault: Why.
        key: Values of the key columns by name, if the job has such and they could be read.
        record: What stands in the file, cut to a length; None where that is unknown or would say nothing new.
    """

    source: str
    row: int | None
    fault: Fault
    key: dict[str, Any] | None = None
    record: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one try of a mini-batch came to; the encoded rows travel beside it as bytes.

    Attributes:
        index: The mini-batch.
        attempt: 0 for the first try.
        status: How the try ended.
        total: Items of the mini-batch.
        succeeded: Elements that `run()` returned, at most as many as items could be read.
        returned: Elements that `run()` returned.
        columns: Column names of the encoded rows, without which the output's header cannot be checked.
        failed_items: Items that could not be read, and items known to be missing from what `run()` returned.
        timings: Where the time went.
        fault: Why the try failed, None when it succeeded.
        bytes_read: Bytes of input.
        dropped: Lines left out because the dataset says so; `total` does not count them.
        part: Positions of the first item that was scored and of the one behind the last, None for all.
        ticket: The lease that this outcome answers.
        notes: What the user should know, by subject; once for each subject.
    """

    index: int
    attempt: int
    status: Status
    total: int
    succeeded: int = 0
    returned: int = 0
    columns: tuple[str, ...] = ()
    failed_items: tuple[FailedItem, ...] = ()
    timings: Timings = field(default_factory=Timings)
    fault: Fault | None = None
    bytes_read: int = 0
    dropped: int = 0
    part: tuple[int, int] | None = None
    ticket: int = 0
    notes: dict[str, str] = field(default_factory=dict)
