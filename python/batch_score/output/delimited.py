"""The forms `.csv` and `.tsv`: RFC 4180 with LF line ends, quotes only where needed, UTF-8, one header line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score import _native
from batch_score.output import cells
from batch_score.output.encoder import Encoded
from batch_score.output.keys import attach
from batch_score.output.tabulate import Column, tabulate

if TYPE_CHECKING:
    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned

# Of each type of numbers that of numpy: some versions of Arrow import pandas to tell.
NUMBERS = {pa.int64(): np.int64, pa.float32(): np.float32, pa.float64(): np.float64}
AS_IT_IS = (*NUMBERS, pa.string(), pa.large_string())


class DelimitedEncoder:
    """Writes delimited text.

    Args:
        suffix: `.csv` or `.tsv`.
        delimiter: The character between two fields.
    """

    keyed = True
    spooled = False

    def __init__(self, suffix: str, delimiter: str) -> None:
        self.suffix = suffix
        self.separator: str | None = delimiter
        self._delimiter = delimiter
        self._special = f'[{delimiter}"\r\n]'

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:
        """Encodes the elements; see `Encoder.encode`."""
        if returned.length == 0:
            return Encoded(b"", ())
        table = attach(tabulate(returned), keys, positions, returned.length)
        return Encoded(self.records(table), tuple(table.column_names))

    def preamble(self, columns: tuple[str, ...]) -> bytes:
        """Writes the header line; see `Encoder.preamble`."""
        if not columns:
            return b""
        if columns == ("",):
            return b'""\n'  # an empty line would be no record
        return (self._delimiter.join(self._quoted(name) for name in columns) + "\n").encode()

    def _quoted(self, name: str) -> str:
        # Not the csv module: before Python 3.13 it leaves a carriage return without quotes.
        return '"' + name.replace('"', '""') + '"' if re.search(self._special, name) else name

    def records(self, table: pa.Table) -> bytes:
        """Writes the rows of a table.

        Args:
            table: At least one column.

        Returns:
            One line per row.
        """
        columns = [_given(column, name) for name, column in zip(table.column_names, table.columns, strict=True)]
        return _native.delimited_rows(columns, table.num_rows, delimiter=self._delimiter)


def _given(column: Column, name: str) -> tuple[Any, Any]:
    """A column as the native writer takes it: numbers as they are, everything else as text."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.DictionaryArray) and len(array.dictionary) == 1 and not array.null_count:
        return _text(array.dictionary, name).encode(), None  # the one value of all rows
    plain = _plain(array, name)
    valid = plain.is_valid().to_numpy(zero_copy_only=False).view(np.uint8) if plain.null_count else None
    return _values(plain), valid


def _text(array: Column, name: str) -> str:
    """The text of an array's only value."""
    readable = cells.readable(array, name)
    texts = readable if pa.types.is_string(readable.type) else readable.cast(cells.TEXT)
    return texts[0].as_py() or ""


def _plain(array: Column, name: str) -> Column:
    """Whole numbers of 64 bits, floats or text; what is that already is not cast, which would import much of Arrow."""
    if array.type in AS_IT_IS:
        return array
    plain = cells.readable(array, name)
    if cells.is_nested(plain.type):
        plain = cells.json_texts(plain, name)
    if pa.types.is_integer(plain.type) and plain.type != pa.uint64():
        return plain.cast(pa.int64())
    return plain if plain.type in AS_IT_IS else plain.cast(cells.TEXT)


def _values(array: Column) -> Any:
    """The memory of an array of numbers, or of texts."""
    buffers = array.buffers()
    if array.type in (pa.string(), cells.TEXT):
        ends = np.frombuffer(buffers[1], np.int64 if array.type == cells.TEXT else np.int32)
        ends = ends[array.offset : array.offset + len(array) + 1].astype(np.int64)
        return ends, np.frombuffer(buffers[2] or b"", np.uint8)
    return np.frombuffer(buffers[1], NUMBERS[array.type])[array.offset : array.offset + len(array)]
