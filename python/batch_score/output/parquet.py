"""The form `.parquet`: mini-batches are spooled as Arrow streams, and become one Parquet file at the end.

A Parquet file cannot be appended to, so the append writer appends each mini-batch to a spool as one complete Arrow
IPC stream, and `finish_parquet()` turns the spool into the output file when the job is over.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch_score.arrow import parquet
from batch_score.errors import OutputError, ReturnTypeError
from batch_score.output.encoder import Encoded
from batch_score.output.keys import attach
from batch_score.output.nested import recast
from batch_score.output.publish import draft_of, is_published, publish, refuse_taken
from batch_score.output.storable import filled, storable, stored
from batch_score.output.tabulate import tabulate
from batch_score.output.widening import NoTypeError, marked, wider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned

# A row group is written when it has one of these; larger ones cost memory, smaller ones cost readers time.
ROW_GROUP_ROWS = 131_072
ROW_GROUP_BYTES = 64 << 20
# Bounds the text of a dictionary that is decoded at a time, which Arrow holds in pieces of at most 2 GiB.
ROWS_DECODED = 16_384


class ParquetEncoder:
    """Writes the segments of the spool. A segment has its own schema, so mini-batches may differ in their columns."""

    suffix = ".parquet"
    separator = None
    keyed = True
    spooled = True

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:
        """Encodes the elements as one Arrow IPC stream; see `Encoder.encode`.

        Its columns have types that Parquet has, and are marked with what their values do not fit.
        """
        if returned.length == 0:
            return Encoded(b"", ())
        table = attach(tabulate(returned), keys, positions, returned.length)
        columns = [_stored(name, column) for name, column in zip(table.column_names, table.columns, strict=True)]
        return Encoded(_segment(pa.table(columns, names=table.column_names)), ())

    def preamble(self, columns: tuple[str, ...]) -> bytes:  # noqa: ARG002 - this form has no header
        """Writes nothing; see `Encoder.preamble`."""
        return b""


def finish_parquet(spool: Path, ends: Iterable[int], target: Path, run_id: bytes) -> int:
    """Makes the Parquet file out of the spool.

    Reads the spool twice, first the schemas, then the rows; memory is bounded by a row group and the largest
    segment. The columns are those of all segments: one that a segment lacks is null there, and of two types the
    one that holds both is taken (see `wider`). Segments that one `UnitedSchema` admitted, all of them, fit. The
    spool stays.

    Args:
        spool: File of segments, one after the other, each one Arrow IPC stream.
        ends: Where each segment ends in the spool, in bytes, ascending; an empty segment is skipped.
        target: The Parquet file, which is there in one step once it is complete and on disk. If it is there from an
            earlier call for the same run, it stays as it is.
        run_id: Of the run; the draft of the file (see `draft_of`) stays, for whoever calls to remove.

    Returns:
        Number of rows.

    Raises:
        OutputError: If the spool is shorter than `ends` say or damaged, if it has segments that would not have been
            admitted, if the file cannot be written, or if another file has its name. There is no draft then.
    """
    draft = draft_of(target, run_id)
    try:
        if is_published(draft, target):
            return int(parquet.read_metadata(target).num_rows)
        refuse_taken(draft, target)
        return _made(spool, _bounds(ends), target, draft)
    except OSError as error:
        raise OutputError(
            f"{target} could not be made from {spool} ({error}): remove the cause and run the job again"
        ) from error


def _made(spool: Path, bounds: list[tuple[int, int]], target: Path, draft: Path) -> int:
    """Makes the file and publishes it; gives the number of its rows."""
    draft.unlink(missing_ok=True)  # not written over: a file that was published and moved away may be the same
    try:
        with pa.OSFile(str(spool), "rb") as file:
            united = _united(spool, file, bounds).schema
            schema = pa.schema([column.with_type(filled(column.type)) for column in united])
            rows = _write(_segments(spool, file, bounds), schema, draft)
        publish(draft, target)
    except BaseException:
        if not is_published(draft, target):
            draft.unlink(missing_ok=True)
        raise
    return rows


def join_segments(segments: Sequence[bytes]) -> bytes:
    """Several segments as one, with the columns of all of them; they fit if one `UnitedSchema` admitted them all.

    Raises:
        OutputError: They would not have been admitted.
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


def _stored(name: str, column: Any) -> Any:
    try:
        return stored(column)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise ReturnTypeError(
            f"column {name!r} that run() returned is {column.type}, which cannot be written as Parquet ({error}): "
            "return another type for it, or write .jsonl"
        ) from error


def _segment(table: pa.Table) -> bytes:
    """A table with the types that `stored` gives as one stream; the schema has the marks of its columns."""
    table = table.combine_chunks()
    pairs = zip(table.column_names, table.columns, strict=True)
    schema = pa.schema([_marked(name, column) for name, column in pairs])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_table(pa.Table.from_arrays(table.columns, schema=schema))
    return sink.getvalue().to_pybytes()


def _marked(name: str, column: Any) -> pa.Field[Any]:
    if pa.types.is_dictionary(column.type):
        return pa.field(name, column.type)
    return marked(pa.field(name, storable(column.type)), column.chunks)


def _damaged(spool: Path, start: int, end: int, cause: object) -> OutputError:
    return OutputError(f"the spool {spool} is damaged in bytes {start} to {end} ({cause}): run the job again")


class UnitedSchema:
    """The columns of all segments so far, each with a type that holds what the segments have in it."""

    def __init__(self) -> None:
        self._fields: dict[str, pa.Field[Any]] = {}
        self._last: pa.Schema | None = None

    def admit(self, segment: Any) -> None:
        """Takes in the columns of a segment, of which no more than the schema is read.

        Args:
            segment: The segment's bytes, or a file that stands at its beginning.

        Raises:
            pa.ArrowInvalid: The segment has no schema.
            OutputError: No type holds the values of one of its columns and those of earlier segments, each of them
                exactly; nothing is taken in.
        """
        schema = pa.ipc.open_stream(segment).schema
        if self._last is not None and schema.equals(self._last, check_metadata=True):
            return
        self._fields |= {column.name: self._wider(_decoded(column)) for column in schema}
        self._last = schema

    def _wider(self, column: pa.Field[Any]) -> pa.Field[Any]:
        known = self._fields.get(column.name, column)
        try:
            return wider(known, column)
        except NoTypeError as error:
            reason = f" ({error})" if str(error) else ""
            raise OutputError(
                f"column {column.name!r} is {known.type} in some mini-batches and {column.type} in others, which one "
                f"Parquet column cannot hold{reason}: return one type for it, or write .jsonl"
            ) from error

    @property
    def schema(self) -> pa.Schema:
        """All columns, in the order in which they first came, without marks."""
        return pa.schema([(name, storable(column.type)) for name, column in self._fields.items()])


def _united(spool: Path, file: pa.NativeFile, bounds: list[tuple[int, int]]) -> UnitedSchema:
    united = UnitedSchema()
    for start, end in bounds:
        file.seek(start)
        try:
            united.admit(file)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(spool, start, end, error) from error
    return united


def _decoded(column: pa.Field[Any]) -> pa.Field[Any]:
    return pa.field(column.name, storable(column.type)) if pa.types.is_dictionary(column.type) else column


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
        except pa.ArrowException as error:
            raise OutputError(f"the results cannot be written as Parquet ({error}): write .jsonl") from error
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
        try:
            chunks = [recast(piece, field.type) for chunk in segment.column(at).chunks for piece in _pieces(chunk)]
            columns.append(pa.chunked_array(chunks, field.type))
        except pa.ArrowException as error:
            raise OutputError(
                f"column {field.name!r} has values that become {field.type} in other mini-batches and do not fit "
                f"there ({error}): return one type for it, or write .jsonl"
            ) from error
    return pa.Table.from_arrays(columns, schema=schema)


def _pieces(chunk: Any) -> list[Any]:
    """A dictionary in pieces, anything else as it is."""
    if not pa.types.is_dictionary(chunk.type):
        return [chunk]
    return [chunk.slice(start, ROWS_DECODED) for start in range(0, len(chunk), ROWS_DECODED)]
