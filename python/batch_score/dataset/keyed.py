"""Reading tables whose files have keys in their paths: the keys become columns, files of one mini-batch one table."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from batch_score.dataset.base import TableBatch
from batch_score.minibatch import MiniBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.dataset.base import Records
    from batch_score.dataset.partition import PartitionFormat
    from batch_score.minibatch import KeyValue

DATE = pa.timestamp("ns")  # as columns declared `datetime`
# Rows of a piece of a key column; all pieces but the last share their memory.
PIECE = 1 << 16


class TableReader(Protocol):
    """Reads mini-batches of one file each."""

    def read(self, minibatch: MiniBatch) -> TableBatch:
        """The mini-batch's rows."""
        ...


def key_fields(partition: PartitionFormat, columns: Sequence[str] | None = None) -> list[pa.Field[Any]]:
    """The columns of the keys, or of those named in `columns`, in the order of the path."""
    wanted = partition.keys if columns is None else [name for name in partition.keys if name in columns]
    return [pa.field(name, DATE if name in partition.dates else pa.string()) for name in wanted]


class KeyedReader:
    """Reads rows with the keys of their paths as the last columns.

    Args:
        reader: Reads the rows of one file.
        partition: The keys.
        base: What relative paths are relative to.
        columns: The keys that become columns, None for all.
    """

    def __init__(
        self, reader: TableReader, partition: PartitionFormat, base: str, columns: Sequence[str] | None = None
    ) -> None:
        self._reader = reader
        self._partition = partition
        self._base = base
        self._columns = columns

    def __copy__(self) -> KeyedReader:
        """Another one, which may be used at the same time: it opens its own files."""
        return KeyedReader(copy(self._reader), self._partition, self._base, self._columns)

    def read(self, minibatch: MiniBatch) -> TableBatch:
        """The mini-batch's rows; those of several files one below the other, counted through."""
        if not minibatch.ranges:
            return self._keyed(minibatch)
        batches, start = [], 0
        for one in minibatch.ranges:
            part = MiniBatch(minibatch.index, *one[:-1], dataset=minibatch.dataset, affinity=one.affinity)
            batches.append(_moved(self._keyed(part), start - one.first_row))
            start += one.rows
        return _joined(minibatch, batches)

    def _keyed(self, minibatch: MiniBatch) -> TableBatch:
        batch = self._reader.read(minibatch)
        values = dict(zip(self._partition.keys, self._partition.values(minibatch.source, self._base), strict=True))
        fields = key_fields(self._partition, self._columns)
        columns = [_repeated(values[field.name], field, batch.items) for field in fields]
        schema = pa.schema([*batch.table.schema, *fields])
        return replace(batch, table=pa.Table.from_arrays([*batch.table.columns, *columns], schema=schema))


def _repeated(value: KeyValue, field: pa.Field[Any], count: int) -> pa.ChunkedArray[Any]:
    piece = pa.repeat(pa.scalar(value, field.type), min(count, PIECE))
    rest = count % PIECE if count > PIECE else 0
    return pa.chunked_array([piece] * max(1, count // PIECE) + [piece.slice(0, rest)] * bool(rest), field.type)


def _moved(batch: TableBatch, distance: int) -> TableBatch:
    """The same rows, counted through all files instead of through theirs."""
    failed = tuple(
        item if item.row is None else replace(item, source="", row=item.row + distance) for item in batch.failed_items
    )
    first_row = batch.first_row + distance
    return replace(batch, ordinals=batch.ordinals + distance, failed_items=failed, first_row=first_row)


def _joined(minibatch: MiniBatch, batches: Sequence[TableBatch]) -> TableBatch:
    """The rows of several files as one batch, to which positions in the mini-batch belong as to any other."""
    tensors = None
    if batches[0].tensors is not None:
        tensors = {name: np.concatenate([(one.tensors or {})[name] for one in batches]) for name in batches[0].tensors}
    return TableBatch(
        table=pa.concat_tables([one.table for one in batches]),
        ordinals=np.concatenate([one.ordinals for one in batches]),
        failed_items=tuple(item for one in batches for item in one.failed_items),
        dropped=sum(one.dropped for one in batches),
        bytes_read=sum(one.bytes_read for one in batches),
        first_row=minibatch.first_row,
        records=_JoinedRecords(tuple(one.first_row for one in batches), tuple(one.records for one in batches)),
        tensors=tensors,
    )


@dataclass(frozen=True, slots=True)
class _JoinedRecords:
    """The records of several files.

    Attributes:
        starts: Position of the first record of each.
        records: Those of each file.
    """

    starts: tuple[int, ...]
    records: tuple[Records | None, ...]

    def texts(self, positions: Sequence[int]) -> list[str | None]:
        """The records at positions in the mini-batch; each file that has one of them is looked into once."""
        asked = np.asarray(positions, dtype=np.int64)
        files = np.searchsorted(self.starts, asked, side="right") - 1
        found: list[str | None] = [None] * len(asked)
        for file in np.unique(files).tolist():
            records, places = self.records[file], np.flatnonzero(files == file).tolist()
            if records is not None:
                texts = records.texts((asked[places] - self.starts[file]).tolist())
                for place, text in zip(places, texts, strict=True):
                    found[place] = text
        return found
