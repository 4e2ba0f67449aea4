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
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def is_series(value: object) -> TypeGuard[pd.Series[Any]]:
    """Whether `value` is a Series."""
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.Series)


def is_missing(value: object) -> bool:
    """Whether `value` is one of pandas's own marks for a missing value."""
    pandas: Any = sys.modules.get("pandas")
    return pandas is not None and (value is pandas.NA or value is pandas.NaT)
