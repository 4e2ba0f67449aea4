"""What `run()` returned as an Arrow table: one row per element, one column per value.

The names of the columns are the frame's, or `prediction`, or `prediction_0 …` for elements of several values.
Values that Arrow cannot hold in one type become their `str()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batch_score.arrow import compute as pc
from batch_score.column import as_column, as_texts
from batch_score.errors import ReturnTypeError
from batch_score.output.frames import is_frame, is_missing, is_series
from batch_score.output.moments import InexactError, exact, has_moments
from batch_score.output.nested import recast

if TYPE_CHECKING:
    import pandas as pd

    from batch_score.output.returned import Returned

# An Arrow array or chunked array. The published stubs of pyarrow reject half of the arguments that its functions
# take, so a precise type would need a cast at every call.
Column: TypeAlias = Any

PREDICTION = "prediction"

# Numbers as they are, in the machine's own order of bytes.
_PLAIN = frozenset(map(np.dtype, "bhilqBHILQefd"))

# What pyarrow raises for values it cannot put into one column; it has no common class for them.
_UNFIT = (pa.ArrowException, TypeError, ValueError, OverflowError)


def tabulate(returned: Returned) -> pa.Table:
    """Turns the returned elements into a table.

    Args:
        returned: What `run()` returned.

    Returns:
        A table of `returned.length` rows, without schema metadata. A DataFrame without columns gives a table
        without columns, which has no rows to Arrow.

    Raises:
        ReturnTypeError: If two columns share a name, or a text is not valid Unicode.
    """
    value = returned.value
    if isinstance(value, pa.Table):
        named = _from_arrow(value)
    elif is_frame(value):
        named = _from_frame(value)
    elif is_series(value):
        named = [(PREDICTION if value.name is None else str(value.name), _from_series(value))]
    elif isinstance(value, np.ndarray):
        named = _from_array(value)
    else:
        named = _from_list(cast("Sequence[Any]", value))
    names = [name for name, _ in named]
    _refuse_duplicates(names)
    return pa.Table.from_arrays([column for _, column in named], names=names)


def _refuse_duplicates(names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ReturnTypeError(
            f"run() returned more than one column named {', '.join(map(repr, twice))}: give every column its own name"
        )


def _from_arrow(table: pa.Table) -> list[tuple[str, Column]]:
    return [(name, _plain(column)) for name, column in zip(table.column_names, table.columns, strict=True)]


def _plain(column: Column) -> Column:
    """Gives a column a type that every form can write; most columns have one already."""
    kind = column.type
    of_values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if isinstance(of_values, pa.BaseExtensionType):
        stored: Any = of_values.storage_type
        return _plain(pa.chunked_array([recast(chunk, stored) for chunk in column.chunks], stored))
    if pa.types.is_run_end_encoded(kind):
        return pc.call_function("run_end_decode", [column])
    if pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_binary_view(kind):
        return column.cast(pa.binary())
    if pa.types.is_union(kind) or pa.types.is_interval(kind):
        return _as_text(column.to_pylist())
    return column


def _from_frame(frame: pd.DataFrame) -> list[tuple[str, Column]]:
    return [(str(name), _from_series(series)) for name, series in frame.items()]


def _from_series(series: pd.Series[Any]) -> Column:
    values = series.to_numpy() if isinstance(series.dtype, np.dtype) else None
    if (
        type(values) is np.ndarray and values.dtype in _PLAIN
    ):  # without Arrow's look at what it may be, which takes long
        return as_column(values, np.isnan(values) if values.dtype.kind == "f" else None)
    try:
        return _inferred(series, from_pandas=True)
    except _UNFIT:
        return _categories_as_text(series) if hasattr(series, "cat") else _as_text(series)


def _categories_as_text(series: pd.Series[Any]) -> Column:
    """Each category is looked at once, and as it is: a missing value among bins of integers makes floats of them."""
    codes = series.cat.codes.to_numpy()
    return _as_text(series.cat.categories).take(as_column(codes, codes < 0))


def _from_array(array: npt.NDArray[Any]) -> list[tuple[str, Column]]:
    if array.dtype.names is not None:
        return [(name, _from_vector(array[name])) for name in array.dtype.names]
    if array.ndim == 1:
        return [(PREDICTION, _from_vector(array))]
    if array.ndim == 2:  # noqa: PLR2004 - rows and columns
        return [(f"{PREDICTION}_{at}", _from_vector(array[:, at])) for at in range(array.shape[1])]
    return [(PREDICTION, _nested(array))]


def _from_vector(vector: npt.NDArray[Any]) -> Column:
    if vector.ndim > 1:
        return _nested(vector)
    if vector.dtype.kind == "O":
        return _from_values(vector.tolist())
    native = vector.astype(vector.dtype.newbyteorder("="), copy=False)
    if type(native) is np.ndarray and native.dtype in _PLAIN:
        return as_column(native)
    try:
        return pa.array(native)
    except _UNFIT:
        return _as_text(native.tolist())


def _nested(array: npt.NDArray[Any]) -> Column:
    """Makes one list per element; the inner axes keep their type, which going through Python would widen."""
    if isinstance(array, np.ma.MaskedArray) or array.dtype.kind == "O":
        return _from_values(array.tolist())
    column = _from_vector(np.ascontiguousarray(array).reshape(-1))
    for axis in range(array.ndim - 1, 0, -1):
        size, lists = array.shape[axis], int(np.prod(array.shape[:axis]))
        offsets = pa.array(np.arange(lists + 1, dtype=np.int64) * size, pa.int32())
        column = pa.ListArray.from_arrays(offsets, column)
    return column


def _from_list(elements: Sequence[Any]) -> list[tuple[str, Column]]:
    present = [element for element in elements if element is not None]
    if present and all(isinstance(element, Mapping) for element in present):
        return _from_records(elements, present)
    if present and all(_is_row(element) for element in present):
        width = len(present[0])
        if width > 0 and all(len(element) == width for element in present):
            return _from_rows(elements, width)
    return [(PREDICTION, _from_values(elements))]


def _is_row(element: object) -> bool:
    return isinstance(element, list | tuple) or (isinstance(element, np.ndarray) and element.ndim > 0)


def _from_records(elements: Sequence[Any], present: list[Any]) -> list[tuple[str, Column]]:
    keys: dict[Hashable, None] = {}
    for record in present:
        keys.update(dict.fromkeys(record))
    return [
        (str(key), _from_values([None if record is None else record.get(key) for record in elements])) for key in keys
    ]


def _from_rows(elements: Sequence[Any], width: int) -> list[tuple[str, Column]]:
    empty = (None,) * width
    columns = zip(*(empty if row is None else row for row in elements), strict=True)
    return [(f"{PREDICTION}_{at}", _from_values(list(column))) for at, column in enumerate(columns)]


def _of_one_type(values: Sequence[Any]) -> Column | None:
    """Texts, floats or integers; None for everything else, which is Arrow's to look at, and takes it longer."""
    kinds = set(map(type, values))
    try:
        if kinds == {str}:
            return as_texts(values)
        if kinds in ({float}, {int}):
            return as_column(np.array(values, np.float64 if kinds == {float} else np.int64))
    except (UnicodeEncodeError, OverflowError):
        pass
    return None


def _from_values(values: Sequence[Any]) -> Column:
    plain = _of_one_type(values)
    if plain is not None:
        return plain
    attempts: tuple[Callable[[], Sequence[Any]], ...] = (
        lambda: values,
        lambda: [_as_python(value) for value in values],
    )
    for attempt in attempts:
        try:
            return _inferred(attempt())
        except InexactError:
            break
        except _UNFIT:
            continue
    return _as_text(values)


def _inferred(values: Any, *, from_pandas: bool = False) -> Column:
    """Values as Arrow has them, if that is all they are; some dates and times are only so in another type.

    Raises:
        InexactError: They are more than that, or Arrow has no text for them.
        Exception: One of `_UNFIT`: Arrow has no type for them.
    """
    column = pa.array(values, from_pandas=from_pandas)
    if _is_foreign(column.type):
        raise InexactError
    if not has_moments(column.type) or not _may_be_inexact(values):
        return column
    kind = exact(column.type, values)
    plain = not pa.types.is_nested(kind)  # inside of others, NaN must not become null by the way
    return column if kind == column.type else pa.array(values, kind, from_pandas=from_pandas or plain)


def _may_be_inexact(values: Any) -> bool:
    """Whether Arrow had to infer the type of single values; a Series of another kind has one type."""
    return not hasattr(values, "dtype") or values.dtype == object


def _is_foreign(kind: Any) -> bool:
    """Whether values of a type, or of the one that a dictionary has, are written by nobody but their library."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return isinstance(kind, pa.BaseExtensionType) or pa.types.is_interval(kind)


def _as_python(value: object) -> object:
    if _is_missing_moment(value) or is_missing(value):
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        import pandas as pd  # noqa: PLC0415 - rarely wanted, and slow to import

        return pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return value.item()
    return value


def _as_text(values: Iterable[Any]) -> Column:
    texts = [None if _is_missing(value) else str(value) for value in values]
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError as error:
        raise ReturnTypeError(
            f"run() returned the text {error.object!r}, which is not valid Unicode and cannot be written as UTF-8: "
            "replace its lone surrogates first"
        ) from error


def _is_missing(value: object) -> bool:
    if value is None or is_missing(value) or _is_missing_moment(value):
        return True
    return bool(isinstance(value, float | np.floating) and value != value)  # noqa: PLR0124 - NaN


def _is_missing_moment(value: object) -> bool:
    return isinstance(value, np.datetime64 | np.timedelta64) and bool(np.isnat(value))
