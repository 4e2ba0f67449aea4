"""Delimited text: header, types and parsing; scanning is the native module's."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa
import pyarrow.csv as pacsv

from batch_score import _native
from batch_score.arrow import compute as pc
from batch_score.column import has_large
from batch_score.dataset.schema import narrowed, seen, settle
from batch_score.dataset.source import CODECS, COMPRESSED, MARK, as_file, first_part
from batch_score.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.config import ReaderOptions

QUOTE = '"'
# Arrow takes 1 and 0 for flags too, so that 0 and true in one column would become flags.
TRUE, FALSE = ["True", "TRUE", "true"], ["False", "FALSE", "false"]
LONGEST_SHOWN = 100  # bytes of a record in Arrow's messages
# What pandas.read_csv takes for a missing number. In text columns only an empty field is null.
MISSING_NUMBERS = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
]


@dataclass(frozen=True)
class DelimitedFormat:
    """Delimited text with settled columns.

    Attributes:
        names: Every column of the files, in order.
        schema: Name and type of the columns that are read, all of them or a part.
        empty_is_null: An empty text field is null.
    """

    separator: str
    encoding: str
    header: bool
    multi_line: bool
    names: tuple[str, ...]
    schema: pa.Schema
    empty_is_null: bool
    include_path: bool

    @classmethod
    def detect(cls, paths: Sequence[str], options: ReaderOptions) -> Self:
        """Reads headers and the first part of `paths` and settles names and types.

        Raises:
            InputError: A file has no header, or another one than the first.
            ConfigError: `set_column_types` names an unknown column or type.
        """
        separator = options.separator or ("\t" if _base_name(paths[0]).endswith(".tsv") else ",")
        found = cls(
            separator=separator,
            encoding=options.encoding,
            header=options.header,
            multi_line=options.support_multi_line,
            names=(),
            schema=pa.schema([]),
            empty_is_null=not options.empty_as_string,
            include_path=options.include_path,
        )
        names = found.common_names(paths)
        sample = replace(found, names=names).sample(paths, infer=options.infer_column_types)
        return replace(found, names=names, schema=settle(seen(sample), options.set_column_types))

    def select(self, columns: Sequence[str], types: dict[str, pa.DataType]) -> Self:
        """The same files, of which only `columns` are read, as `types` where given."""
        return replace(self, schema=narrowed(self.schema, columns, types))

    def common_names(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The column names, which must be the same in all files."""
        first: tuple[str, ...] | None = None
        for path in paths:
            names = self._names(path)
            if names is None:
                continue
            first = first or names
            if names != first:
                raise InputError(f"{path}: {_difference(first, names)} as in {paths[0]}; score such files apart")
        if first is None:
            raise InputError(f"{paths[0]}: the input has no records; nothing to score")
        return first

    def _names(self, path: str) -> tuple[str, ...] | None:
        """The names in a file's first record; None for a file without any record."""
        raw, _ = _native.read_header(
            path, delimiter=self.separator, quote=QUOTE, multi_line=self.multi_line, encoding=self.encoding
        )
        if not raw:
            return None
        try:
            text = raw.decode(CODECS[self.encoding])
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path}: the first record is not {self.encoding} text ({error.reason}); give --encoding"
            ) from error
        fields = _fields(text, self.separator)
        if not self.header:
            return tuple(f"Column{number}" for number in range(1, len(fields) + 1))
        return unique_names(fields)

    def sample(self, paths: Sequence[str], *, infer: bool) -> pa.Table:
        """The first part of the first file that has records, with inferred types."""
        found = first_part(paths, self.scan, self.encoding)
        if found is None:
            raise InputError(f"{paths[0]}: the input has a header but no records; nothing to score")
        return self._infer(found[1], infer=infer)

    def scan(self, paths: Sequence[str], max_bytes: int) -> _native.TextPlan:
        """The plan of `paths`, by the records that `parse` sees."""
        return _native.TextPlan(
            paths,
            format="delimited",
            max_bytes=max_bytes,
            delimiter=self.separator,
            quote=QUOTE,
            header=self.header,
            multi_line=self.multi_line,
            encoding=self.encoding,
        )

    def split(self, data: bytes) -> list[tuple[int, int]]:
        """Start and end of each record in `data`, its line end excluded."""
        return _native.split_records(
            data, format="delimited", delimiter=self.separator, quote=QUOTE, multi_line=self.multi_line
        )

    def drops(self, record: bytes) -> bool:  # noqa: ARG002 - JSON Lines have a choice
        """False: a record that does not fit is a failed item."""
        return False

    def ragged(self, records: Sequence[bytes]) -> dict[int, str]:
        """Those of `records` that have another number of fields, all found in one pass: position to message.

        They are the parser's own messages. None is found where it does not see the same records, and where one is no
        text; then they have to be looked for one by one.
        """
        codec = CODECS[self.encoding]
        data = b"\n".join(records)
        try:
            data.decode(codec)
        except UnicodeDecodeError:
            return {}
        found: list[pacsv.InvalidRow] = []

        def note(row: pacsv.InvalidRow) -> Literal["skip"]:
            found.append(row)
            return "skip"

        parsing = self._parsing()
        parsing.invalid_row_handler = note
        first = self.names[0]
        convert = pacsv.ConvertOptions(include_columns=[first], column_types={first: pa.string()})
        try:
            table = pacsv.read_csv(as_file(data), self._read(data, codec), parsing, convert)
        except pa.ArrowInvalid:
            return {}
        if table.num_rows + len(found) != len(records):
            return {}
        return {row.number - 1: _ragged(row) for row in found if row.number is not None}

    def parse(self, data: bytes) -> pa.Table:
        """The records of `data` in the settled schema; raises ArrowInvalid if one does not fit."""
        if not self.multi_line:
            data = data.rstrip(b"\r\n")  # else a quote that is left open takes the line end into its field
        table = self._converted(data, self.schema)
        integers = [column for column in self.schema if pa.types.is_integer(column.type)]
        if integers and _may_be_hexadecimal(data):
            self._refuse_hexadecimal(data, integers)
        return empty_to_null(table) if self.empty_is_null else table

    def _converted(self, data: bytes, schema: pa.Schema) -> pa.Table:
        convert = pacsv.ConvertOptions(
            column_types=schema,
            include_columns=schema.names,
            null_values=MISSING_NUMBERS,
            strings_can_be_null=False,
        )
        try:
            codec = CODECS[self.encoding]
            text = _unmarked(data) if codec == "utf8" else as_file(data)  # in others the same bytes are no mark
            return pacsv.read_csv(text, self._read(data, codec), self._parsing(), convert)
        except UnicodeDecodeError as error:  # only of codecs that Arrow takes from Python
            raise pa.ArrowInvalid(f"not {self.encoding} text: {error.reason}") from error

    def _refuse_hexadecimal(self, data: bytes, integers: Sequence[pa.Field[Any]]) -> None:
        """Refuses `0x10` where an integer is to be, which Arrow reads as 16, and `0xFFFFFFFF` as -1."""
        texts = self._converted(data, pa.schema([pa.field(column.name, pa.string()) for column in integers]))
        for column, text in zip(integers, texts.columns, strict=True):
            place = pc.index(_hexadecimal(text), pa.scalar(True)).as_py()
            if place >= 0:
                raise pa.ArrowInvalid(
                    f"In CSV column #{self.names.index(column.name)}: CSV conversion error to {column.type}: "
                    f"invalid value '{text[place]}'"
                )

    def _infer(self, data: bytes, *, infer: bool) -> pa.Table:
        """`data` with inferred types; records of another length and bad text do not decide."""
        # Also of UTF-8: Arrow cannot pass on a record of another length that is no text.
        data = data.decode(CODECS[self.encoding], errors="replace").encode()
        try:
            table = self._inferred(data, None if infer else self._as_text())
            odd = infer and (_may_be_hexadecimal(data) or any(map(has_large, table.columns)))
            return self._with_text(data, table) if odd else table
        except pa.ArrowInvalid:
            return pa.schema(self._as_text()).empty_table()

    def _inferred(self, data: bytes, types: dict[str, pa.DataType] | None) -> pa.Table:
        convert = pacsv.ConvertOptions(
            column_types=types,
            null_values=MISSING_NUMBERS,
            strings_can_be_null=False,
            check_utf8=False,
            true_values=TRUE,
            false_values=FALSE,
        )
        parsing = self._parsing()
        parsing.invalid_row_handler = lambda _row: "skip"
        return pacsv.read_csv(_unmarked(data), self._read(data, "utf8"), parsing, convert)

    def _with_text(self, data: bytes, table: pa.Table) -> pa.Table:
        """`table` with the text of `data` where that says more than the numbers that Arrow has read.

        Nobody else reads `0x10` as 16, and different integers of 20 digits would become one float.
        """
        texts = self._inferred(data, self._as_text())
        columns = table.columns
        for position, text in enumerate(texts.columns):
            hexadecimal = pa.types.is_integer(columns[position].type) and pc.any(_hexadecimal(text)).as_py()
            if hexadecimal or _has_too_large(columns[position], text):
                columns[position] = text
        return pa.table(columns, names=table.column_names)

    def _as_text(self) -> dict[str, pa.DataType]:
        return dict.fromkeys(self.names, pa.string())

    def _read(self, data: bytes, codec: str) -> pacsv.ReadOptions:
        return pacsv.ReadOptions(
            use_threads=False,
            column_names=list(self.names),
            # One block, or Arrow refuses long records: three bytes are the longest that one of a codec becomes.
            block_size=min((1 if codec == "utf8" else 3) * len(data) + 1, 2**31 - 1),
            encoding=codec,
        )

    def _parsing(self) -> pacsv.ParseOptions:
        return pacsv.ParseOptions(delimiter=self.separator, quote_char=QUOTE, newlines_in_values=True)


def _ragged(row: pacsv.InvalidRow) -> str:
    """What Arrow says of a record when it is not asked what to do with it."""
    text = row.text.encode()
    shown = row.text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 4].decode(errors="replace") + " ..."
    return f"CSV parse error: Row #1: Expected {row.expected_columns} columns, got {row.actual_columns}: {shown}"


def _may_be_hexadecimal(data: bytes) -> bool:
    # One byte is looked for at a tenth of the cost of two, and tables of numbers have none.
    return (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data)


def _hexadecimal(texts: pa.ChunkedArray[Any]) -> Any:
    """Which of the texts that Arrow takes for integers are `0x10` and the like: those with an x."""
    return pc.match_substring(texts, "x", ignore_case=True)


def _has_too_large(column: pa.ChunkedArray[Any], text: pa.ChunkedArray[Any]) -> bool:
    """Whether a column that Arrow has read as floats has integers alone, of which some are too large for int64."""
    if not pa.types.is_floating(column.type) or not has_large(column):
        return False
    return bool(pc.all(pc.match_substring_regex(text.filter(column.is_valid()), "^[+-]?[0-9]+$")).as_py())


def empty_to_null(table: pa.Table) -> pa.Table:
    """The table with null for every empty text field."""
    columns = table.columns  # a table is not changed column by column: each time all of them would be gone through
    for position, column in enumerate(columns):
        if pa.types.is_string(column.type):
            empty = pc.equal(column, pa.scalar(""))
            if pc.any(empty).as_py():
                columns[position] = pc.if_else(empty, pa.scalar(None, pa.string()), column)
    return pa.Table.from_arrays(columns, schema=table.schema)


def _unmarked(data: bytes) -> IO[Any]:
    """`data` as a file. The mark of the input file is not among them: one that they begin with is part of a field."""
    return as_file(MARK + data if data.startswith(MARK) else data)  # Arrow takes the first one away


def _fields(text: str, separator: str) -> list[str]:
    limit = csv.field_size_limit(len(text) + 1)  # of the whole process
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    finally:
        csv.field_size_limit(limit)


def unique_names(fields: Sequence[str]) -> tuple[str, ...]:
    """Column names as pandas.read_csv makes them: `Unnamed: 0` for an empty one, `a`, `a.1` for a repeated one."""
    names = [field or f"Unnamed: {position}" for position, field in enumerate(fields)]
    seen: dict[str, int] = {}
    taken = set(names)
    # Names that were given keep what they can; made-up ones give way.
    for position in sorted(range(len(names)), key=lambda place: not fields[place]):
        name = names[position]
        while name in seen:
            seen[name] += 1
            candidate = f"{name}.{seen[name]}"
            name = candidate if candidate not in taken else name
        seen[name] = 0
        names[position] = name
    return tuple(names)


def _difference(first: tuple[str, ...], other: tuple[str, ...]) -> str:
    known, names = set(first), set(other)
    missing = [name for name in first if name not in names]
    extra = [name for name in other if name not in known]
    if missing:
        return f"the header does not have the column {missing[0]!r}"
    if extra:
        return f"the header has the column {extra[0]!r}, which is not the same header"
    return "the header does not have the columns in the same order"


def _base_name(path: str) -> str:
    lowered = path.lower()
    for suffix in COMPRESSED:
        lowered = lowered.removesuffix(suffix)
    return lowered
