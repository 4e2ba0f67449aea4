"""The model registry, under the name that pipeline code imports; it lies lower because jobs and commands use it too."""

from __future__ import annotations

from batch_score.registry import RegisteredModel, Registry

__all__ = ["RegisteredModel", "Registry"]
