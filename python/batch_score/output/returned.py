"""What `run()` may return, and how its elements are counted."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Coroutine, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batch_score.errors import ReturnTypeError
from batch_score.output.frames import is_frame, is_series

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 200

Elements: TypeAlias = "list[Any] | tuple[Any, ...] | pd.DataFrame | pd.Series[Any] | npt.NDArray[Any] | pa.Table"


@dataclass(frozen=True, slots=True)
class Returned:
    """A value that came back from `run()` and can be counted.

    Attributes:
        value: The elements; a generator was consumed into a list, an Arrow record batch became a table.
        length: Number of elements: `len()`, or the length of the first axis.
    """

    value: Elements
    length: int


def accept(value: object) -> Returned:
    """Checks what `run()` returned and counts its elements.

    A generator or another iterator is consumed here, so the call belongs inside the time limit of `run()`.

    Args:
        value: Whatever the entry script returned.

    Returns:
        The elements and their number.

    Raises:
        ReturnTypeError: For a value without items to count (`None`, `str`, `bytes`, `dict`, a number, an array
            without axes, a coroutine, anything else).
    """
    elements = _materialised(value)
    if isinstance(elements, list | tuple) or is_frame(elements) or is_series(elements):
        return Returned(elements, len(elements))
    if isinstance(elements, pa.Table):
        return Returned(elements, elements.num_rows)
    if isinstance(elements, np.ndarray) and elements.ndim > 0:
        return Returned(elements, elements.shape[0])
    raise ReturnTypeError(_refusal(value))


def _materialised(value: object) -> object:
    # A reader is an iterator over batches: as a list its length would be batches, not rows.
    if isinstance(value, pa.RecordBatchReader):
        return value.read_all()
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if isinstance(value, Iterator):
        return list(value)
    return value


def _refusal(value: object) -> str:
    name = type(value).__name__
    if inspect.isawaitable(value) or isinstance(value, AsyncIterable):
        if isinstance(value, Coroutine):
            value.close()  # else Python warns later, without context, that it was never awaited
        return (
            f"run() returned {name}, which nothing awaits: make run() a plain function, and finish asynchronous "
            "work inside it, for example with asyncio.run()"
        )
    if isinstance(value, np.ndarray):
        name = "an array without axes"
    return (
        f"run() returned {name}: return a list, tuple, DataFrame, Series, array or Arrow table with one element "
        f"per item that succeeded (an empty list if none did){_beginning(value)}"
    )


def _beginning(value: object) -> str:
    """The first characters of a text: scripts that catch their own errors return them as one."""
    return f"; the text begins {value[:_SHOWN]!r}" if isinstance(value, str) else ""
