"""Reading a mini-batch of a text file: bytes, parse, and what to do with records that do not fit."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa

from batch_score import _native
from batch_score.dataset.base import TableBatch
from batch_score.dataset.description import decoded
from batch_score.dataset.fields import FieldTable
from batch_score.dataset.fit import set_unfit_apart, with_path
from batch_score.dataset.salvage import salvage
from batch_score.dataset.schema import nullable
from batch_score.dataset.source import CODECS
from batch_score.errors import RecordError
from batch_score.minibatch import FailedItem, Fault
from batch_score.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batch_score.dataset.fields import Matrix
    from batch_score.minibatch import MiniBatch

FIELDS = re.compile(r"Expected (\d+) columns, got (\d+)(.*)", re.DOTALL)
RAGGED = " columns, got "
LINE_ENDS = (b"\n", b"\r")
# Arrow's row number counts within the piece that it was given, which here is one record.
MESSAGE = re.compile(r"(?:In CSV column #(\d+): )?(CSV parse error: )?(?:Row #\d+: )?(.*?)(?: in row \d+)?", re.DOTALL)


class TextFormat(Protocol):
    """What delimited text and JSON Lines do differently."""

    @property
    def encoding(self) -> str:
        """Name of the encoding as the options have it."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The columns as the parser counts them."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The settled schema."""
        ...

    @property
    def include_path(self) -> bool:
        """The column `Path` is added."""
        ...

    def drops(self, record: bytes) -> bool:
        """Whether a record that does not parse is left out instead of failing."""
        ...

    def parse(self, data: bytes) -> pa.Table:
        """The records of `data` in the settled schema; raises ArrowInvalid if one does not fit."""
        ...

    def ragged(self, records: Sequence[bytes]) -> dict[int, str]:
        """Records with another number of fields, as far as one pass finds them: position to the parser's message."""
        ...

    def split(self, data: bytes) -> list[tuple[int, int]]:
        """Start and end of each record in `data`, its line end excluded."""
        ...


@dataclass(frozen=True, slots=True)
class TextRecords:
    """The bytes that a batch was read from, cut into records only when somebody asks for one.

    Attributes:
        load: Gives the mini-batch's bytes, those that were parsed or, where they were not kept, what the file has now.
        text_format: What a record is, and in which encoding.
    """

    load: Callable[[], bytes]
    text_format: TextFormat

    def texts(self, positions: Sequence[int]) -> list[str | None]:
        """The records at `positions` without their line ends."""
        data = self.load()
        spans = self.text_format.split(data)
        codec = CODECS[self.text_format.encoding]
        # In a file that changed without being noticed there may be fewer of them.
        found = (data[slice(*spans[place])] if place < len(spans) else None for place in positions)
        return [None if record is None else decoded(record, codec) for record in found]


class TextReader:
    """Reads byte ranges of text files in one format.

    A compressed or UTF-16/32 file can only be read as a stream; it stays open, so that mini-batches asked for in
    order are decoded once.

    Args:
        text_format: How bytes become rows.
        base: What relative paths are relative to.
        matrices: Columns that the scorer wants side by side, where they can be had so.
    """

    def __init__(self, text_format: TextFormat, base: str, matrices: Sequence[Matrix] = ()) -> None:
        self._format = text_format
        self._base = Path(base)
        self._matrices = tuple(matrices)
        self._fields = FieldTable.of(text_format, self._matrices)
        self._stream: tuple[str, _native.TextStream] | None = None

    def __reduce__(self) -> tuple[type[TextReader], tuple[TextFormat, str, tuple[Matrix, ...]]]:
        return TextReader, (self._format, str(self._base), self._matrices)

    def read(self, minibatch: MiniBatch) -> TableBatch:
        """The mini-batch's rows; those that do not fit the settled types are failed items, not an error."""
        batch = self._straight(minibatch) or self._from_bytes(minibatch)
        batch = replace(batch, bytes_read=minibatch.length, first_row=minibatch.first_row)
        return with_path(minibatch, batch) if self._format.include_path else batch

    def _straight(self, minibatch: MiniBatch) -> TableBatch | None:
        """The rows of a file that is no stream, if all their fields are plain."""
        if self._fields is None or minibatch.affinity:
            return None
        path, offset, length = self._base / minibatch.source, minibatch.offset, minibatch.length
        try:
            table, tensors = self._fields.read_range(path, offset, length, minibatch.rows)
        except _native.Misfit:
            return None
        return self._of_fields(minibatch, table, tensors, partial(_native.read_range, path, offset, length))

    def _from_bytes(self, minibatch: MiniBatch) -> TableBatch:
        data = self._bytes(minibatch, minibatch.offset, minibatch.length)
        self._check_end(minibatch, data)
        if self._fields is not None and minibatch.affinity:
            try:
                table, tensors = self._fields.read(data, minibatch.rows)
            except _native.Misfit:
                pass
            else:
                return self._of_fields(minibatch, table, tensors, lambda: data)
        return replace(self._parsed(minibatch, data), records=TextRecords(lambda: data, self._format))

    def _of_fields(
        self, minibatch: MiniBatch, table: pa.Table, tensors: dict[str, np.ndarray], load: Callable[[], bytes]
    ) -> TableBatch:
        return TableBatch(
            table=table,
            ordinals=_ordinals(minibatch),
            records=TextRecords(load, self._format),
            tensors=tensors if self._matrices else None,
        )

    def _parsed(self, minibatch: MiniBatch, data: bytes) -> TableBatch:
        """The rows as the format's own parser reads them, without those that it refuses."""
        message = ""
        try:
            table = self._format.parse(data)
        except pa.ArrowInvalid as error:
            table, message = None, str(error)
        if table is not None and table.num_rows == minibatch.rows:
            batch = TableBatch(table=table, ordinals=_ordinals(minibatch))
        else:
            batch = self._salvaged(minibatch, data, message)
        return set_unfit_apart(minibatch, batch, self._format.schema)

    def _bytes(self, minibatch: MiniBatch, offset: int, length: int) -> bytes:
        path = self._base / minibatch.source
        if not minibatch.affinity:
            return _native.read_range(path, offset, length)
        if self._stream is None or self._stream[0] != minibatch.source or self._stream[1].position > offset:
            self._stream = (minibatch.source, _native.TextStream(path, encoding=self._format.encoding))
        try:
            return self._stream[1].read_range(offset, length)
        except Exception:
            self._stream = None  # where it stands after a failure is unknown: another try begins anew
            raise

    def _check_end(self, minibatch: MiniBatch, data: bytes) -> None:
        """Refuses a range that does not end as planned, with a line or the file: most changes before it show so."""
        end = minibatch.offset + minibatch.length
        if data.endswith(LINE_ENDS):
            return
        try:
            self._bytes(minibatch, end, 1)
        except RecordError:  # there is nothing more
            return
        raise RecordError(
            f"{minibatch.source}: no record ends at byte {end}, where one did in the plan; the file changed while it "
            "was scored"
        )

    def _salvaged(self, minibatch: MiniBatch, data: bytes, message: str) -> TableBatch:
        """What can be read of records of which the parser has said `message` when it was given all of them."""
        records = [data[start:end] for start, end in self._format.split(data)]
        if len(records) != minibatch.rows:
            raise RecordError(
                f"{minibatch.source}: {len(records)} records at byte {minibatch.offset} where the plan counted "
                f"{minibatch.rows}; the file changed while it was scored"
            )
        refused = self._format.ragged(records) if RAGGED in message else {}
        rest = [position for position in range(len(records)) if position not in refused]
        found = salvage([records[position] for position in rest], self._format.parse)
        empty = nullable(self._format.schema).empty_table()
        table = pa.concat_tables(found.tables) if found.tables else empty
        ordinals = _ordinals(minibatch)[np.asarray(rest, dtype=np.int64)[np.asarray(found.good, dtype=np.int64)]]
        refused |= {rest[place]: message for place, message in found.bad}
        bad = [(position, refused[position]) for position in sorted(refused)]
        bad = [(position, message) for position, message in bad if not self._format.drops(records[position])]
        failed = tuple(self._failed(minibatch, position, message) for position, message in bad)
        dropped = len(refused) - len(bad)
        return TableBatch(table=table, ordinals=ordinals, failed_items=failed, dropped=dropped)

    def _failed(self, minibatch: MiniBatch, position: int, message: str) -> FailedItem:
        match = MESSAGE.fullmatch(message)
        number, _, text = match.groups() if match else (None, None, message)
        if found := FIELDS.fullmatch(text):
            text = f"{counted(int(found[2]), 'field')} for {counted(int(found[1]), 'column')}{found[3]}"
        where = f"column {self._format.names[int(number)]!r}: " if number else ""
        fault = Fault("RecordError", f"{where}{text}".replace("\n", " "))
        return FailedItem(minibatch.source, minibatch.first_row + position, fault)


def _ordinals(minibatch: MiniBatch) -> np.ndarray:
    return np.arange(minibatch.first_row, minibatch.first_row + minibatch.rows, dtype=np.int64)
