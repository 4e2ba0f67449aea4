"""An Arrow table as the DataFrame that an entry script gets."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from batch_score.minibatch import ROW

if TYPE_CHECKING:
    from numpy.typing import NDArray

try:
    _internals: Any = import_module("pandas.api.internals")
except ImportError:  # before pandas 3
    _internals = None


def frame(table: pa.Table) -> pd.DataFrame:
    """The table as a DataFrame whose index `row` counts its rows from 0.

    Column dtypes depend on the settled schema alone, never on the values of one mini-batch.
    """
    # Integers of columns have no nulls; those inside of structs must not become floats because others have.
    result: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    for column in table.schema:
        if pa.types.is_boolean(column.type) and column.nullable:
            result[column.name] = result[column.name].astype(object)
    result.index = _index(table)
    return result


@dataclass(frozen=True)
class _Form:
    """What tables of one schema become, if that is known without looking at their values.

    Attributes:
        columns: The frame's.
        numbers: Columns that share a block: their type, and their places.
        others: Columns that pandas keeps in arrays of its own: their type, and the place.
    """

    columns: pd.Index[Any]
    numbers: list[tuple[np.dtype[Any], NDArray[np.intp]]]
    others: list[tuple[Any, NDArray[np.intp]]]


class Frames:
    """Makes the frames of a worker: as `frame` does, but much sooner where all columns are numbers or text.

    Arrow looks anew at each table at what is the same for all of one schema, which for a few rows takes twenty times
    as long as to copy the values. The memory is the frame's own, so that a script may write to it.
    """

    def __init__(self) -> None:
        self._known: tuple[pa.Schema, _Form | None] | None = None

    def make(self, table: pa.Table) -> pd.DataFrame:
        """The table as a DataFrame; argument and result are those of `frame`."""
        known = self._known  # once: other threads make frames too
        if known is None or known[0] != table.schema:
            known = self._known = table.schema, _form(table.schema)
        form = known[1]
        blocks = None if form is None else _blocks(table, form)
        if form is None or blocks is None:
            return frame(table)
        # A view of the columns: a script may give them a name.
        made: pd.DataFrame = _internals.create_dataframe_from_blocks(
            blocks, index=_index(table), columns=form.columns.view()
        )
        return made


def _form(schema: pa.Schema) -> _Form | None:
    """The form of a schema, None if it has a column of which only the values tell what it becomes."""
    if _internals is None:
        return None
    empty = frame(schema.empty_table())
    numbers: dict[np.dtype[Any], list[int]] = {}
    others: list[tuple[Any, NDArray[np.intp]]] = []
    for place, (column, dtype) in enumerate(zip(schema, empty.dtypes, strict=True)):
        if isinstance(dtype, np.dtype) and (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            numbers.setdefault(dtype, []).append(place)
        elif pa.types.is_string(column.type) and hasattr(dtype, "__from_arrow__"):
            others.append((dtype, np.array([place])))
        else:
            return None
    together = [(dtype, np.array(places)) for dtype, places in numbers.items()]
    return _Form(empty.columns, together, others)


def _blocks(table: pa.Table, form: _Form) -> list[tuple[Any, NDArray[np.intp]]] | None:
    """The columns of a frame as pandas keeps them; None if an integer is missing."""
    blocks: list[tuple[Any, NDArray[np.intp]]] = []
    for dtype, places in form.numbers:
        block = np.empty((len(places), table.num_rows), dtype)
        for row, place in zip(block, places.tolist(), strict=True):
            column = table.column(place)
            if column.null_count and dtype.kind in "iu":
                return None
            row[:] = column.to_numpy()
        blocks.append((block, places))
    blocks += [(dtype.__from_arrow__(table.column(int(places[0]))), places) for dtype, places in form.others]
    return blocks


def _index(table: pa.Table) -> pd.RangeIndex:
    """From 0 in each mini-batch, as scripts expect that put a new frame or Series beside the one they were given.

    Its name is how rows are known again in what a script returns (`output.align`).
    """
    return pd.RangeIndex(table.num_rows, name=ROW)
