"""The names that existing pipeline code imports from Azure Machine Learning's SDK v1, working on this machine alone.

`from batch_score.azureml import ...` has them all; the spellings of the SDK (`azureml.core`, `azureml.data`,
`azureml.pipeline.core`, `azureml.pipeline.steps`) work with `batch_score.` before them. Each name is loaded when it is
first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_CORE = ("ComputeTarget", "Datastore", "Environment", "Experiment", "Model", "Run", "Workspace")
_DATA = (
    *("DataType", "Dataset", "DatasetConsumptionConfig", "FileDataset", "OutputFileDatasetConfig", "PipelineOutput"),
    "TabularDataset",
)
_PIPELINE = ("Pipeline", "PipelineData", "PipelineRun", "RunDetails", "StepRun", "StepSequence")
_STEPS = ("ParallelRunConfig", "ParallelRunStep", "PipelineParameter", "PythonScriptStep")

_HOME = {
    **dict.fromkeys(_CORE, "batch_score.azureml.core"),
    "AmlCompute": "batch_score.azureml.core.compute",
    "RunConfiguration": "batch_score.azureml.core.runconfig",
    **dict.fromkeys(_DATA, "batch_score.azureml.data"),
    **dict.fromkeys(_PIPELINE, "batch_score.azureml.pipeline.core"),
    **dict.fromkeys(_STEPS, "batch_score.azureml.pipeline.steps"),
}
# Why a name of the SDK is not here, and what to do instead.
_INSTEAD = {
    "DataReference": "give the path of the data, or a Dataset",
    "DataTransferStep": "copy the files in a PythonScriptStep",
    "DatabricksStep": "steps run on this machine: use a PythonScriptStep",
    "PublishedPipeline": "call submit() from a script, and let cron or another scheduler run that",
    "Schedule": "call submit() from a script, and let cron or another scheduler run that",
}

__all__ = sorted(_HOME)  # noqa: PLE0605 - the names of the table above


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _INSTEAD:
        raise AttributeError(f"batch_score.azureml has no {name}: {_INSTEAD[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
