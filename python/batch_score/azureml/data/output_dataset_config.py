"""`azureml.data.output_dataset_config`, from which existing code imports a name."""

from __future__ import annotations

from batch_score.azureml.data import OutputFileDatasetConfig

__all__ = ["OutputFileDatasetConfig"]
