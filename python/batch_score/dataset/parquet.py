"""Parquet: planned from the footers, cut down to row ranges inside a row group, read forward in a stream."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from batch_score.arrow import parquet as pq
from batch_score.column import EXACT, LARGEST_EXACT, ROUNDED, spelled
from batch_score.dataset.base import TableBatch
from batch_score.dataset.convertible import convertible
from batch_score.dataset.description import rows_at, shortened
from batch_score.dataset.fit import set_apart, set_unfit_apart, with_path
from batch_score.dataset.schema import check_declared, declared_field, narrowed, nullable
from batch_score.errors import InputError, RecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from batch_score.config import ReaderOptions
    from batch_score.minibatch import MiniBatch

# Rows that are decoded together, and their bytes; a mini-batch may be larger.
READ_ROWS = 1 << 16
READ_BYTES = 1 << 25
# A row group whose columns have more bytes than this, on the average, is not taken into memory before it is decoded.
LARGE_COLUMN = 1 << 24
BUFFER = 1 << 18
# What pyarrow raises for a file that is damaged or not the planned one; which of them depends on the bytes it meets.
UNREADABLE = (pa.ArrowException, OSError, ValueError, LookupError)


@dataclass(frozen=True)
class RowGroup:
    """What a footer says of a row group: its rows, its uncompressed bytes, where it starts in the file."""

    rows: int
    size: int
    offset: int


@dataclass(frozen=True)
class RowRange:
    """Consecutive rows of a file: the first one, how many, their bytes, and the row group of the first."""

    first_row: int
    rows: int
    size: int
    group: int


def row_ranges(groups: Sequence[RowGroup], max_bytes: int) -> Iterator[RowRange]:
    """Cuts a file into the fewest ranges of at most `max_bytes`; a larger single row stands alone.

    A row's size is its group's uncompressed size divided by the group's rows (the ParallelRunStep contract).
    """
    first = row = size = 0
    first_group = 0
    for number, group in enumerate(groups):
        left = group.rows
        while left:
            if row == first:
                first_group = number
            room = max_bytes - size
            # A single row may have gone beyond the bound: nothing joins it, not even rows of no size.
            fits = 0 if room < 0 else left if not group.size else min(left, room * group.rows // group.size)
            if fits == 0 and row == first:
                fits = 1
            row += fits
            left -= fits
            size += -(-fits * group.size // group.rows)
            if left:
                yield RowRange(first, row - first, size, first_group)
                first, size = row, 0
    if row > first:
        yield RowRange(first, row - first, size, first_group)


def range_size(groups: Sequence[RowGroup], first_row: int, rows: int) -> int:
    """The bytes of a range as `row_ranges` counts them."""
    size = start = 0
    for group in groups:
        inside = min(first_row + rows, start + group.rows) - max(first_row, start)
        size += -(-inside * group.size // group.rows) if inside > 0 else 0
        start += group.rows
    return size


@dataclass(frozen=True)
class ParquetFormat:
    """Parquet files with one schema.

    Attributes:
        schema: Name and type of the columns that are read, all of them or a part.
    """

    schema: pa.Schema
    include_path: bool

    @classmethod
    def detect(cls, paths: Sequence[str], options: ReaderOptions) -> Self:
        """Takes the schema of the first file, which all others must have too.

        Raises:
            InputError: A file is no Parquet file, or has other columns or types than the first, or a type that no
                script can be given, or there are no rows.
            ConfigError: `set_column_types` names an unknown column or type.
        """
        found = footer(paths[0])
        first = _schema(paths[0], found)
        nulls = _with_nulls(found, set(first.names))
        rounded = _with_large(found, nulls)
        rows = found.num_rows
        _refuse_repeated(paths[0], first.names)
        for path in paths[1:]:
            found = footer(path)
            schema = _schema(path, found)
            if schema != first:
                raise InputError(f"{path}: {_difference(first, schema)} as in {paths[0]}; score such files apart")
            nulls |= _with_nulls(found, set(first.names) - nulls)
            rounded |= _with_large(found, nulls - rounded)
            rows += found.num_rows
        if not rows:
            raise InputError(f"{paths[0]}: the input has no rows; nothing to score")
        floats = {name: ROUNDED if name in rounded else EXACT for name in nulls}
        settled = pa.schema([_settled(paths[0], column, floats) for column in first])
        declared = options.set_column_types or {}
        check_declared(declared, settled.names)
        fields = [
            declared_field(column.name, declared[column.name]) if column.name in declared else column
            for column in settled
        ]
        return cls(schema=pa.schema(fields), include_path=options.include_path)

    def select(self, columns: Sequence[str], types: dict[str, pa.DataType]) -> Self:
        """The same files, of which only `columns` are read, as `types` where given."""
        return replace(self, schema=narrowed(self.schema, columns, types))


def _settled(path: str, column: pa.Field[Any], nulls: Mapping[str, dict[bytes, bytes]]) -> pa.Field[Any]:
    """A column with one dtype in pandas whichever rows are read: no categories, integers without or with nulls.

    Args:
        path: Of the first file.
        column: As the file has it.
        nulls: Columns that hold nulls, with what is noted of them if they are integers.
    """
    try:
        kind = convertible(column.type)
    except TypeError as error:
        raise InputError(
            f"{path}: column {column.name!r} is {column.type}, which cannot be handed to run(): write it as a "
            "plain list, or leave it out"
        ) from error
    if pa.types.is_integer(kind) and column.name in nulls:
        return pa.field(column.name, pa.float64(), metadata=nulls[column.name])
    fixed = pa.types.is_integer(kind) or (pa.types.is_boolean(kind) and column.name not in nulls)
    return pa.field(column.name, kind, nullable=not fixed)


def _with_nulls(found: pq.FileMetaData, names: set[str]) -> set[str]:
    """Those of the integer and boolean columns `names` that the statistics of a footer show to hold nulls."""
    return _where(found, names, ("BOOLEAN", "INT32", "INT64"), lambda known: bool(known.null_count))


def _with_large(found: pq.FileMetaData, names: set[str]) -> set[str]:
    """Those of `names` that the statistics of a footer show to hold integers that no float holds."""
    return _where(found, names, ("INT64",), _is_large)


def _is_large(known: pq.Statistics) -> bool:
    ends = (known.min, known.max) if known.has_min_max else ()
    return any(isinstance(one, int) and abs(one) > LARGEST_EXACT for one in ends)


def _where(
    found: pq.FileMetaData, names: set[str], types: Collection[str], holds: Callable[[pq.Statistics], bool]
) -> set[str]:
    """Those of the columns `names`, of some physical types, of which `holds` is true for the statistics of a group."""
    if not names:
        return set()
    places = {found.schema.column(place).path: place for place in range(len(found.schema))}
    wanted = [name for name in names if name in places and found.schema.column(places[name]).physical_type in types]
    groups = _groups(found)

    def any_group(place: int) -> bool:
        known = (group.column(place).statistics for group in groups)
        return any(one is not None and holds(one) for one in known)

    return {name for name in wanted if any_group(places[name])}


def footer(path: str) -> pq.FileMetaData:
    """The footer of a Parquet file; InputError when it has none, or is no regular file."""
    try:
        if not S_ISREG(Path(path).stat().st_mode):  # opening a named pipe might wait for ever
            raise InputError(f"{path}: not a regular file; write its content into one")
        return pq.read_metadata(path)
    except (FileNotFoundError, PermissionError):
        raise
    except UNREADABLE as error:
        raise InputError(f"{path}: not a Parquet file: {error}") from error


def _schema(path: str, found: pq.FileMetaData) -> pa.Schema:
    """What all files must have alike: names and types of values, be they kept as categories or declared not null."""
    try:
        schema = found.schema.to_arrow_schema()
    except UNREADABLE as error:
        raise InputError(f"{path}: the schema of the Parquet file cannot be read: {error}") from error
    plain = [column.type.value_type if pa.types.is_dictionary(column.type) else column.type for column in schema]
    return pa.schema(list(zip(schema.names, plain, strict=True)))


def row_groups(path: str) -> list[RowGroup]:
    """The row groups of a file, in order."""
    return [RowGroup(group.num_rows, group.total_byte_size, _start(group)) for group in _groups(footer(path))]


def _groups(found: pq.FileMetaData) -> list[pq.RowGroupMetaData]:
    return [found.row_group(number) for number in range(found.num_row_groups)]


def _start(group: pq.RowGroupMetaData) -> int:
    if not group.num_columns:
        return 0
    column = group.column(0)
    return int(column.dictionary_page_offset or column.data_page_offset)


def fitted(table: pa.Table, schema: pa.Schema) -> tuple[pa.Table, dict[int, str]]:
    """The table in the types of `schema`, null where a value does not fit, and the messages of those rows."""
    columns: list[Any] = []
    bad: dict[int, str] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        cast, unfit = _cast(column, schema.field(name).type)
        columns.append(cast)
        for row, message in unfit.items():
            bad.setdefault(row, f"column {name!r}: {message}")
    return pa.Table.from_arrays(columns, schema=schema), bad


def _cast(column: pa.ChunkedArray[Any], kind: Any) -> tuple[Any, dict[int, str]]:
    """The column as `kind`. What the cast refuses is found by halving, as for the records of text."""
    if column.type == kind:  # also because Arrow's casts, even of a type to itself, damage lists of nulls
        return column, {}
    column = spelled(column, kind)
    # A large integer becomes the nearest float, as it does when it is read from text.
    safe = not (pa.types.is_integer(column.type) and pa.types.is_floating(kind))
    chunks: list[Any] = []
    bad: dict[int, str] = {}
    pending = [(0, len(column))]
    while pending:
        start, end = pending.pop()
        try:
            cast: Any = column.slice(start, end - start).cast(kind, safe=safe)
            cast.validate()
            chunks += cast.chunks
        except pa.ArrowInvalid as error:
            if end - start == 1:
                bad[start] = str(error)
                chunks.append(pa.nulls(1, kind))
            else:
                middle = (start + end) // 2
                pending += [(middle, end), (start, middle)]
    return pa.chunked_array(chunks, kind), bad


@dataclass(frozen=True, slots=True)
class ParquetRecords:
    """Rows as the file has them, before anything was made to fit.

    Attributes:
        table: All rows of the mini-batch, and of its columns those that are read.
    """

    table: pa.Table

    def texts(self, positions: Sequence[int]) -> list[str | None]:
        """The rows at `positions`, each as one JSON object."""
        places = sorted(set(positions))
        rows = rows_at(self.table, places)
        found = {place: shortened(json.dumps(row, ensure_ascii=False)) for place, row in zip(places, rows, strict=True)}
        return [found[place] for place in positions]


class ParquetReader:
    """Reads row ranges. A file stays open, so that ranges asked for in order are decoded once.

    Args:
        parquet_format: Which columns, as which types.
        base: What relative paths are relative to.
    """

    def __init__(self, parquet_format: ParquetFormat, base: str) -> None:
        self._format = parquet_format
        self._base = Path(base)
        self._cursor: _Cursor | None = None

    def __reduce__(self) -> tuple[type[ParquetReader], tuple[ParquetFormat, str]]:
        return ParquetReader, (self._format, str(self._base))

    def read(self, minibatch: MiniBatch) -> TableBatch:
        """The mini-batch's rows.

        Raises:
            RecordError: The file is damaged or not the planned one any more.
            OSError: The file is gone or may not be read.
        """
        try:
            found = self._rows(minibatch)
            table, bad = fitted(found, nullable(self._format.schema))
        except (FileNotFoundError, PermissionError):
            raise
        except UNREADABLE as error:
            raise RecordError(
                f"{minibatch.source}: the rows from row {minibatch.first_row} cannot be read as planned: {error}; "
                "check the file and set_column_types"
            ) from error
        batch = TableBatch(
            table=table,
            ordinals=np.arange(minibatch.first_row, minibatch.first_row + minibatch.rows, dtype=np.int64),
            bytes_read=minibatch.length,
            first_row=minibatch.first_row,
            records=ParquetRecords(found),
        )
        batch = set_unfit_apart(minibatch, set_apart(minibatch, batch, bad), self._format.schema)
        return with_path(minibatch, batch) if self._format.include_path else batch

    def _rows(self, minibatch: MiniBatch) -> pa.Table:
        """The rows as they stand in the file."""
        # Kept only if all goes well: where it stands after a failure is unknown, and another try begins anew.
        cursor, self._cursor = self._cursor, None
        # A gap would be decoded row by row; a new cursor starts at the row group it needs.
        if cursor is None or cursor.source != minibatch.source or cursor.row != minibatch.first_row:
            cursor = _Cursor(minibatch, self._base, self._format.schema.names)
        table = cursor.take(minibatch.first_row, minibatch.rows)
        _check_rows(minibatch, table.num_rows)
        self._cursor = cursor
        return table


class _Cursor:
    """A forward position in one file; starts at the row group that holds the first row asked for."""

    def __init__(self, minibatch: MiniBatch, base: Path, columns: Sequence[str]) -> None:
        file = _opened(base / minibatch.source)
        # Not their columns: for some damaged footers, pyarrow ends the process when it is asked for one.
        groups = [RowGroup(group.num_rows, group.total_byte_size, 0) for group in _groups(file.metadata)]
        _check_rows(minibatch, sum(group.rows for group in groups) - minibatch.first_row)
        group, self.row = 0, 0
        while self.row + groups[group].rows <= minibatch.first_row:
            self.row += groups[group].rows
            group += 1
        size = range_size(groups, minibatch.first_row, minibatch.rows)
        if size != minibatch.length:
            raise RecordError(
                f"{minibatch.source}: {size} bytes of rows from row {minibatch.first_row} where the footer counted "
                f"{minibatch.length}; the file changed while it was scored"
            )
        self.source = minibatch.source
        schema = file.schema_arrow  # made anew each time that it is asked for
        self._schema = pa.schema([schema.field(name) for name in columns])
        # One group after the other: a batch over several would decode groups that other workers read.
        self._batches = (
            batch
            for number in range(group, file.num_row_groups)
            for batch in file.iter_batches(
                batch_size=_rows_at_once(minibatch), row_groups=[number], columns=list(columns), use_threads=False
            )
        )
        self._rest = pa.Table.from_batches([], self._schema)  # unlike `empty_table`, it knows every type

    def take(self, first_row: int, rows: int) -> pa.Table:
        """`rows` rows from `first_row`, fewer at the file's end; rows before it are passed over."""
        wanted = first_row - self.row + rows
        parts, have = [self._rest], self._rest.num_rows
        while have < wanted and (batch := next(self._batches, None)) is not None:
            parts.append(pa.Table.from_batches([batch]).select(self._schema.names))
            have += batch.num_rows
        table = pa.concat_tables(parts)
        self._rest = table.slice(wanted)
        taken = table.slice(first_row - self.row, rows)
        self.row = first_row + rows
        return taken


def _opened(path: Path) -> pq.ParquetFile:
    """A file of which no more than a piece is in memory if a column of a row group is large."""
    file = pq.ParquetFile(path)
    if max((group.total_byte_size for group in _groups(file.metadata)), default=0) <= LARGE_COLUMN * len(file.schema):
        return file
    return pq.ParquetFile(path, metadata=file.metadata, buffer_size=BUFFER, pre_buffer=False)


def _rows_at_once(minibatch: MiniBatch) -> int:
    """How many rows are decoded together: those of the mini-batch, and more as long as they are small."""
    return max(minibatch.rows, min(READ_ROWS, READ_BYTES * minibatch.rows // max(1, minibatch.length)))


def _check_rows(minibatch: MiniBatch, found: int) -> None:
    """Refuses a file that has only `found` of the planned rows."""
    if found < minibatch.rows:
        raise RecordError(
            f"{minibatch.source}: {max(0, found)} rows from row {minibatch.first_row} where the footer counted "
            f"{minibatch.rows}; the file changed while it was scored"
        )


def _refuse_repeated(path: str, names: Sequence[str]) -> None:
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{path}: more than one column is called {twice[0]!r}; rename one of them")


def _difference(first: pa.Schema, other: pa.Schema) -> str:
    known, names = set(first.names), set(other.names)
    for column in first:
        if column.name not in names:
            return f"the schema does not have the column {column.name!r}"
        if other.field(column.name).type != column.type:
            return f"column {column.name!r} is {other.field(column.name).type}, not {column.type}"
    extra = [name for name in other.names if name not in known]
    return f"the schema has the column {extra[0]!r}, which is not the same" if extra else "the columns are not in order"
