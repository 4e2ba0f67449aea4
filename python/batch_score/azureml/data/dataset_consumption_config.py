"""`azureml.data.dataset_consumption_config`, from which existing code imports a name."""

from __future__ import annotations

from batch_score.azureml.data import DatasetConsumptionConfig

__all__ = ["DatasetConsumptionConfig"]
