"""What a worker's process finds in its environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.config import ParallelRunConfig
    from batch_score.gpu.placement import Assignment

# What glibc's allocator would come to by itself after larger blocks: the memory of a mini-batch is that of the one
# before, and not given back to the kernel between them.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}


def environment_notes(config: ParallelRunConfig) -> list[str]:
    """What the environment that a script was written for has other than this interpreter, if it can tell."""
    differences = getattr(config.environment, "differences", None)
    return [f"environment: {text}" for text in differences()] if callable(differences) else []


def with_version(model_dir: str | None) -> str | None:
    """A registered model by name and version, so that the run goes on with the same one; all else as it is."""
    if model_dir is None or Path(model_dir).exists():
        return model_dir
    from batch_score.registry import Registry  # noqa: PLC0415 - few jobs have a registered model

    try:
        return Registry().get(model_dir).id
    except ModelError as error:
        raise ModelError(f"model_dir {model_dir}: there is no such file or folder, and {error}") from error


def _model_folder(model_dir: str | None) -> Path | None:
    """The folder that holds the job's model, None for none."""
    if model_dir is None:
        return None
    path = Path(model_dir).absolute()
    if path.exists():
        return path if path.is_dir() else path.parent
    from batch_score.registry import Registry  # noqa: PLC0415 - as above

    return Registry().get(model_dir).folder


def variables(output: Path, run_dir: Path, model_dir: str | None) -> dict[str, str]:
    """What scripts look up of their job."""
    folder = _model_folder(model_dir)
    return {
        "AZUREML_BI_OUTPUT_PATH": str(output),
        "AZUREML_RUN_ID": run_dir.name,
        "AZUREML_CR_NODE_RANK": "0",
        "BATCH_SCORE_RUN_DIR": str(run_dir),
        **({"AZUREML_MODEL_DIR": str(folder)} if folder else {}),
    }


def environment(
    config: ParallelRunConfig, assignment: Assignment, threads: int, variables: dict[str, str]
) -> dict[str, str]:
    """A worker's whole environment; the device mask wins over everything, defaults over nothing.

    Raises:
        ConfigError: One of the variables that the settings have cannot be in an environment.
    """
    own = config.environment_variables or {}
    _check_usable(own)
    return {
        "OMP_NUM_THREADS": str(threads),
        **KEEP_MEMORY,
        **os.environ,
        **variables,
        **own,
        **assignment.environment,
    }


def _check_usable(given: Mapping[str, str]) -> None:
    """Python itself refuses such names and values, but not before a worker has been started with them."""
    for name, value in given.items():
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(
                f"environment_variables has {name!r} with the value {value!r}: a name needs at least one character, "
                "none of them =, and neither may hold a NUL; give another one"
            )
