"""The GPUs of a job's workers, as the monitor records them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from batch_score.gpu.nvml import gpu_sampler
from batch_score.logs.tree import process_name
from batch_score.monitor.sample import GpuSample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import ExitStack

    from batch_score.gpu.device import Sample
    from batch_score.gpu.placement import Assignment

logger = logging.getLogger(__name__)


def gpu_samples(assignments: Iterable[Assignment], stack: ExitStack) -> Callable[[], list[GpuSample]] | None:
    """What looks at the devices of `assignments`, None when there are none; `stack` closes the driver's library."""
    owners = {one.unit.uuid: process_name(one.worker) for one in assignments if one.unit is not None}
    if not owners:
        return None
    sampler = stack.enter_context(gpu_sampler())
    if sampler.reason:
        logger.warning("the GPUs are not sampled: %s", sampler.reason)
    return lambda: [_row(one, owners[one.uuid]) for one in sampler.samples() if one.uuid in owners]


def _row(sample: Sample, process: str) -> GpuSample:
    return GpuSample(
        device=sample.index,
        uuid=sample.uuid,
        process=process,
        percent=sample.gpu_percent,
        memory_total=sample.memory_total,
        memory_used=sample.memory_used,
        power_w=sample.power_w,
        temperature_c=sample.temperature_c,
        sm_clock_mhz=sample.sm_clock_mhz,
        memory_clock_mhz=sample.memory_clock_mhz,
        throttle=", ".join(sample.throttle_reasons),
    )
