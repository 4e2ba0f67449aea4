"""Is it a pandas value? Answered without importing pandas: what has not imported it cannot have made one.

pandas takes longer to import than anything else here, and jobs over files or with a model never need it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TypeGuard

    import pandas as pd


def is_frame(value: object) -> TypeGuard[pd.DataFrame]:
    """Whether `value` is a DataFrame."""
    kind = _of_pandas("DataFrame")
    return kind is not None and isinstance(value, kind)


def is_series(value: object) -> TypeGuard[pd.Series[Any]]:
    """Whether `value` is a Series."""
    kind = _of_pandas("Series")
    return kind is not None and isinstance(value, kind)


def is_missing(value: object) -> bool:
    """Whether `value` is one of pandas's own marks for a missing value."""
    return value is not None and (value is _of_pandas("NA") or value is _of_pandas("NaT"))


def _of_pandas(name: str) -> Any:
    """What pandas calls so; None if it is not imported, or another thread is at importing it."""
    return getattr(sys.modules.get("pandas"), name, None)
