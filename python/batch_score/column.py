"""Arrow arrays over numpy's memory.

`pyarrow.array()` is not used for these: at its first call it imports pandas, to see whether it was given a Series. That
takes longer than all else a worker imports, and a job with a model needs no pandas.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


# What becomes of the integers of a column that is read as float64, in the metadata of its field: of those in the part
# of the input that was looked at, each stays itself, or some become one.
EXACT, ROUNDED = {b"integers": b"exact"}, {b"integers": b"rounded"}
LARGEST_EXACT = 2**53


def has_large(values: pa.ChunkedArray[Any]) -> bool:
    """Whether numbers are whole and some of them so large that a float64 stands for several integers."""
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        return False
    found = values.drop_null().to_numpy()
    large = (found > LARGEST_EXACT) | (found < -LARGEST_EXACT)
    return bool(large.any() and (np.isfinite(found) & (found == np.trunc(found))).all())


def spelled(column: Any, kind: pa.DataType) -> Any:
    """Decimals that are to become floats as text, which Arrow rounds correctly; its cast of decimals does not."""
    return column.cast(pa.string()) if pa.types.is_decimal(column.type) and pa.types.is_floating(kind) else column


def as_column(values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> pa.Array[Any]:
    """Numbers as an Arrow array; their memory is shared if it is in one piece.

    Args:
        values: `[rows]` of integers or floats in native byte order.
        missing: `[rows]`, which of them are null; None for none.
    """
    dense = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(dense.dtype), len(dense), [_valid(missing), _shared(dense)])


def text_column(ends: NDArray[np.int32], characters: bytes, missing: NDArray[np.bool_] | None = None) -> pa.Array[Any]:
    """Texts that stand one after the other as an Arrow array of strings.

    Args:
        ends: `[rows + 1]`, where the first begins and each ends.
        characters: Their UTF-8.
        missing: As for `as_column`.
    """
    return pa.StringArray.from_buffers(len(ends) - 1, _shared(ends), pa.py_buffer(characters), _valid(missing))


def as_texts(texts: Sequence[str]) -> pa.Array[Any]:
    """Texts as an Arrow array of strings.

    Raises:
        UnicodeEncodeError: A text has a lone surrogate.
        OverflowError: Together they are longer than such an array can be.
    """
    encoded = [text.encode() for text in texts]
    ends = np.fromiter(accumulate(map(len, encoded), initial=0), np.int32, len(encoded) + 1)
    return text_column(ends, b"".join(encoded))


def constant_text(text: str, count: int) -> pa.Array[Any]:
    """The same text `count` times: a dictionary costs one byte a row where the text would cost its length."""
    return pa.DictionaryArray.from_arrays(as_column(np.zeros(count, dtype=np.int8)), _one_text(text))


@lru_cache(maxsize=64)  # the mini-batches of a file follow each other
def _one_text(text: str) -> pa.Array[Any]:
    return as_texts([text])


def _valid(missing: NDArray[np.bool_] | None) -> pa.Buffer | None:
    if missing is None or not missing.any():
        return None
    return _shared(np.packbits(~missing, bitorder="little"))


def _shared(array: Any) -> pa.Buffer:
    return pa.py_buffer(array)
