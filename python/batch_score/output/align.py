"""Which item of the mini-batch each returned element belongs to.

The frame handed to `run()` is indexed by row ordinal, so pandas carries the tie through filters, joins and sorts.
Everything else has only its order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from batch_score.minibatch import ROW
from batch_score.output.frames import is_frame, is_series

if TYPE_CHECKING:
    import pandas as pd

    from batch_score.output.returned import Returned

# A range where each element belongs to the item in its own place.
Positions: TypeAlias = npt.NDArray[np.int64] | range


def positions(returned: Returned, items: int, ordinals: npt.NDArray[np.integer[Any]] | None) -> Positions | None:
    """Finds the item of every returned element.

    A DataFrame or Series is aligned by its index when every label is a row ordinal of the mini-batch; a label may
    repeat, for several records per item. Otherwise, and for every other form, elements are aligned by position
    when there are as many as items.

    Args:
        returned: What `run()` returned.
        items: Number of items handed to `run()`.
        ordinals: `[items]`, the distinct row ordinals that index the frame; gaps are allowed. None for files.

    Returns:
        `[length]` positions into the items, a range if each element belongs to the item in its own place; None when
        nothing ties the elements to the items.
    """
    if ordinals is not None and (is_frame(returned.value) or is_series(returned.value)):
        found = _by_index(returned.value.index, ordinals)
        if found is not None:
            return found
    return range(items) if returned.length == items else None


def missing_items(where: Positions | None, items: int) -> Positions:
    """Finds the items that have no element, as far as a returned index shows it.

    Args:
        where: What `positions` found.
        items: Number of items handed to `run()`.

    Returns:
        Ascending positions of the items without an element; empty when it cannot be known which ones are missing.
    """
    if where is None or isinstance(where, range):
        return range(0)
    present = np.zeros(items, dtype=np.bool_)
    present[where] = True
    return np.flatnonzero(~present).astype(np.int64, copy=False)


def _by_index(labels: pd.Index[Any], ordinals: npt.NDArray[np.integer[Any]]) -> Positions | None:
    import pandas as pd  # noqa: PLC0415 - loaded already: `labels` is of it

    if labels.dtype.kind not in "iu" or not _may_hold_ordinals(labels, len(ordinals)):
        return None
    if len(labels) == len(ordinals) and np.array_equal(labels.to_numpy(), ordinals):
        return range(len(ordinals))
    found = pd.Index(ordinals).get_indexer(labels)
    return found.astype(np.int64, copy=False) if (found >= 0).all() else None


def _may_hold_ordinals(labels: pd.Index[Any], items: int) -> bool:
    """Tells an index that came from the frame from one that merely holds small integers.

    The labels of a new short frame, or of groups, look like ordinals in the first mini-batch of a file. No key is
    better than a wrong one.
    """
    if labels.name == ROW:
        return True
    start, step = getattr(labels, "start", None), getattr(labels, "step", None)  # of a RangeIndex
    fresh = (start, step) == (0, 1) and len(labels) < items
    return labels.name is None and not fresh and not _of_pieces(labels)


def _of_pieces(labels: pd.Index[Any]) -> bool:
    """Whether the labels are those of several new frames one below the other: 0, 1, 0, 1, 2, ..."""
    values = labels.to_numpy().astype(np.int64, copy=False)
    begins = values == 0
    return bool(begins[1:].any() and (begins | (np.diff(values, prepend=-1) == 1)).all())
