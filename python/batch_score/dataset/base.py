"""What planning and the workers need to know of any dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pyarrow as pa

    from batch_score.minibatch import FailedItem, MiniBatch

PLAN_CHUNK = 256


@dataclass(frozen=True, slots=True)
class TableBatch:
    """A mini-batch of rows as a worker has read it.

    Attributes:
        table: The readable rows.
        ordinals: `[rows]` int64, their ordinals in their file.
        failed_items: Rows that could not be read.
        dropped: Rows left out because the dataset says so (`invalid_lines="drop"`).
        bytes_read: Bytes taken from the file.
    """

    table: pa.Table
    ordinals: np.ndarray
    failed_items: tuple[FailedItem, ...] = ()
    dropped: int = 0
    bytes_read: int = 0

    @property
    def items(self) -> int:
        """Number of readable items."""
        return int(self.table.num_rows)


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


Batch: TypeAlias = TableBatch | FileBatch


class Reader(Protocol):
    """Reads mini-batches inside a worker; may keep one file open between calls."""

    def read(self, minibatch: MiniBatch) -> Batch:
        """The mini-batch's items; raises RecordError when its file is not what was planned."""
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

    def reader(self, base: str) -> Reader:
        """A picklable reader of this dataset's mini-batches, whose relative paths are relative to `base`."""
        ...

    def total_bytes(self) -> int | None:
        """Bytes that the plan will cover, None when the listing alone does not tell."""
        ...

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """(path, size, mtime in ns) of the input files; for a FileDataset its inputs as given."""
        ...
