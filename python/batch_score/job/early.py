"""The interpreters of a job's workers, started before the rest of the job is prepared.

What they import takes as long as opening the input and preparing the job, and there is more than one core.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch_score.engine.interpreter import Waiting
from batch_score.errors import BatchScoreError
from batch_score.gpu.nvml import read_devices
from batch_score.gpu.placement import near
from batch_score.job.placing import placement, threads, with_usable_device
from batch_score.job.surroundings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_score.config import ParallelRunConfig
    from batch_score.gpu.device import Inventory

# More would hold up what there is to say of the input, should it be bad.
MOST = 16


@dataclass(frozen=True)
class Early:
    """What a job has before it is prepared.

    Attributes:
        inventory: The devices of this machine.
        waiting: Interpreters that the job's workers can be.
    """

    inventory: Inventory
    waiting: Waiting


@contextmanager
def early(config: ParallelRunConfig) -> Iterator[Early]:
    """Looks for devices and starts interpreters; those that no worker has become are killed in the end.

    Where something is wrong nothing is started, and preparing the job says what it is.

    Args:
        config: Settings of the job. The runtime flags that may be among its arguments do not matter here.
    """
    found = Early(read_devices(), Waiting())
    try:
        if config.engine != "inline":
            with suppress(BatchScoreError, OSError):
                _start(found, config)
        yield found
    finally:
        found.waiting.close()


def _start(found: Early, given: ParallelRunConfig) -> None:
    config, _ = with_usable_device(given, found.inventory)
    assignments, _ = placement(config, found.inventory)
    for assignment in assignments[:MOST]:
        surroundings = environment(config, assignment, threads(assignments), {})
        cpus = near(assignment.unit, os.sched_getaffinity(0))
        found.waiting.start(surroundings, cpus, assignment.environment)
