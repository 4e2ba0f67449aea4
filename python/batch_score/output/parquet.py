"""The form `.parquet`: mini-batches are spooled as Arrow streams, and become one Parquet file at the end.

A Parquet file cannot be appended to, so the append writer appends each mini-batch to a spool as one complete Arrow
IPC stream, and `finish_parquet()` turns the spool into the output file when the job is over.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from batch_score.errors import OutputError
from batch_score.output.encoder import Encoded
from batch_score.output.keys import attach
from batch_score.output.tabulate import tabulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned

# A row group is written when it has one of these; larger ones cost memory, smaller ones cost readers time.
ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 << 20


class ParquetEncoder:
    """Writes the segments of the spool. A segment has its own schema, so mini-batches may differ in their columns."""

    suffix = ".parquet"
    separator = None
    keyed = True
    spooled = True

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:
        """Encodes the elements as one Arrow IPC stream; see `Encoder.encode`."""
        if returned.length == 0:
            return Encoded(b"", ())
        table = attach(tabulate(returned), keys, positions, returned.length)
        return Encoded(_segment(table), ())

    def preamble(self, columns: tuple[str, ...]) -> bytes:  # noqa: ARG002 - this form has no header
        """Writes nothing; see `Encoder.preamble`."""
        return b""


def finish_parquet(spool: Path, ends: Iterable[int], target: Path) -> int:
    """Makes the Parquet file out of the spool.

    Reads the spool twice, first the schemas, then the rows; memory is bounded by a row group and the largest
    segment. The columns are those of all segments: one that a segment lacks is null there, and of two types the
    one that holds both is taken (integer and float make float, null and anything make that). The spool stays.

    Args:
        spool: File of segments, one after the other, each one Arrow IPC stream.
        ends: Where each segment ends in the spool, in bytes, ascending; an empty segment is skipped.
        target: The Parquet file, replaced in one step once it is complete and on disk.

    Returns:
        Number of rows.

    Raises:
        OutputError: If the spool is shorter than `ends` say or damaged, if no type holds all values of a column,
            or if the file cannot be written.
    """
    bounds = _bounds(ends)
    partial = target.with_name(f".{target.name}.partial")
    try:
        with pa.OSFile(str(spool), "rb") as file:
            schema = _united(spool, file, bounds).schema
            rows = _write(_segments(spool, file, bounds), schema, partial)
        partial.replace(target)
        _sync_folder(target.parent)
    except OSError as error:
        raise OutputError(
            f"{target} could not be made from {spool} ({error}): remove the cause and run the job again"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return rows


def join_segments(segments: Sequence[bytes]) -> bytes:
    """Several segments as one, with the columns of all of them.

    Raises:
        OutputError: No type holds all values of a column.
    """
    united = UnitedSchema()
    for segment in segments:
        united.admit(segment)
    tables = [_conformed(pa.ipc.open_stream(segment).read_all(), united.schema) for segment in segments]
    return _segment(pa.concat_tables(tables)) if tables else b""


def spool_schema(spool: Path, ends: Iterable[int]) -> UnitedSchema:
    """The columns of the segments of a spool, arguments and errors as for `finish_parquet`."""
    with pa.OSFile(str(spool), "rb") as file:
        return _united(spool, file, _bounds(ends))


def _bounds(ends: Iterable[int]) -> list[tuple[int, int]]:
    return [(start, end) for start, end in pairwise((0, *ends)) if end > start]


def _segment(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.unify_dictionaries().combine_chunks())
    return sink.getvalue().to_pybytes()


def _damaged(spool: Path, start: int, end: int, cause: object) -> OutputError:
    return OutputError(f"the spool {spool} is damaged in bytes {start} to {end} ({cause}): run the job again")


class UnitedSchema:
    """The columns of all segments so far, each with a type that holds what the segments have in it."""

    def __init__(self) -> None:
        self._fields: dict[str, pa.DataType] = {}
        self._last: pa.Schema | None = None

    def admit(self, segment: Any) -> None:
        """Takes in the columns of a segment, of which no more than the schema is read.

        Args:
            segment: The segment's bytes, or a file that stands at its beginning.

        Raises:
            pa.ArrowInvalid: The segment has no schema.
            OutputError: No type holds the values of one of its columns and those of earlier segments; nothing is
                taken in.
        """
        schema = pa.ipc.open_stream(segment).schema
        if schema == self._last:
            return
        kinds = {field.name: _decoded(field.type) for field in schema}
        wider = {name: _wider(name, self._fields.get(name, kind), kind) for name, kind in kinds.items()}
        self._fields |= wider
        self._last = schema

    @property
    def schema(self) -> pa.Schema:
        """All columns, in the order in which they first came."""
        return pa.schema(list(self._fields.items()))


def _united(spool: Path, file: pa.NativeFile, bounds: list[tuple[int, int]]) -> UnitedSchema:
    united = UnitedSchema()
    for start, end in bounds:
        file.seek(start)
        try:
            united.admit(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(spool, start, end, error) from error
    return united


def _decoded(kind: pa.DataType) -> pa.DataType:
    return _decoded(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _wider(name: str, left: pa.DataType, right: pa.DataType) -> pa.DataType:
    if left == right:
        return left
    pair = [pa.schema([(name, left)]), pa.schema([(name, right)])]
    try:
        united: pa.DataType = pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise OutputError(
            f"column {name!r} is {left} in some mini-batches and {right} in others, which one Parquet column cannot "
            "hold: return one type for it, or write .jsonl"
        ) from error
    return united


def _segments(spool: Path, file: pa.NativeFile, bounds: list[tuple[int, int]]) -> Iterator[pa.Table]:
    for start, end in bounds:
        file.seek(start)
        content = file.read_buffer(end - start)
        if content.size < end - start:
            raise _damaged(spool, start, end, f"only {content.size} of {end - start} bytes are there")
        try:
            yield pa.ipc.open_stream(content).read_all()
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(spool, start, end, error) from error


def _write(segments: Iterable[pa.Table], schema: pa.Schema, path: Path) -> int:
    rows = 0
    with path.open("wb") as sink:
        try:
            # The stubs of pyarrow know only the boolean form of `use_dictionary`.
            with parquet.ParquetWriter(sink, schema, use_dictionary=_repetitive(schema)) as writer:  # type: ignore[arg-type]
                for group in _row_groups(_conformed(segment, schema) for segment in segments):
                    writer.write_table(group, row_group_size=group.num_rows)
                    rows += group.num_rows
        except pa.ArrowNotImplementedError as error:
            raise OutputError(f"Parquet has no type for a column of the results ({error}): write .jsonl") from error
        sink.flush()
        os.fsync(sink.fileno())
    return rows


def _repetitive(schema: pa.Schema) -> list[str]:
    # Scores and ordinals hardly repeat: trying a dictionary on them is five times slower, and larger.
    numeric = (pa.types.is_integer, pa.types.is_floating)
    return [field.name for field in schema if not any(is_kind(field.type) for is_kind in numeric)]


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = size = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        size += table.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield pa.concat_tables(waiting)
            waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.concat_tables(waiting)


def _conformed(segment: pa.Table, schema: pa.Schema) -> pa.Table:
    columns: list[Any] = []
    for field in schema:
        at = segment.schema.get_field_index(field.name)
        if at < 0:
            columns.append(pa.nulls(segment.num_rows, field.type))
            continue
        column = segment.column(at)
        try:
            columns.append(column.cast(_decoded(column.type)).cast(field.type))
        except pa.ArrowInvalid as error:
            raise OutputError(
                f"column {field.name!r} has values that become {field.type} in other mini-batches and do not fit "
                f"there ({error}): return one type for it, or write .jsonl"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
