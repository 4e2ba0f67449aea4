"""What planning and the workers need to know of any dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np

from batch_score.dataset.description import Description, rows_at
from batch_score.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from batch_score.dataset.origin import Origin
    from batch_score.minibatch import FailedItem, MiniBatch

PLAN_CHUNK = 256


class Records(Protocol):
    """What stands in the file, kept to describe items that failed; finding a record may cost a look at all of it."""

    def texts(self, positions: Sequence[int]) -> list[str | None]:
        """The records at positions in the mini-batch, each of at most RECORD_LIMIT characters."""
        ...


@dataclass(frozen=True, slots=True)
class TableBatch:
    """A mini-batch of rows as a worker has read it, or a part of it.

    A position is counted within the mini-batch, over all records that were planned: at position p stands the record
    of ordinal `first_row + p`, whether it could be read, failed or was dropped.

    Attributes:
        table: The readable rows.
        ordinals: `[rows]` int64 ascending, their ordinals in their file.
        failed_items: Rows that could not be read.
        dropped: Rows left out because the dataset says so (`invalid_lines="drop"`).
        bytes_read: Bytes taken from the file.
        first_row: Ordinal of the mini-batch's first record, which is at position 0.
        records: The records of the whole mini-batch.
        tensors: Columns that the scorer wanted side by side, `[items, columns]` by its name for them; they are not in
            the table then. None when all columns are in the table.
    """

    table: pa.Table
    ordinals: np.ndarray
    failed_items: tuple[FailedItem, ...] = ()
    dropped: int = 0
    bytes_read: int = 0
    first_row: int = 0
    records: Records | None = None
    tensors: Mapping[str, np.ndarray] | None = None

    @property
    def items(self) -> int:
        """Number of readable items."""
        return len(self.ordinals)

    def all_rows(self) -> pa.Table:
        """The table of a batch that has all its rows.

        Raises:
            RecordError: A row could not be read; the message names the first one.
        """
        for item in self.failed_items:
            raise RecordError(
                f"{item.source}: row {item.row} cannot be read: {item.fault.message}; correct it, or leave it out"
            )
        return self.table

    def part(self, minibatch: MiniBatch, start: int, stop: int) -> TableBatch:
        """What this batch of a whole mini-batch has at some positions; the rows are not copied.

        Args:
            minibatch: What was read.
            start: The first position, at least 0.
            stop: The position behind the last, at most `minibatch.rows`.

        Returns:
            A batch whose counts are those of the part; of the bytes it has a share, so that parts add up.
        """
        first, end = minibatch.first_row + start, minibatch.first_row + stop
        low, high = self.ordinals.searchsorted((first, end)).tolist()
        failed = tuple(item for item in self.failed_items if item.row is not None and first <= item.row < end)
        upto = [self.bytes_read * position // minibatch.rows for position in (start, stop)]
        return replace(
            self,
            table=self.table.slice(low, high - low),
            tensors=None if self.tensors is None else {name: one[low:high] for name, one in self.tensors.items()},
            ordinals=self.ordinals[low:high],
            failed_items=failed,
            dropped=(stop - start) - (high - low) - len(failed),
            bytes_read=upto[1] - upto[0],
        )

    def describe(self, positions: Sequence[int], columns: Sequence[str]) -> list[Description]:
        """Key and record of items, for the report of those that failed.

        Args:
            positions: Positions in the mini-batch, in any order.
            columns: Names of the key columns, none or more, all of them columns of the table.

        Returns:
            One description for each position. Only a row of this batch has a key; a record that did not fit and a
            dropped line have what stands in the file alone.
        """
        keys = self._keys(positions, columns) if columns else {}
        records = self.records.texts(positions) if self.records else [None] * len(positions)
        return [Description(keys.get(place), record) for place, record in zip(positions, records, strict=True)]

    def _keys(self, positions: Sequence[int], columns: Sequence[str]) -> dict[int, dict[str, Any]]:
        asked = np.asarray(positions, dtype=np.int64) + self.first_row
        places = np.flatnonzero(np.isin(self.ordinals, asked))
        known = (self.ordinals[places] - self.first_row).tolist()
        return dict(zip(known, rows_at(self.table.select(list(columns)), places.tolist()), strict=True))


@dataclass(frozen=True, slots=True)
class FileBatch:
    """A mini-batch of files, which only the script opens: nothing is read here, and nothing fails.

    Attributes:
        files: Absolute paths.
    """

    files: tuple[str, ...]
    failed_items: ClassVar[tuple[FailedItem, ...]] = ()
    dropped: ClassVar[int] = 0
    bytes_read: ClassVar[int] = 0

    @property
    def items(self) -> int:
        """Number of files."""
        return len(self.files)

    def part(self, minibatch: MiniBatch, start: int, stop: int) -> FileBatch:  # noqa: ARG002 - as tables
        """The files at the positions from `start` to before `stop` of a whole mini-batch (see TableBatch)."""
        return FileBatch(self.files[start:stop])

    def describe(self, positions: Sequence[int], columns: Sequence[str]) -> list[Description]:  # noqa: ARG002 - as tables
        """An empty description for each position: a file has no key columns, and its path says all (see TableBatch)."""
        return [Description()] * len(positions)


Batch: TypeAlias = TableBatch | FileBatch


class Reader(Protocol):
    """Reads mini-batches inside a worker; may keep one file open between calls."""

    def read(self, minibatch: MiniBatch) -> Batch:
        """The mini-batch's items; raises RecordError when its file is not what was planned, OSError when it is gone."""
        ...


class Dataset(Protocol):
    """What is to be scored."""

    @property
    def kind(self) -> str:
        """`tabular` or `file`."""
        ...

    def plan(self, mini_batch_size: str | int | None, *, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        """The mini-batches in order, in lists of at most PLAN_CHUNK, indexed from `first_index`."""
        ...

    def grouped(self, keys: Sequence[str]) -> Dataset:
        """The same items, one mini-batch for each combination of keys in the paths; ConfigError if they lack one."""
        ...

    def reader(self, base: str) -> Reader:
        """A picklable reader of this dataset's mini-batches, whose relative paths are relative to `base`."""
        ...

    def total_bytes(self) -> int | None:
        """Bytes that the plan will cover, None when the listing alone does not tell."""
        ...

    @property
    def origin(self) -> Origin | None:
        """How the dataset was asked for; None for one that was put together by hand, which cannot be reopened."""
        ...

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """(path, size, mtime in ns) of the input files; for a FileDataset its inputs as given, with zeros."""
        ...
