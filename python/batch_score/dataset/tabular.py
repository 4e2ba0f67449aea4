"""TabularDataset: rows of delimited text, JSON Lines or Parquet files as items."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from batch_score import _native
from batch_score.config import ReaderOptions, mini_batch_bytes
from batch_score.dataset.base import PLAN_CHUNK
from batch_score.dataset.delimited import DelimitedFormat
from batch_score.dataset.files import as_inputs
from batch_score.dataset.jsonl import JsonLinesFormat
from batch_score.dataset.origin import Origin
from batch_score.dataset.parquet import ParquetFormat, ParquetReader, row_groups, row_ranges
from batch_score.dataset.schema import PATH_COLUMN
from batch_score.dataset.text import TextReader
from batch_score.errors import ConfigError, InputError, RecordError
from batch_score.minibatch import MiniBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batch_score.dataset.fields import Matrix

Format = DelimitedFormat | JsonLinesFormat | ParquetFormat
PLAN_BYTES = 1 << 26


@dataclass(frozen=True)
class TabularDataset:
    """Rows to score: `run()` gets a pandas DataFrame indexed by the row's ordinal in its file.

    Attributes:
        paths: The files, in the order they are planned.
        format: How they are read, with the column types settled for all mini-batches.
        origin: How the dataset was asked for; None for one that was put together by hand, which cannot be reopened.
        matrices: Columns that the scorer wants side by side instead of in a table, where they can be had so.
    """

    paths: tuple[str, ...]
    format: Format
    origin: Origin | None = field(default=None, compare=False)
    matrices: tuple[Matrix, ...] = ()
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
        return found

    @property
    def schema(self) -> pa.Schema:
        """Name and type of every column that `run()` gets."""
        schema = self.format.schema
        return schema.append(_path_field()) if self.format.include_path else schema

    def select(self, columns: Sequence[str], types: dict[str, pa.DataType], matrices: Sequence[Matrix] = ()) -> Self:
        """The same rows, of which only `columns` are read, as `types` where given; some side by side."""
        wanted = [name for name in columns if name in self.format.schema.names]
        return replace(self, format=self.format.select(wanted, types), matrices=tuple(matrices))

    def plan(self, mini_batch_size: str | int | None, *, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        """Mini-batches of at most `mini_batch_size` bytes, none across two files."""
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

    def reader(self, base: str) -> TextReader | ParquetReader:
        """A picklable reader of the columns of `schema`; relative paths are relative to `base`."""
        if isinstance(self.format, ParquetFormat):
            return ParquetReader(self.format, base)
        return TextReader(self.format, base, self.matrices)

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


def listed(path: str | Path | Sequence[str | Path]) -> list[str]:
    """All files of the inputs, sorted; InputError when there are none."""
    listing = _native.FileList(as_inputs(path))
    found: list[str] = []
    while more := listing.next_batch(4096):
        found += more
    return found


def _path_field() -> pa.Field[Any]:
    return pa.field(PATH_COLUMN, pa.string())
