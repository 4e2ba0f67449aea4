"""JSON Lines: types and parsing; scanning is the native module's."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.json as pajson

from batch_score import _native
from batch_score.dataset.salvage import salvage
from batch_score.dataset.schema import joined, narrowed, nullable, seen, settle
from batch_score.dataset.source import CODECS, MARK, as_file, first_part
from batch_score.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.config import ReaderOptions

# Where nearly each line of the first part is bad or of another type, these are enough to settle on.
SAMPLE_PIECES = 1000
DEEPEST = 200
BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class JsonLinesFormat:
    """JSON Lines with settled columns. A field that the first part of the input does not have is left out."""

    encoding: str
    schema: pa.Schema
    include_path: bool
    drops_invalid: bool

    @classmethod
    def detect(cls, paths: Sequence[str], options: ReaderOptions) -> Self:
        """Settles names and types from the first part of `paths`.

        Raises:
            InputError: There is no record, or the first ones are no JSON objects.
            ConfigError: `set_column_types` names an unknown column or type.
        """
        found = cls(
            encoding=options.encoding,
            schema=pa.schema([]),
            include_path=options.include_path,
            drops_invalid=options.invalid_lines == "drop",
        )
        return replace(found, schema=settle(found.sample(paths), options.set_column_types))

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are read."""
        return tuple(self.schema.names)

    def select(self, columns: Sequence[str], types: dict[str, pa.DataType]) -> Self:
        """The same files, of which only `columns` are read, as `types` where given."""
        return replace(self, schema=narrowed(self.schema, columns, types))

    def sample(self, paths: Sequence[str]) -> pa.Schema:
        """What is seen in the first part of the first file that has records."""
        found = first_part(paths, self.scan, self.encoding)
        if found is None:
            raise InputError(f"{paths[0]}: the input has no records; nothing to score")
        return self._inferred(*found)

    def _inferred(self, path: str, data: bytes) -> pa.Schema:
        """What is seen in `data`; lines that cannot be parsed do not decide, of two types the first does."""
        lines = [data[start:end] for start, end in self.split(data)]
        with suppress(pa.ArrowInvalid):
            table = self._infer(data)
            if table.num_rows == len(lines):
                return seen(table)
        found = salvage(lines, self._infer, most=SAMPLE_PIECES)
        if not found.tables:
            raise InputError(f"{path}: no line of the first part is a JSON object: {found.bad[0][1]}")
        return reduce(joined, map(seen, found.tables))

    def _infer(self, data: bytes) -> pa.Table:
        data = self._utf8(data)
        self._check(data)
        if any(_too_deep(data[start:end]) for start, end in self.split(data)):
            raise pa.ArrowInvalid(f"values are nested more than {DEEPEST} deep")
        return pajson.read_json(as_file(data), _read(data))

    def scan(self, paths: Sequence[str], max_bytes: int) -> _native.TextPlan:
        """The plan of `paths`, by the records that `parse` sees."""
        return _native.TextPlan(paths, format="jsonl", max_bytes=max_bytes, encoding=self.encoding)

    def split(self, data: bytes) -> list[tuple[int, int]]:
        """Start and end of each record in `data`, its line end excluded."""
        return _native.split_records(data, format="jsonl")

    def ragged(self, records: Sequence[bytes]) -> dict[int, str]:  # noqa: ARG002 - objects may have any fields
        """None: no record of JSON has too many fields or too few."""
        return {}

    def drops(self, record: bytes) -> bool:
        """Whether `record` is to be left out: invalid lines are to be dropped, and it is no JSON object."""
        if not self.drops_invalid:
            return False
        try:
            return not isinstance(json.loads(self._utf8(record)), dict)
        except RecursionError:
            return False  # nested too deep for Python, but maybe valid
        except (ValueError, pa.ArrowInvalid):
            return True

    def parse(self, data: bytes) -> pa.Table:
        """The records of `data` in the settled schema; raises ArrowInvalid if one does not fit."""
        data = self._utf8(data)
        self._check(data)
        options = pajson.ParseOptions(explicit_schema=nullable(self.schema), unexpected_field_behavior="ignore")
        table = pajson.read_json(as_file(data), _read(data), options)
        table.validate(full=True)  # Arrow's reader does not look whether text is UTF-8
        return table.select(self.schema.names)

    def _check(self, data: bytes) -> None:
        """Refuses lines that are not whole objects; each stands alone in the end, where the parser's word is better.

        Arrow reads one value after the other and looks at no line ends, so that two lines could become one record
        and a third one two; and it does not survive the line `null`.
        """
        if one_object_a_line(data):
            return
        lines = [data[start:end].strip() for start, end in self.split(data)]
        begin = all(line.removeprefix(MARK).startswith(b"{") for line in lines)
        if not begin or (len(lines) > 1 and not all(line.endswith(b"}") for line in lines)):
            raise pa.ArrowInvalid("JSON parse error: the line is not one JSON object")

    def _utf8(self, data: bytes) -> bytes:
        codec = CODECS[self.encoding]
        if codec == "utf8" or (codec == "ascii" and data.isascii()):
            return data
        try:
            return data.decode(codec).encode()
        except UnicodeDecodeError as error:
            raise pa.ArrowInvalid(f"not {self.encoding} text: {error.reason}") from error


def one_object_a_line(data: bytes) -> bool:
    """Whether every line begins and ends with a brace; a quick look, by which some such data are not recognised."""
    begin, end = data[:1], data[-4:].rstrip()
    lines = data.count(b"\n") + (data[-1:] != b"\n")
    if begin != b"{" or end[-1:] != b"}":
        return False
    return lines == data.count(b"}\n{") + 1 or lines == data.count(b"}\r\n{") + 1  # the second only if need be


def _too_deep(record: bytes) -> bool:
    """Whether values are nested deeper than Arrow's inference can bear: some thousands overflow its stack."""
    if record.count(b"[") + record.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for token in BRACKETS.finditer(record):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > DEEPEST:
            return True
    return False


def _read(data: bytes) -> pajson.ReadOptions:
    return pajson.ReadOptions(use_threads=False, block_size=min(len(data) + 1, 2**31 - 1))
