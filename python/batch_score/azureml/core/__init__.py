"""The names of `azureml.core`, working on this machine alone; each is loaded when it is first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batch_score._native import __version__

if TYPE_CHECKING:
    from batch_score.azureml.core.compute import ComputeTarget
    from batch_score.azureml.core.datastore import Datastore
    from batch_score.azureml.core.environment import Environment
    from batch_score.azureml.core.experiment import Experiment
    from batch_score.azureml.core.model import Model
    from batch_score.azureml.core.run import Run
    from batch_score.azureml.core.workspace import Workspace

__all__ = ["ComputeTarget", "Dataset", "Datastore", "Environment", "Experiment", "Model", "Run", "Workspace"]

VERSION = __version__

# `Dataset` is imported by name from a module that is laid beside this package.
_HOME = {
    "ComputeTarget": "batch_score.azureml.core.compute",
    "Dataset": "batch_score.azureml.core.dataset",
    "Datastore": "batch_score.azureml.core.datastore",
    "Environment": "batch_score.azureml.core.environment",
    "Experiment": "batch_score.azureml.core.experiment",
    "Model": "batch_score.azureml.core.model",
    "Run": "batch_score.azureml.core.run",
    "Workspace": "batch_score.azureml.core.workspace",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
