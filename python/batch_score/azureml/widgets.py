"""`azureml.widgets`, from which notebooks import a name."""

from __future__ import annotations

from batch_score.azureml.pipeline.core import RunDetails

__all__ = ["RunDetails"]
