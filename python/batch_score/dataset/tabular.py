"""TabularDataset: rows of delimited text, JSON Lines or Parquet files as items."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from batch_score import _native
from batch_score.config import ReaderOptions, mini_batch_bytes
from batch_score.dataset.base import PLAN_CHUNK
from batch_score.dataset.delimited import DelimitedFormat
from batch_score.dataset.files import as_inputs
from batch_score.dataset.jsonl import JsonLinesFormat
from batch_score.dataset.keyed import KeyedReader, key_fields
from batch_score.dataset.origin import Origin
from batch_score.dataset.parquet import ParquetFormat, ParquetReader, row_groups, row_ranges
from batch_score.dataset.partition import PartitionFormat, combinations, in_lists, no_keys
from batch_score.dataset.schema import PATH_COLUMN
from batch_score.dataset.text import TextReader
from batch_score.errors import ConfigError, InputError, RecordError
from batch_score.minibatch import MiniBatch, Range

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from batch_score.dataset.fields import Matrix
    from batch_score.dataset.partition import Combination

Format = DelimitedFormat | JsonLinesFormat | ParquetFormat
PLAN_BYTES = 1 << 26
# No file is longer: with such a mini-batch size each is one.
WHOLE_FILE = 1 << 62
FILES_AT_ONCE = 64


@dataclass(frozen=True)
class TabularDataset:
    """Rows to score: `run()` gets a pandas DataFrame indexed by the row's ordinal in its file.

    Attributes:
        paths: The files, in the order they are planned.
        format: How they are read, with the column types settled for all mini-batches.
        origin: How the dataset was asked for; None for one that was put together by hand, which cannot be reopened.
        matrices: Columns that the scorer wants side by side instead of in a table, where they can be had so.
        partition: Keys in the paths, which are columns after all others; None for none.
        key_columns: The keys that are columns; None for all of them.
        grouped_by: The keys of which each combination is one mini-batch; empty when the size decides.
    """

    paths: tuple[str, ...]
    format: Format
    origin: Origin | None = field(default=None, compare=False)
    matrices: tuple[Matrix, ...] = ()
    partition: PartitionFormat | None = None
    key_columns: tuple[str, ...] | None = None
    grouped_by: tuple[str, ...] = ()
    kind: ClassVar[str] = "tabular"

    @classmethod
    def from_delimited_files(cls, path: str | Path | Sequence[str | Path], **options: Any) -> Self:
        """Delimited text files, folders or globs of them; `options` are the fields of `ReaderOptions`.

        Raises:
            InputError: A file is missing, unreadable or empty, or has another header than the first.
            ConfigError: An option is unknown or out of range.
        """
        return cls.opened(Origin("delimited", as_inputs(path), ReaderOptions(**options)))

    @classmethod
    def from_json_lines_files(cls, path: str | Path | Sequence[str | Path], **options: Any) -> Self:
        """JSON Lines files, folders or globs of them; raises as `from_delimited_files`."""
        return cls.opened(Origin("jsonl", as_inputs(path), ReaderOptions(**options)))

    @classmethod
    def from_parquet_files(cls, path: str | Path | Sequence[str | Path], **options: Any) -> Self:
        """Parquet files, folders or globs of them; raises as `from_delimited_files`."""
        return cls.opened(Origin("parquet", as_inputs(path), ReaderOptions(**options)))

    @classmethod
    def opened(cls, origin: Origin) -> Self:
        """The dataset that was asked for as `origin`, listed and settled anew; raises as `from_delimited_files`."""
        return replace(cls.detect(listed(origin.inputs), origin.options, origin.kind), origin=origin)

    @classmethod
    def detect(cls, paths: Sequence[str], options: ReaderOptions, kind: str) -> Self:
        """The dataset of listed files of one kind: delimited, jsonl or parquet."""
        formats: dict[str, type[Format]] = {
            "delimited": DelimitedFormat,
            "jsonl": JsonLinesFormat,
            "parquet": ParquetFormat,
        }
        try:
            found = cls(tuple(paths), formats[kind].detect(paths, options), Origin(kind, tuple(paths), options))
        except (OSError, RecordError) as error:
            raise InputError(f"{error}; give files that can be read") from error
        if not found.format.schema.names:
            raise InputError(f"{paths[0]}: the input has no columns; nothing to score")
        if options.include_path and PATH_COLUMN in found.format.schema.names:
            raise ConfigError(f"include_path adds the column {PATH_COLUMN!r}, but {paths[0]} has one already")
        return found if options.partition_format is None else found._with_keys(options.partition_format)

    def _with_keys(self, partition_format: str) -> Self:
        """The same rows with the keys of their paths, of which each must have them."""
        partition = PartitionFormat.parse(partition_format)
        for name in partition.keys:
            if name in self.schema.names:
                raise ConfigError(
                    f"partition_format adds the column {name!r}, but {self.paths[0]} has one already; give the key "
                    "another name"
                )
        base = os.getcwd()  # noqa: PTH109 - text is what is joined
        for path in self.paths:
            partition.values(path, base)
        return replace(self, partition=partition)

    @property
    def schema(self) -> pa.Schema:
        """Name and type of every column that `run()` gets."""
        fields = [*self.format.schema, *([_path_field()] if self.format.include_path else [])]
        return pa.schema(fields if self.partition is None else [*fields, *key_fields(self.partition, self.key_columns)])

    @property
    def partition_keys(self) -> tuple[str, ...]:
        """The keys in the paths, in their order; empty without `partition_format`."""
        return () if self.partition is None else self.partition.keys

    def grouped(self, keys: Sequence[str]) -> Self:
        """The same rows, cut into one mini-batch for each combination of the values of `keys`.

        Raises:
            ConfigError: There is no such key.
        """
        if self.partition is None:
            raise no_keys(keys)
        self.partition.places(keys)
        return replace(self, grouped_by=tuple(keys))

    def partition_by(self, partition_keys: Sequence[str], target: str | Path, name: str | None = None) -> Self:
        """Writes the rows as Parquet, one folder for each combination of keys, without the key columns.

        Args:
            partition_keys: Columns of text, whole numbers, flags, dates or times, outermost folder first.
            target: Folder that must not be there or be empty.
            name: Of a folder in `target` to write into instead.

        Returns:
            The written files, whose paths give the key columns back as the last ones: dates and times as they were,
            everything else as text.

        Raises:
            ConfigError: A key is no column, or of a type that no folder can be named by; or all columns are keys.
            InputError: A value cannot be the name of a folder: nothing, a slash in it, a dot at its beginning.
            RecordError: A row cannot be read.
            OutputError: The folder has something in it, or cannot be written.
        """
        from batch_score.dataset.partition_by import write_partitions  # noqa: PLC0415 - few need Arrow's dataset module

        folder = Path(target) if name is None else Path(target, name)
        partition_format = write_partitions(self, tuple(partition_keys), folder)
        return type(self).from_parquet_files(folder, partition_format=partition_format)

    def keep(self, columns: Collection[str]) -> Self:
        """The same rows with these columns of `schema` only, in its order; keys without a column still group.

        Raises:
            ConfigError: There is no such column, or none of them stands in the files.
        """
        names = self.schema.names
        for name in columns:
            if name not in names:
                raise ConfigError(f"there is no column {name!r}; the columns are {', '.join(names)}")
        in_files = [name for name in self.format.schema.names if name in columns]
        if not in_files:
            raise ConfigError(
                f"of the columns of the files none is left, only {', '.join(columns) or 'none at all'}; keep one of "
                f"{', '.join(self.format.schema.names)}"
            )
        found = self.select(in_files, {})
        with_path = self.format.include_path and PATH_COLUMN in columns
        keys = tuple(name for name in self.partition_keys if name in names and name in columns)
        return replace(found, format=replace(found.format, include_path=with_path), key_columns=keys)

    def select(self, columns: Sequence[str], types: dict[str, pa.DataType], matrices: Sequence[Matrix] = ()) -> Self:
        """The same rows, of which only `columns` are read, as `types` where given; some side by side."""
        names = self.format.schema.names
        known = set(names)
        wanted = [name for name in columns if name in known] or names[:1]  # without any there would be no rows
        in_file = all(name in known for matrix in matrices for name in matrix.columns)
        return replace(self, format=self.format.select(wanted, types), matrices=tuple(matrices) if in_file else ())

    def plan(self, mini_batch_size: str | int | None, *, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        """Mini-batches of at most `mini_batch_size` bytes, none across two files; or those of `grouped`."""
        if self.grouped_by:
            return in_lists(self._plan_groups(dataset, first_index), PLAN_CHUNK, PLAN_BYTES)
        limit = mini_batch_bytes(mini_batch_size)
        if isinstance(self.format, ParquetFormat):
            return self._plan_parquet(limit, dataset, first_index)
        return self._plan_text(self.format, limit, dataset, first_index)

    def _plan_text(
        self, text: DelimitedFormat | JsonLinesFormat, limit: int, dataset: int, first_index: int
    ) -> Iterator[list[MiniBatch]]:
        plan = text.scan(self.paths, limit)
        index = count(first_index)
        streams = {path: path if _native.is_stream(path, text.encoding) else "" for path in self.paths}
        # A list covers a bounded number of bytes, so that the first mini-batches do not wait for many others.
        wanted = max(1, min(PLAN_CHUNK, PLAN_BYTES // limit))
        while ranges := plan.next_batch(wanted):
            yield [
                MiniBatch(
                    next(index),
                    self.paths[file],
                    offset,
                    length,
                    first,
                    rows,
                    dataset=dataset,
                    affinity=streams[self.paths[file]],
                )
                for file, offset, length, first, rows in ranges
            ]

    def _plan_parquet(self, limit: int, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        index = count(first_index)
        for path in self.paths:
            groups = row_groups(path)
            chunk = []
            for part in row_ranges(groups, limit):
                group = groups[part.group]
                stream = f"{path}#{part.group}" if group.size > limit else ""
                chunk.append(
                    MiniBatch(
                        next(index),
                        path,
                        group.offset,
                        part.size,
                        part.first_row,
                        part.rows,
                        dataset=dataset,
                        affinity=stream,
                    )
                )
                if len(chunk) == PLAN_CHUNK:
                    yield chunk
                    chunk = []
            if chunk:
                yield chunk

    def _plan_groups(self, dataset: int, first_index: int) -> Iterator[MiniBatch]:
        """One mini-batch for each combination that has rows."""
        if self.partition is None:
            raise no_keys(self.grouped_by)
        base = os.getcwd()  # noqa: PTH109 - text is what is joined
        groups = combinations(self.paths, self.partition, self.grouped_by, base)
        owners = [number for number, group in enumerate(groups) for _ in group.paths]
        ranges = self._whole_files([path for group in groups for path in group.paths])
        index = count(first_index)
        for owner, found in groupby(ranges, key=lambda pair: owners[pair[0]]):
            yield _of_ranges(next(index), tuple(part for _, part in found), dataset, groups[owner])

    def _whole_files(self, paths: list[str]) -> Iterator[tuple[int, Range]]:
        """Position and rows of each of `paths` that has any, in order."""
        if isinstance(self.format, ParquetFormat):
            for position, path in enumerate(paths):
                groups = row_groups(path)
                for part in row_ranges(groups, WHOLE_FILE):
                    yield position, Range(path, groups[part.group].offset, part.size, part.first_row, part.rows)
            return
        plan = self.format.scan(paths, WHOLE_FILE)
        wanted = scanned = size = 0
        # Small files many at a time, by several threads; of large ones none waits for the next.
        while ranges := plan.next_batch(wanted or 1):
            for position, offset, length, first, rows in ranges:
                path = paths[position]
                scanned, size = scanned + 1, size + length
                stream = path if _native.is_stream(path, self.format.encoding) else ""
                yield position, Range(path, offset, length, first, rows, stream)
            wanted = min(FILES_AT_ONCE, PLAN_BYTES * scanned // size)

    def reader(self, base: str) -> TextReader | ParquetReader | KeyedReader:
        """A picklable reader of the columns of `schema`; relative paths are relative to `base`."""
        reader: TextReader | ParquetReader
        if isinstance(self.format, ParquetFormat):
            reader = ParquetReader(self.format, base)
        else:
            reader = TextReader(self.format, base, self.matrices)
        return reader if self.partition is None else KeyedReader(reader, self.partition, base, self.key_columns)

    def total_bytes(self) -> int | None:
        """Bytes that the plan will cover; None when a file is compressed or decoded as a stream."""
        if isinstance(self.format, ParquetFormat):
            return sum(group.size for path in self.paths for group in row_groups(path))
        if any(_native.is_stream(path, self.format.encoding) for path in self.paths):
            return None
        return sum(Path(path).stat().st_size for path in self.paths)

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """(path, size, mtime in ns) of every file."""
        states = [(path, Path(path).stat()) for path in self.paths]
        return [(path, state.st_size, state.st_mtime_ns) for path, state in states]


def _of_ranges(index: int, ranges: tuple[Range, ...], dataset: int, group: Combination) -> MiniBatch:
    """The mini-batch of a combination; with rows of one file it looks like any other."""
    source, offset, length, first_row, rows, stream = ranges[0]
    if len(ranges) > 1:
        source, offset, first_row, stream = "", 0, 0, ""
        length, rows = sum(one.length for one in ranges), sum(one.rows for one in ranges)
    return MiniBatch(
        index,
        source,
        offset,
        length,
        first_row,
        rows,
        dataset=dataset,
        affinity=stream,
        whole=True,
        ranges=ranges if len(ranges) > 1 else (),
        partition=group.values,
    )


def listed(path: str | Path | Sequence[str | Path]) -> list[str]:
    """All files of the inputs, sorted; InputError when there are none."""
    listing = _native.FileList(as_inputs(path))
    found: list[str] = []
    while more := listing.next_batch(4096):
        found += more
    return found


def _path_field() -> pa.Field[Any]:
    return pa.field(PATH_COLUMN, pa.string())
