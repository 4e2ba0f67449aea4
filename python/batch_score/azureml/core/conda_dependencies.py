"""`azureml.core.conda_dependencies`, under the name that existing code imports."""

from __future__ import annotations

from batch_score.azureml.core.environment import CondaDependencies

__all__ = ["CondaDependencies"]
