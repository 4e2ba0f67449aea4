"""Delimited text straight into arrays: the way of mini-batches in which every field is plain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from batch_score import _native
from batch_score.column import as_column, text_column
from batch_score.dataset.delimited import MISSING_NUMBERS, QUOTE, DelimitedFormat
from batch_score.dataset.source import CODECS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# What the native reader makes of text; columns of other types go through Arrow.
NUMBERS: dict[pa.DataType, str] = {pa.float32(): "float32", pa.float64(): "float64", pa.int64(): "int64"}


@dataclass(frozen=True, slots=True)
class Matrix:
    """Columns that a scorer takes side by side, `[rows, columns]`, each row in one piece.

    Attributes:
        name: What the scorer calls it.
        dtype: A numpy word.
        columns: Names of the columns, in order.
    """

    name: str
    dtype: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Columns of one type that become columns of a table; they share a piece of memory, one after the other."""

    dtype: str
    columns: tuple[str, ...]


class FieldTable:
    """Reads the records of a mini-batch into matrices, and the columns that are in none into a table.

    Args:
        text_format: The format, of which every column that is read is a number or text.
        matrices: Columns that are wanted side by side.
    """

    def __init__(self, text_format: DelimitedFormat, matrices: Sequence[Matrix]) -> None:
        self._format = text_format
        self._matrices = tuple(matrices)
        apart = {name for matrix in matrices for name in matrix.columns}
        self._schema = pa.schema([column for column in text_format.schema if column.name not in apart])
        self._groups = _groups(self._schema)
        texts = {column.name for column in self._schema if column.type == pa.string()}
        self._texts = [name for name in text_format.names if name in texts]
        self._reader = _native.FieldReader(
            self._fields(), delimiter=text_format.separator, quote=QUOTE, missing=MISSING_NUMBERS
        )

    @classmethod
    def of(cls, text_format: object, matrices: Sequence[Matrix]) -> Self | None:
        """The reader of a format, None when it has something that only Arrow reads."""
        if not isinstance(text_format, DelimitedFormat) or CODECS[text_format.encoding] != "utf8":
            return None
        wanted = [name for matrix in matrices for name in matrix.columns]
        schema = text_format.schema
        served = all(
            NUMBERS.get(schema.field(name).type) == matrix.dtype for matrix in matrices for name in matrix.columns
        )
        known = all(column.type in NUMBERS or column.type == pa.string() for column in schema)
        return cls(text_format, matrices) if served and known and len(set(wanted)) == len(wanted) else None

    def read(self, data: bytes, rows: int) -> tuple[pa.Table, dict[str, np.ndarray]]:
        """Reads the records of a mini-batch.

        Args:
            data: Its bytes.
            rows: How many records they are.

        Returns:
            A table of the columns that are in no matrix, in the settled types and without rows if there are none;
            and the matrices by name.

        Raises:
            Misfit: A record is not plain: another number of fields, a number that is none, a missing value where
                there must be one, text that is not UTF-8, quotes inside of a field. Arrow may still read it.
        """
        return self._filled(rows, partial(self._reader.read, data))

    def read_range(self, path: Path, offset: int, length: int, rows: int) -> tuple[pa.Table, dict[str, np.ndarray]]:
        """Reads the records in a range of a file, of which never more than a piece is in memory.

        Raises:
            Misfit: As `read`; or the range ends neither with a line nor with the file.
            RecordError: The file is shorter.
            OSError: It cannot be read.
        """
        return self._filled(rows, partial(self._reader.read_range, path, offset, length))

    def _filled(self, rows: int, read: Callable[..., Any]) -> tuple[pa.Table, dict[str, np.ndarray]]:
        """Makes the memory, lets it be filled, and names what is in it."""
        matrices = {one.name: np.empty((rows, len(one.columns)), one.dtype) for one in self._matrices}
        columns = [np.empty((len(group.columns), rows), group.dtype) for group in self._groups]
        texts, missing = read(rows, [*matrices.values(), *(group.T for group in columns)])
        empty = {name for name, one in zip(self._format.names, missing, strict=True) if one}
        arrays = {name: self._text(*text) for name, text in zip(self._texts, texts, strict=True)}
        for group, values in zip(self._groups, columns, strict=True):
            for name, column in zip(group.columns, values, strict=True):
                arrays[name] = as_column(column, np.isnan(column) if name in empty else None)
        return pa.Table.from_arrays([arrays[name] for name in self._schema.names], schema=self._schema), matrices

    def _text(self, offsets: bytes, characters: bytes) -> pa.Array[Any]:
        ends = np.frombuffer(offsets, np.int32)
        return text_column(ends, characters, ends[1:] == ends[:-1] if self._format.empty_is_null else None)

    def _fields(self) -> list[tuple[int, int, bool] | str | None]:
        """For each column of the file what becomes of it: matrices come first, then the groups."""
        nullable = {column.name: column.nullable for column in self._format.schema}
        places: dict[str, tuple[int, int, bool] | str] = dict.fromkeys(self._texts, "text")
        blocks = [*(one.columns for one in self._matrices), *(one.columns for one in self._groups)]
        for block, columns in enumerate(blocks):
            places |= {name: (block, column, nullable[name]) for column, name in enumerate(columns)}
        return [places.get(name) for name in self._format.names]


def _groups(schema: pa.Schema) -> list[Group]:
    found: dict[str, list[str]] = {}
    for column in schema:
        if column.type in NUMBERS:
            found.setdefault(NUMBERS[column.type], []).append(column.name)
    return [Group(dtype, tuple(columns)) for dtype, columns in found.items()]
