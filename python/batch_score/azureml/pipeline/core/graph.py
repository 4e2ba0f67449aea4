"""`azureml.pipeline.core.graph`, from which existing code imports some names."""

from __future__ import annotations

from batch_score.azureml.data import PipelineData
from batch_score.azureml.pipeline.steps import PipelineParameter

__all__ = ["PipelineData", "PipelineParameter"]
