"""How a value of a result looks in CSV, TSV and JSON Lines: Arrow columns become columns of text.

The work stays inside Arrow; only nested values, and strings that JSON has to escape, are seen by Python.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.arrow import compute as pc
from batch_score.errors import ReturnTypeError

if TYPE_CHECKING:
    from batch_score.output.tabulate import Column

TEXT = pa.large_string()
_ROWS_AT_ONCE = 65_536  # bounds the memory of intermediate columns, far above the cost of a call

_MUST_ESCAPE = r'["\\\x00-\x1f]'
_MOST_DAYS = 11_000_000  # from 1970, some 30,000 years: what Arrow writes for those beyond 32,767 is no date
_DAY_S = 86_400
_UNITS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def readable(column: Column, name: str) -> Column:
    """Replaces the types that have no text form of their own.

    Dictionaries are decoded, timestamps become ISO 8601 text (in UTC when they have a zone), durations become
    seconds, bytes become the UTF-8 text they hold, and null becomes text.

    Args:
        column: Any column of a table from `tabulate()`.
        name: Its name, for the error.

    Returns:
        A column of the same length whose type is boolean, number, string, date, time, decimal, or nested.

    Raises:
        ReturnTypeError: If bytes are not UTF-8.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return readable(column.cast(kind.value_type), name)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _moments(column)
    if pa.types.is_duration(kind):
        return pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), float(_UNITS_PER_SECOND[kind.unit]))
    if pa.types.is_null(kind):
        return column.cast(TEXT)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return _decoded(column, name)
    return column


def _moments(column: Column) -> Column:
    """Timestamps as text; dates as they are, or as text too if Arrow has none for one of them."""
    kind = column.type
    far = _far(column)
    if pa.types.is_date(kind):
        return column if far is None else _told_by_numpy(column.cast(TEXT), column, far)
    utc = column if kind.tz is None else column.cast(pa.timestamp(kind.unit, "UTC"))
    texts = pc.replace_substring(utc.cast(TEXT), " ", "T")
    return texts if far is None else _told_by_numpy(texts, utc, far)


def _far(column: Column) -> Column | None:
    """Which dates or timestamps are beyond the years that Arrow has a right text for; None if none is."""
    kind = column.type
    if pa.types.is_date(kind):
        most = _MOST_DAYS * (1 if pa.types.is_date32(kind) else _DAY_S * 1000)
    else:
        most = _MOST_DAYS * _DAY_S * _UNITS_PER_SECOND[kind.unit]
    if most >= 2**63:
        return None
    numbers: Any = (column.cast(pa.int32()) if pa.types.is_date32(kind) else column).cast(pa.int64())
    ends: Any = pc.min_max(numbers).as_py()
    if ends["min"] is None or -most <= ends["min"] <= ends["max"] <= most:
        return None
    return pc.or_(pc.less(numbers, pa.scalar(-most)), pc.greater(numbers, pa.scalar(most)))


def _told_by_numpy(texts: Column, column: Column, far: Any) -> Column:
    moments = np.asarray(column.filter(far))
    if pa.types.is_date(column.type):
        moments = moments.astype("M8[D]")
    zone = "Z" if getattr(column.type, "tz", None) else ""
    return pc.replace_with_mask(texts, far, pa.array([f"{moment}{zone}" for moment in moments], TEXT))


def is_nested(kind: pa.DataType) -> bool:
    """Tells whether values of this type are lists, structs or maps."""
    return pa.types.is_nested(kind)


def json_texts(column: Column, name: str) -> Column:
    """Writes nested values as JSON.

    Args:
        column: A column of lists, structs or maps.
        name: Its name, for the error.

    Returns:
        One JSON text per value, null where the value is null.

    Raises:
        ReturnTypeError: If bytes inside are not UTF-8.
    """
    try:
        return pa.array([None if value is None else _dumps(value) for value in column.to_pylist()], TEXT)
    except UnicodeDecodeError as error:
        raise _not_text(name) from error


def json_cells(array: Column, name: str) -> Column:
    """Writes a column as JSON values.

    Args:
        array: Any column of a table from `tabulate()`.
        name: Its name, for the error.

    Returns:
        One JSON value per element, without nulls: null, NaN and infinities are `null`.

    Raises:
        ReturnTypeError: If bytes are not UTF-8.
    """
    if isinstance(array, pa.DictionaryArray):  # a key with few values is written once per value, not per row
        return json_cells(array.dictionary, name).take(array.indices).fill_null("null")
    plain = readable(array, name)
    if is_nested(plain.type):
        texts = json_texts(plain, name)
    elif pa.types.is_floating(plain.type):
        texts = pc.if_else(pc.is_finite(plain), plain.cast(TEXT), pa.scalar(None, TEXT))
    elif pa.types.is_boolean(plain.type) or pa.types.is_integer(plain.type):
        texts = plain.cast(TEXT)
    else:
        texts = _json_strings(plain.cast(TEXT))
    return texts.fill_null("null")


def joined(pieces: list[Any]) -> Any:
    """Joins columns of text and constants, element by element, without a separator.

    Args:
        pieces: Columns of the same length and texts, at least one of each; null in a column makes null.

    Returns:
        A column of that length.
    """
    scalars = [pa.scalar(piece, TEXT) if isinstance(piece, str) else piece for piece in pieces]
    return pc.binary_join_element_wise(*scalars, pa.scalar("", TEXT))


def lines(table: pa.Table, write: Callable[[pa.RecordBatch], Column]) -> bytes:
    """Writes a table piece by piece.

    Args:
        table: The records.
        write: Makes one text per row of a piece, line end included.

    Returns:
        The texts one after the other in UTF-8.
    """
    return b"".join(_bytes_of(write(batch)) for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE))


def _bytes_of(texts: Column) -> memoryview:
    """Takes the characters of all texts at once, which Arrow keeps one after the other."""
    _, offsets, characters = texts.buffers()
    ends = memoryview(offsets).cast("q")
    return memoryview(characters)[ends[texts.offset] : ends[texts.offset + len(texts)]]


def _is_string(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _json_strings(texts: Column) -> Column:
    quoted = joined(['"', texts, '"'])
    escaped: Column = pc.match_substring_regex(texts, _MUST_ESCAPE)
    if not pc.any(escaped).as_py():
        return quoted
    rare = [json.dumps(text, ensure_ascii=False) for text in texts.filter(escaped).to_pylist()]
    return pc.replace_with_mask(quoted, escaped, pa.array(rare, TEXT))


def _decoded(column: Column, name: str) -> Column:
    try:
        return column.cast(pa.large_binary()).cast(TEXT)
    except pa.ArrowInvalid as error:
        raise _not_text(name) from error


def _not_text(name: str) -> ReturnTypeError:
    return ReturnTypeError(
        f"column {name!r} that run() returned holds bytes that are not UTF-8 text: encode them as text first, for "
        "example with base64, or write .parquet"
    )


def _dumps(value: object) -> str:
    return json.dumps(_jsonable(value), ensure_ascii=False, separators=(",", ":"))


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(inner) for inner in value]
    return _json_leaf(value)


def _json_leaf(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case bytes():
            return value.decode()
        case timedelta():
            return value.total_seconds()
        case date() | time():
            return value.isoformat()
    return str(value)
