"""The type that holds the values of two columns exactly, or none.

Some values of a type do not fit a wider one: an integer beyond 2**53 is no exact float, the year 3000 no timestamp in
nanoseconds. The worker, which has the values, marks such a column with what it cannot become. So the coordinator,
which sees no more than the schema, can refuse a pair at once that would fail when the file is made.

`wider` is a join: the order in which columns come decides neither whether they have a common type nor which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from batch_score.arrow import compute as pc
from batch_score.output.nested import below, inner, rebuilt
from batch_score.output.storable import decimal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Field: TypeAlias = "pa.Field[Any]"

# The metadata of a field, also of one inside of a list, struct or map: what its values do not fit, blank-separated.
UNFIT = b"batch_score.unfit"

EXACT = 2**53  # beyond it, not every integer is a float
FLOAT, SIGNED = "float64", "int64"
UNITS = ("s", "ms", "us", "ns")
_SIGNED: dict[int, Any] = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_WHOLE_DIGITS = 20  # of any integer


class NoTypeError(Exception):
    """No type holds the values of both columns; the message says what is in the way, or is empty."""


def marked(field: Field, arrays: Sequence[Any]) -> Field:
    """The field of a column, marked with what its values do not fit.

    Args:
        field: Of a type that `storable` gives.
        arrays: The column's values. Those under a null count too, because casts look at them.
    """
    kind = field.type
    if pa.types.is_nested(kind):
        opened = [below(array) for array in arrays]
        children = [marked(one, [found[at] for found in opened]) for at, one in enumerate(inner(kind))]
        return field.with_type(rebuilt(kind, children))
    bounds = list(_bounds(kind))
    span = _span(arrays) if bounds else None
    unfit = {name for name, low, high in bounds if span is not None and not low <= span[0] <= span[1] <= high}
    return _leaf(field.name, kind, unfit, nullable=field.nullable)


def wider(left: Field, right: Field) -> Field:
    """A field, called like `left`, whose type holds the values of both; it has the marks of both that still matter.

    Args:
        left: Of a type that `storable` or this function gives, with its marks.
        right: The same.

    Raises:
        NoTypeError: There is no such type.
    """
    if pa.types.is_null(left.type):
        return right.with_name(left.name)
    if pa.types.is_null(right.type):
        return left
    for applies, form in _FORMS:
        if applies(left.type) and applies(right.type):
            return form(left, right)
    if left.type != right.type:
        raise NoTypeError
    return left


def _leaf(name: str, kind: Any, unfit: Iterable[str], *, nullable: bool = True) -> Field:
    marks = " ".join(sorted(unfit))
    return pa.field(name, kind, nullable, metadata={UNFIT: marks} if marks else None)


def _unfit(*fields: Field) -> set[str]:
    return {mark for field in fields for mark in (field.metadata or {}).get(UNFIT, b"").decode().split()}


def _bounds(kind: Any) -> Iterable[tuple[str, int, int]]:
    """What values of this type may not fit, and between which bounds they do."""
    if kind in {pa.int64(), pa.uint64()}:
        yield FLOAT, -EXACT, EXACT
    if kind == pa.uint64():
        yield SIGNED, 0, 2**63 - 1
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        for steps, unit in enumerate(UNITS[UNITS.index(kind.unit) + 1 :], 1):
            most = (2**63 - 1) // 1000**steps
            yield unit, -most, most


def _span(arrays: Sequence[Any]) -> tuple[int, int] | None:
    """The smallest and the largest value, None if there is none."""
    numbers = [array if pa.types.is_integer(array.type) else array.view(pa.int64()) for array in arrays]
    ends = [pc.min_max(array) for array in numbers if array.null_count < len(array)]
    if not ends:
        return None
    return min(end["min"].as_py() for end in ends), max(end["max"].as_py() for end in ends)


def _numbers(left: Field, right: Field) -> Field:
    kinds = [left.type, right.type]
    floats = [kind for kind in kinds if pa.types.is_floating(kind)]
    unfit = _unfit(left, right)
    if any(map(pa.types.is_decimal, kinds)):
        if floats:
            raise NoTypeError
        return _decimals(left, right, unfit)
    if not floats:
        return _leaf(left.name, _integer(kinds, unfit), unfit)
    if FLOAT in unfit:
        raise NoTypeError("integers beyond 2**53 are not exact as floats")
    return _leaf(left.name, pa.float64() if len(floats) == 1 else max(floats, key=lambda kind: kind.bit_width), ())


def _integer(kinds: Sequence[Any], unfit: set[str]) -> Any:
    """Of one sign the wider type; of two the smallest with a sign that holds both."""
    unsigned = [kind for kind in kinds if pa.types.is_unsigned_integer(kind)]
    if len(unsigned) != 1:
        return max(kinds, key=lambda kind: kind.bit_width)
    if SIGNED in unfit:
        raise NoTypeError("integers beyond 2**63 have no common type with those that may be negative")
    [signed] = [kind for kind in kinds if kind not in unsigned]
    return _SIGNED[min(64, max(signed.bit_width, 2 * unsigned[0].bit_width))]


def _decimals(left: Field, right: Field, unfit: set[str]) -> Field:
    if SIGNED in unfit:  # else an integer could have one common type with this column, and none with an integer
        raise NoTypeError("integers beyond 2**63 have no common type with decimals")
    places = [
        (kind.precision - kind.scale, kind.scale) if pa.types.is_decimal(kind) else (_WHOLE_DIGITS, 0)
        for kind in (left.type, right.type)
    ]
    try:
        kind = decimal(max(whole for whole, _ in places), max(scale for _, scale in places))
    except TypeError as error:
        raise NoTypeError(str(error)) from error
    return _leaf(left.name, kind, ())


def _moments(left: Field, right: Field) -> Field:
    """Timestamps of one zone, durations, or times of day: the finer unit, if no value is too far off for it."""
    if getattr(left.type, "tz", None) != getattr(right.type, "tz", None):
        raise NoTypeError
    finer = max(left, right, key=lambda field: UNITS.index(field.type.unit)).type
    unfit = _unfit(left, right)
    if finer.unit in unfit:
        raise NoTypeError(f"some of the values do not fit the unit {finer.unit}")
    return _leaf(left.name, finer, unfit)


def _texts(left: Field, right: Field) -> Field:
    return left if left.type == right.type else pa.field(left.name, pa.large_string())


def _bytes(left: Field, right: Field) -> Field:
    return left if left.type == right.type else pa.field(left.name, pa.large_binary())


def _lists(left: Field, right: Field) -> Field:
    kinds = [left.type, right.type]
    [item] = [wider(one, other) for one, other in zip(inner(kinds[0]), inner(kinds[1]), strict=True)]
    sizes = {kind.list_size if pa.types.is_fixed_size_list(kind) else None for kind in kinds}
    if len(sizes) == 1 and None not in sizes:
        kind: Any = pa.list_(item, sizes.pop())
    else:
        kind = pa.large_list(item) if any(map(pa.types.is_large_list, kinds)) else pa.list_(item)
    return pa.field(left.name, kind)


def _structs(left: Field, right: Field) -> Field:
    fields = {one.name: one for one in inner(left.type)}
    for one in inner(right.type):
        fields[one.name] = wider(fields[one.name], one) if one.name in fields else one
    return pa.field(left.name, pa.struct(list(fields.values())))


def _maps(left: Field, right: Field) -> Field:
    key, item = [wider(one, other) for one, other in zip(inner(left.type), inner(right.type), strict=True)]
    return pa.field(left.name, rebuilt(left.type, [key.with_nullable(False), item]))


def _any_of(*tests: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda kind: any(test(kind) for test in tests)


_types = pa.types
_Form: TypeAlias = tuple[Callable[[Any], bool], Callable[[Field, Field], Field]]
_FORMS: tuple[_Form, ...] = (
    (_any_of(_types.is_integer, _types.is_floating, _types.is_decimal), _numbers),
    (_types.is_timestamp, _moments),
    (_types.is_duration, _moments),
    (_types.is_time, _moments),
    (_any_of(_types.is_string, _types.is_large_string), _texts),
    (_any_of(_types.is_binary, _types.is_large_binary, _types.is_fixed_size_binary), _bytes),
    (_any_of(_types.is_list, _types.is_large_list, _types.is_fixed_size_list), _lists),
    (_types.is_struct, _structs),
    (_types.is_map, _maps),
)
