"""Which devices and cores each worker gets."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.errors import ScorerError
from batch_score.gpu.placement import (
    MASK,
    chosen,
    cpu_count,
    default_workers,
    mask_warning,
    oversubscription_note,
    place,
    usable,
    warnings_of,
)
from batch_score.worker.pulse import MOST_READERS

if TYPE_CHECKING:
    from batch_score.config import ParallelRunConfig
    from batch_score.gpu.device import Inventory
    from batch_score.gpu.placement import Assignment, Names


def placement(config: ParallelRunConfig, inventory: Inventory) -> tuple[list[Assignment], list[str]]:
    """The device of each worker, and what should be said about it."""
    given = {**os.environ, **(config.environment_variables or {})}
    cpu_only = config.device == "cpu"
    units = [] if cpu_only else usable(inventory.devices, given.get(MASK))
    if config.device in ("cuda", "tensorrt") and not units:
        mask = "" if given.get(MASK) is None else f"{MASK}={given[MASK]} leaves none"
        why = "; ".join(filter(None, [inventory.lacking, mask])) or "none admits a process"
        raise ScorerError(f"device {config.device} was asked for, but no GPU is usable: {why}")
    if config.gpus:
        units = chosen(units, config.gpus)
    workers = config.process_count_per_node or default_workers(units, usable_cpus(), config.processes_per_gpu)
    workers = 1 if config.engine == "inline" else workers
    notes = [
        mask_warning(inventory.devices, given.get(MASK), given.get("CUDA_DEVICE_ORDER")),
        oversubscription_note(units, workers),
        *warnings_of(inventory.devices, units, workers),
    ]
    names: Names = "index" if config.gpu_names == "index" else "uuid"
    return place(units, workers, names=names), [note for note in notes if note]


def usable_cpus() -> int:
    """CPU cores that this process may use: affinity and cgroup quota."""
    return cpu_count(len(os.sched_getaffinity(0)), read_text)


def threads(assignments: list[Assignment]) -> int:
    """A worker's share of the cores: what libraries of threads get that nobody has told another number.

    Each of them would take all cores in each worker, and the workers would be in each other's way.
    """
    return max(1, usable_cpus() // len(assignments))


def reader_threads(config: ParallelRunConfig, assignments: list[Assignment]) -> tuple[int, int]:
    """How many threads of a worker read ahead, at first and at most."""
    if config.reader_threads is not None:
        return config.reader_threads, config.reader_threads
    return 1, min(MOST_READERS, threads(assignments))


def read_text(path: str) -> str | None:
    """A file's text, None if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def with_usable_device(config: ParallelRunConfig, inventory: Inventory) -> tuple[ParallelRunConfig, list[str]]:
    """Settles `auto` for a model: the CPU, said aloud, if the installed runtime cannot use the GPUs that are there."""
    if config.device != "auto" or not inventory.devices or not is_model(config):
        return config, []
    from batch_score.onnx.providers import providers_for  # noqa: PLC0415 - few jobs come here
    from batch_score.onnx.runtime import available_providers  # noqa: PLC0415 - an optional package

    try:
        providers_for("cuda", available_providers(), gpu=True)
    except ScorerError as error:
        return replace(config, device="cpu"), [f"the model runs on the CPU: {error}"]
    return config, []


def is_model(config: ParallelRunConfig) -> bool:
    """The scorer is an ONNX model, as its name tells."""
    return (config.entry_script or "").lower().endswith(".onnx")
