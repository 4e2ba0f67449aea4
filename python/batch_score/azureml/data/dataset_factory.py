"""`azureml.data.dataset_factory`, from which existing code imports some names."""

from __future__ import annotations

from batch_score.azureml.data import Dataset, DataType

FileDatasetFactory = Dataset.File
TabularDatasetFactory = Dataset.Tabular

__all__ = ["DataType", "FileDatasetFactory", "TabularDatasetFactory"]
