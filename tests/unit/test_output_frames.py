"""Is it a pandas value, asked also while another thread imports pandas."""

import sys
from types import ModuleType

import pandas as pd
import pytest

from batch_score.output.frames import is_frame, is_missing, is_series


def test_values_of_pandas_are_known():
    assert is_frame(pd.DataFrame())
    assert is_series(pd.Series(dtype=float))
    assert is_missing(pd.NA)
    assert is_missing(pd.NaT)
    assert not is_missing(None)


@pytest.mark.parametrize("pandas", [None, ModuleType("pandas")], ids=["not imported", "being imported"])
@pytest.mark.parametrize("value", [[], None, 1.0, "text"])
def test_without_pandas_nothing_is_of_it(pandas, value, monkeypatch):
    if pandas is None:
        monkeypatch.delitem(sys.modules, "pandas")
    else:
        monkeypatch.setitem(sys.modules, "pandas", pandas)
    assert not is_frame(value)
    assert not is_series(value)
    assert not is_missing(value)
