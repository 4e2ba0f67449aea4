"""Failed items in words: values that JSON can hold, records that fit into a line of a report."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from batch_score.arrow import compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

RECORD_LIMIT = 2_000
CUT = " ..."
# No text that is shown needs more bytes, and one that has more is cut.
_BYTES_SHOWN = 4 * RECORD_LIMIT + 1
_ROWS_AT_ONCE = 64  # bounds the memory of Python objects where rows are large
_TEXT = pa.large_string()
_BEFORE_TIME = re.compile(r"(?<=\d) ")
_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, slots=True)
class Description:
    """An item in words.

    Attributes:
        key: Values of the key columns by name, as JSON can hold them; None when there are no such columns or the
            item could not be read.
        record: What stands in the file, at most RECORD_LIMIT characters; None for a file.
    """

    key: dict[str, Any] | None = None
    record: str | None = None


def shortened(text: str) -> str:
    """A text of at most RECORD_LIMIT characters, which ends with ` ...` if it was longer."""
    return text if len(text) <= RECORD_LIMIT else text[: RECORD_LIMIT - len(CUT)] + CUT


def decoded(data: bytes, codec: str = "utf8") -> str:
    """Bytes as text of at most RECORD_LIMIT characters; those that are no text are backslash-escaped."""
    return shortened(data[:_BYTES_SHOWN].decode(codec, errors="backslashreplace"))


def rows_at(table: pa.Table, places: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The rows at `places`, ascending, each as one JSON object: column name to a value of `json_values`.

    A value that cannot be described is None: what is known of the others is worth more than the reason.
    """
    picked = [_picked(column, places) for column in table.columns]
    for batch in pa.table(picked, names=table.column_names).to_batches(max_chunksize=_ROWS_AT_ONCE):
        columns = [_values_or_none(column) for column in batch.columns]
        for cells in zip(*columns, strict=True):
            yield dict(zip(table.column_names, cells, strict=True))


def _picked(column: Any, places: Sequence[int]) -> Any:
    """The values at `places`, ascending; by slices where Arrow has no way to filter the type (views, run ends)."""
    wanted = np.zeros(len(column), dtype=bool)
    wanted[places] = True
    try:
        return column.filter(pa.array(wanted))
    except pa.ArrowNotImplementedError:
        edges = np.flatnonzero(np.diff(wanted.astype(np.int8), prepend=0, append=0)).reshape(-1, 2).tolist()
        pieces = [chunk for start, end in edges for chunk in column.slice(start, end - start).chunks]
        return pa.chunked_array(pieces, column.type)


def _values_or_none(array: Any) -> list[Any]:
    try:
        return json_values(array)
    except Exception as error:  # noqa: BLE001 - Arrow has types without end, and scripts and users may add some
        logger.debug("values of type %s cannot be described: %s", array.type, error)
        return [None] * len(array)


def json_values(array: Any) -> list[Any]:
    """The values of an Arrow array as JSON can hold them.

    Dates and times are ISO 8601 text (in UTC when they have a zone), durations seconds, decimals and numbers that
    are not finite text; bytes that are no text are backslash-escaped, text is cut to RECORD_LIMIT characters.
    """
    form = next((form for applies, form in _FORMS if applies(array.type)), None)
    if form is not None:
        return form(array)
    return [None if value is None else shortened(str(value)) for value in array.to_pylist()]


def _objects(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [json_values(column) for column in array.flatten()]
    present = array.is_valid().to_pylist()
    rows = zip(present, *columns, strict=True)
    return [dict(zip(names, cells, strict=True)) if there else None for there, *cells in rows]


def _dictionary(array: Any) -> list[Any]:
    try:
        return json_values(array.dictionary_decode())
    except pa.ArrowNotImplementedError:
        indices = array.indices.to_pylist()
        known = {at: json_values(array.dictionary.slice(at, 1))[0] for at in set(indices) - {None}}
        return [known.get(at) for at in indices]


def _runs(array: Any) -> list[Any]:
    places = np.arange(array.offset, array.offset + len(array))
    runs = np.searchsorted(array.run_ends.to_numpy(), places, side="right")
    if not len(runs):
        return []
    values = json_values(array.values.slice(runs[0], runs[-1] - runs[0] + 1))
    return [values[run] for run in (runs - runs[0]).tolist()]


def _lists(array: Any) -> list[Any]:
    elements = iter(json_values(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else list(islice(elements, length)) for length in lengths]


def _map(array: Any) -> list[Any]:
    kind = array.type
    entry: Any = pa.struct([pa.field("key", kind.key_type), pa.field("value", kind.item_type)])
    return _lists(array.cast(pa.list_(entry)))


def _texts(array: Any) -> list[Any]:
    found = pc.binary_slice(array.cast(pa.large_binary()), 0, _BYTES_SHOWN)
    return [None if value is None else decoded(value) for value in found.to_pylist()]


def _as_written(array: Any) -> list[Any]:
    """As Arrow writes them; unlike Python, it has a text for every date and time."""
    return list(array.cast(_TEXT).to_pylist())


def _numbers(array: Any) -> list[Any]:
    """By their shortest text, so that 0.1 stays 0.1 where it has 32 bits."""
    return [None if text is None else _number(text) for text in _as_written(array)]


def _number(text: str) -> float | str:
    value = float(text)
    return value if math.isfinite(value) else text


def _moments(array: Any) -> list[Any]:
    utc = array if array.type.tz is None else array.cast(pa.timestamp(array.type.unit, "UTC"))
    return [None if text is None else _BEFORE_TIME.sub("T", text) for text in _as_written(utc)]


def _seconds(array: Any) -> list[Any]:
    parts = array.cast(pa.int64()).to_pylist()
    return [None if value is None else value / _SECOND[array.type.unit] for value in parts]


def _is_plain(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _is_bytes(kind: Any) -> bool:
    known = pa.types
    short = known.is_string(kind) or known.is_binary(kind) or known.is_fixed_size_binary(kind)
    large = known.is_large_string(kind) or known.is_large_binary(kind)
    return bool(short or large or known.is_string_view(kind) or known.is_binary_view(kind))


def _is_list(kind: Any) -> bool:
    known = pa.types
    plain = known.is_list(kind) or known.is_large_list(kind) or known.is_fixed_size_list(kind)
    return bool(plain or known.is_list_view(kind) or known.is_large_list_view(kind))


def _is_extension(kind: Any) -> bool:
    return isinstance(kind, pa.BaseExtensionType)


_Form: TypeAlias = tuple[Callable[[Any], bool], Callable[[Any], list[Any]]]
_FORMS: tuple[_Form, ...] = (
    (_is_extension, lambda array: json_values(array.storage)),
    (pa.types.is_dictionary, _dictionary),
    (pa.types.is_run_end_encoded, _runs),
    (pa.types.is_struct, _objects),
    (pa.types.is_map, _map),
    (_is_list, _lists),
    (_is_plain, lambda array: list(array.to_pylist())),
    (_is_bytes, _texts),
    (pa.types.is_floating, _numbers),
    (pa.types.is_timestamp, _moments),
    (pa.types.is_duration, _seconds),
    (pa.types.is_date, _as_written),
    (pa.types.is_time, _as_written),
    (pa.types.is_decimal, _as_written),
)
