"""`azureml.core.runconfig`: what a container would be like, recorded; the running interpreter is used."""

from __future__ import annotations

from typing import Any

from batch_score.azureml.core.environment import CondaDependencies, Environment, Section

__all__ = ["DEFAULT_CPU_IMAGE", "DEFAULT_GPU_IMAGE", "CondaDependencies", "DockerConfiguration", "RunConfiguration"]

# There are no images here; existing code names them.
DEFAULT_CPU_IMAGE = "local"
DEFAULT_GPU_IMAGE = "local"


class DockerConfiguration(Section):
    """Settings of a container."""


class RunConfiguration:
    """An environment and where it would run."""

    def __init__(self, *_: Any, **_others: Any) -> None:
        self.environment = Environment()
        self.target: Any = "local"
        self.docker = DockerConfiguration(use_docker=False)
