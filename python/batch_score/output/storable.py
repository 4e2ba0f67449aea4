"""Columns of results in types that a Parquet file has."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from batch_score.output.nested import inner, rebuilt, recast

if TYPE_CHECKING:
    from batch_score.output.tabulate import Column

EMPTY = "empty"  # the field of a struct without fields
_MOST_DIGITS = 76  # of Arrow's longest decimal


def storable(kind: Any) -> Any:
    """A type of the same values that Parquet has; `kind` itself if it has that.

    Times in seconds become milliseconds, as which Parquet would store them. Views, dictionaries and extensions become
    what they stand for. Whatever is inside of lists, structs and maps may be null, except for the keys of maps. A
    struct may be without fields (see `filled`), because others may have some.

    Raises:
        TypeError: There is none.
    """
    form = next((form for applies, form in _FORMS if applies(kind)), None)
    if form is None:
        raise TypeError(f"Parquet has no type for {kind}")
    return form(kind)


def filled(kind: Any) -> Any:
    """A storable type in which structs without fields have one of nulls, because Parquet has none without."""
    if not pa.types.is_nested(kind):
        return kind
    fields = [one.with_type(filled(one.type)) for one in inner(kind)]
    return rebuilt(kind, fields or [pa.field(EMPTY, pa.null())])


def stored(column: Column) -> Column:
    """A column in a type that Parquet has; columns of repeated text may stay dictionaries.

    Raises:
        TypeError: There is no such type.
        ArrowException: A value does not fit it.
    """
    kind = storable(column.type)
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type) and _is_text(kind):
        return _of_one_dictionary(column, kind)
    return pa.chunked_array([recast(chunk, kind) for chunk in column.chunks], kind)


def _of_one_dictionary(column: Column, kind: Any) -> Column:
    """A stream has one dictionary a column; those of several chunks may have too many values for the indices."""
    whole: Any = pa.dictionary(column.type.index_type, kind)
    chunks = [pa.DictionaryArray.from_arrays(chunk.indices, recast(chunk.dictionary, kind)) for chunk in column.chunks]
    try:
        return pa.chunked_array(chunks, whole).unify_dictionaries()
    except pa.ArrowInvalid:
        return pa.chunked_array([recast(chunk, kind) for chunk in chunks], kind)


def _nested(kind: Any) -> Any:
    fields = inner(kind)
    if len({one.name for one in fields}) < len(fields):
        raise TypeError(f"two fields of {kind} share a name")
    items = [pa.field(one.name, storable(one.type)) for one in fields]
    if pa.types.is_map(kind):
        items[0] = items[0].with_nullable(False)
    return pa.list_(*items) if pa.types.is_fixed_size_list(kind) and not kind.list_size else rebuilt(kind, items)


def _decimal(kind: Any) -> Any:
    return decimal(kind.precision - kind.scale, kind.scale)


def decimal(whole: int, scale: int) -> Any:
    """A decimal with so many digits before the point and at least so many behind it.

    Raises:
        TypeError: There is none.
    """
    digits = max(1, whole + max(0, scale))
    if digits > _MOST_DIGITS:
        raise TypeError(f"there is no decimal of {digits} digits")
    return (pa.decimal128 if digits <= pa.decimal128(38).precision else pa.decimal256)(digits, max(0, scale))


def _is_text(kind: Any) -> bool:
    return bool(_types.is_string(kind) or _types.is_large_string(kind) or _types.is_binary(kind))


def _is_nested(kind: Any) -> bool:
    return bool(_types.is_nested(kind) and not _types.is_union(kind) and not _types.is_run_end_encoded(kind))


def _is_as_it_is(kind: Any) -> bool:
    return any(applies(kind) for applies in _AS_IT_IS)


_types = pa.types
_AS_IT_IS = (
    *(_types.is_null, _types.is_boolean, _types.is_integer, _types.is_floating),
    *(_types.is_string, _types.is_large_string, _types.is_binary, _types.is_large_binary),
    *(_types.is_date32, _types.is_time64, _types.is_duration),
)
_Form: TypeAlias = tuple[Callable[[Any], bool], Callable[[Any], Any]]
_FORMS: tuple[_Form, ...] = (
    (_is_as_it_is, lambda kind: kind),
    (_types.is_timestamp, lambda kind: pa.timestamp("ms", kind.tz) if kind.unit == "s" else kind),
    (_types.is_time32, lambda _: pa.time32("ms")),
    (_types.is_date64, lambda _: pa.date32()),
    (_types.is_decimal, _decimal),
    (_types.is_fixed_size_binary, lambda kind: kind if kind.byte_width else pa.binary()),
    (_types.is_string_view, lambda _: pa.string()),
    (_types.is_binary_view, lambda _: pa.binary()),
    (_types.is_dictionary, lambda kind: storable(kind.value_type)),
    (lambda kind: isinstance(kind, pa.BaseExtensionType), lambda kind: storable(kind.storage_type)),
    (_is_nested, _nested),
)
