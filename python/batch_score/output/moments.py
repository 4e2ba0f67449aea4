"""Whether Arrow's type for Python's dates and times holds all of them, as its inference does not promise.

It goes by the first values: a column that begins with dates drops the time of day of what follows, one with and
without time zones takes all for the same, and of what pandas has in nanoseconds microseconds are left.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.output.nested import inner, rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterable


class InexactError(ValueError):
    """No one type of Arrow holds the values."""


def has_moments(kind: Any) -> bool:
    """Whether values of a type are dates, times or durations, or have some inside."""
    if pa.types.is_nested(kind):
        return any(has_moments(one.type) for one in inner(kind))
    return bool(pa.types.is_temporal(kind))


def exact(kind: Any, values: Iterable[Any]) -> Any:
    """The type in which the values are kept as they are: `kind`, or one of nanoseconds.

    Args:
        kind: What Arrow has inferred from the values.
        values: As they were given to it. Those of numpy and Arrow need no look: Arrow does not mix their units.

    Raises:
        InexactError: There is none.
    """
    if not has_moments(kind):
        return kind
    present = [value for value in values if value is not None]
    if pa.types.is_struct(kind):
        fields = [(one, [_member(value, one.name) for value in present]) for one in inner(kind)]
        return rebuilt(kind, [one.with_type(exact(one.type, found)) for one, found in fields])
    if pa.types.is_nested(kind):
        [item] = inner(kind)
        below = (one for value in present if not _is_of_numbers(value) for one in value)
        return rebuilt(kind, [item.with_type(exact(item.type, below))])
    _refuse_mixed(kind, present)
    return _in_nanoseconds(kind) if any(map(_nanoseconds, present)) else kind


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _is_of_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind != "O"


def _refuse_mixed(kind: Any, values: list[Any]) -> None:
    if pa.types.is_date(kind):
        inexact = any(isinstance(value, datetime) for value in values)
    elif pa.types.is_timestamp(kind):
        inexact = len({value.tzinfo is None for value in values if _is_date_and_time(value)}) > 1
    else:
        inexact = any(isinstance(value, time) and value.tzinfo is not None for value in values)
    if inexact:
        raise InexactError


def _is_date_and_time(value: Any) -> bool:
    return isinstance(value, datetime) and value == value  # noqa: PLR0124 - pandas's mark for a missing one is one too


def _nanoseconds(value: Any) -> int:
    """What pandas's values have below the microsecond; Python's have nothing there."""
    if isinstance(value, date):
        return int(getattr(value, "nanosecond", 0)) if _is_date_and_time(value) else 0
    return int(value.nanoseconds) if isinstance(value, timedelta) and hasattr(value, "nanoseconds") else 0


def _in_nanoseconds(kind: Any) -> Any:
    return pa.timestamp("ns", kind.tz) if pa.types.is_timestamp(kind) else pa.duration("ns")
