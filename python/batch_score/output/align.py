"""Which item of the mini-batch each returned element belongs to.

The frame handed to `run()` has an index called `row`, so pandas carries the tie through filters, joins and sorts.
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


def positions(returned: Returned, items: int, *, indexed: bool) -> Positions | None:
    """Finds the item of every returned element.

    A DataFrame or Series is aligned by its index when that is the one of the mini-batch, as its name tells; a label
    may repeat, for several records per item. So is one whose index has no name and each label of the mini-batch once.
    Otherwise, and for every other form, elements are aligned by position when there are as many as items.

    Args:
        returned: What `run()` returned.
        items: Number of items handed to `run()`.
        indexed: Whether they were rows of a frame, with labels from 0, and not files.

    Returns:
        `[length]` positions into the items, a range if each element belongs to the item in its own place; None when
        nothing ties the elements to the items.
    """
    if indexed and (is_frame(returned.value) or is_series(returned.value)):
        found = _by_index(returned.value.index, items)
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


def _by_index(labels: pd.Index[Any], items: int) -> Positions | None:
    """The labels, if they are known to be those of the mini-batch.

    Labels without a name may be those of a new frame that was filtered or sorted, or of groups, whatever their
    numbers: no key is better than a wrong one. If each label of the mini-batch is there once, it makes no difference.
    """
    if labels.dtype.kind not in "iu" or labels.name not in (ROW, None):
        return None
    values = labels.to_numpy().astype(np.int64, copy=False)
    if labels.name is None and not (len(values) == items and np.array_equal(np.sort(values), np.arange(items))):
        return None
    if len(values) == items and np.array_equal(values, np.arange(items)):
        return range(items)
    return values if ((values >= 0) & (values < items)).all() else None
