"""`azureml.core.dataset`: the `Dataset` of `batch_score.azureml.data`, loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

HOME = "batch_score.azureml.data"


def __getattr__(name: str) -> Any:
    if name != "Dataset":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(HOME).Dataset
