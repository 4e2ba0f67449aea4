"""Arrow columns into the arrays a model is fed, and what it returns into Arrow columns."""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.column import as_column, spelled
from batch_score.errors import RecordError, ScorerError
from batch_score.onnx.binding import arrow_type, feeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from batch_score.onnx.binding import InputPlan

_MATRIX_RANK = 2


def column_values(table: pa.Table, name: str, dtype: str) -> NDArray[Any]:
    """One column as a numpy array of its own type, without a copy where Arrow's memory allows it.

    Nulls of a float input become NaN.

    Raises:
        RecordError: A null where the model takes none, or a value that its type cannot hold.
    """
    chunked = table.column(name)
    column: Any = chunked.chunk(0) if chunked.num_chunks == 1 else chunked.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not feeds(column.type, dtype):
        raise RecordError(f"column {name!r} holds {column.type}, but the model takes {dtype} values from it")
    if dtype.startswith("float"):
        convertible = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        kind = pa.float32() if dtype == "float32" else pa.float64()
        wide = column if convertible else spelled(column, kind).cast(kind)
        return np.asarray(wide.to_numpy(zero_copy_only=False))
    if column.null_count:
        row = column.is_null().index(pa.scalar(True)).as_py()
        raise RecordError(
            f"column {name!r} has no value in row {row} of the mini-batch, but the model takes {dtype} values, "
            "which have no form for a missing one; fill the gaps in the data or write an entry script"
        )
    return _exact(column, name, dtype)


def _exact(column: Any, name: str, dtype: str) -> NDArray[Any]:
    if dtype not in ("string", "bool"):
        try:
            column = column.cast(arrow_type(dtype))
        except pa.ArrowInvalid as error:
            raise RecordError(f"column {name!r} holds a value that is not {dtype}: {error}") from error
    return np.asarray(column.to_numpy(zero_copy_only=False))


def padded(matrix: NDArray[Any], fed: int) -> NDArray[Any]:
    """The `[rows, columns]` as `[fed, columns]`: itself, or a copy with rows of zeros behind."""
    if len(matrix) == fed:
        return matrix
    larger = np.zeros((fed, matrix.shape[1]), matrix.dtype)
    larger[: len(matrix)] = matrix
    return larger


class InputBuffer:
    """The memory of one model input, filled again for each slice of rows."""

    def __init__(self, plan: InputPlan) -> None:
        self._plan = plan
        self._text = plan.dtype == "string"
        self._matrix: NDArray[Any] = self._allocate(0)

    def fill(self, columns: Sequence[NDArray[Any]], start: int, stop: int, fed: int) -> NDArray[Any]:
        """Rows `start` to `stop` of the columns as a C-contiguous `[fed, K]`, or `[fed]` for a flat input.

        Rows beyond `stop - start` are zero or empty text. The array is valid until the next call.
        """
        if len(self._matrix) < fed:
            self._matrix = self._allocate(fed)
        rows = stop - start
        matrix = self._matrix[:fed]
        # A float64 beyond float32's range becomes infinite, which is what the model's type makes of it.
        with np.errstate(over="ignore"):
            for place, column in enumerate(columns):
                matrix[:rows, place] = column[start:stop]
        matrix[rows:] = "" if self._text else 0
        return matrix[:, 0] if self._plan.flat else matrix

    def _allocate(self, rows: int) -> NDArray[Any]:
        dtype = np.dtype(object if self._text else self._plan.dtype)
        return np.empty((rows, len(self._plan.columns)), dtype)


def output_columns(name: str, parts: Sequence[Any], counts: Sequence[int]) -> dict[str, pa.Array[Any]]:
    """One output of the model as named columns.

    `[N]` and `[N, 1]` become one column `name`, `[N, K]` the columns `name_0` to `name_<K-1>`, maps of class scores
    one column `name_<class>` each.

    Args:
        name: Of the output.
        parts: What the model returned for each slice: an array, or a list with one dict a row.
        counts: How many leading rows of each part are answers; the rest answers padding.

    Raises:
        ScorerError: The output has not one value or row of values per row that was fed.
    """
    if all(isinstance(part, list) for part in parts):
        return _class_columns(name, parts, counts)
    for part in parts:
        if np.ndim(part) not in (1, _MATRIX_RANK):
            raise ScorerError(
                f"the model's output {name!r} has the shape {list(np.shape(part))}, which does not become columns; "
                "keep others with --outputs or write an entry script"
            )
    answers = [_leading(name, part, count) for part, count in zip(parts, counts, strict=True)]
    joined = answers[0] if len(answers) == 1 else np.concatenate(answers)
    if joined.ndim == 1 or joined.shape[1] == 1:
        return {name: _arrow(joined.reshape(-1))}
    by_column = np.ascontiguousarray(joined.T)
    return {f"{name}_{place}": _arrow(column) for place, column in enumerate(by_column)}


def _leading(name: str, part: Any, count: int) -> Any:
    if len(part) < count:
        raise ScorerError(
            f"the model's output {name!r} has {len(part)} rows for {count} rows of input; keep others with --outputs "
            "or write an entry script"
        )
    return part[:count]


def _class_columns(
    name: str, parts: Sequence[list[dict[Any, float]]], counts: Sequence[int]
) -> dict[str, pa.Array[Any]]:
    # A padded slice answers at least one row, so the classes are known even when no row counts.
    classes = list(parts[0][0]) if parts[0] else []
    rows = list(chain.from_iterable(_leading(name, part, count) for part, count in zip(parts, counts, strict=True)))
    try:
        return {
            f"{name}_{label}": as_column(np.fromiter(map(itemgetter(label), rows), np.float32, len(rows)))
            for label in classes
        }
    except KeyError as error:
        raise ScorerError(
            f"the model's output {name!r} has no score of class {error} for every row, so its classes do not become "
            "columns; keep others with --outputs or write an entry script"
        ) from error


def _arrow(values: NDArray[Any]) -> pa.Array[Any]:
    if values.dtype == object:
        return pa.array(values, pa.string())
    if values.dtype == np.float16:
        values = values.astype(np.float32)  # few readers of tables know half floats; no value changes
    return pa.array(values) if values.dtype == np.bool_ else as_column(values)
