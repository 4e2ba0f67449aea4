"""What `batch-score gpus` shows: the GPUs, who would get which, and what to know about them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

from batch_score.gpu.nvml import read_devices
from batch_score.gpu.placement import MASK
from batch_score.job.placing import placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.config import ParallelRunConfig
    from batch_score.gpu.device import Device, Inventory
    from batch_score.gpu.placement import Assignment

_MIB = 1 << 20


def show_gpus(config: ParallelRunConfig, stream: TextIO, *, as_json: bool) -> None:
    """Writes what this machine has and what each worker of a job with `config` would get."""
    inventory = read_devices()
    assignments, notes = placement(config, inventory)
    if as_json:
        stream.write(json.dumps(gpus_json(inventory, assignments, notes)) + "\n")
    else:
        stream.write(gpus_text(inventory, assignments, notes) + "\n")


def gpus_text(inventory: Inventory, assignments: Sequence[Assignment], warnings: Sequence[str]) -> str:
    """The GPUs, the workers' devices and the warnings as lines for a person; ends without a newline."""
    lines = [line for device in inventory.devices for line in _device_lines(device)]
    if not lines:
        lines.append(f"no GPU: {inventory.reason or 'the driver shows none to this process'}")
    lines.append("")
    lines.extend(_worker_lines(assignments))
    notes = [*inventory.unreadable, *warnings]
    if notes:
        lines.extend(["", *(f"warning: {note}" for note in notes)])
    return "\n".join(lines)


def gpus_json(inventory: Inventory, assignments: Sequence[Assignment], warnings: Sequence[str]) -> dict[str, Any]:
    """The same as one object for a program; memory in bytes, what the driver does not say is null."""
    return {
        "driver": inventory.driver or None,
        "reason": inventory.reason or None,
        "devices": [asdict(device) for device in inventory.devices],
        "workers": [
            {
                "worker": assignment.worker,
                "device": assignment.unit.uuid if assignment.unit else None,
                "environment": assignment.environment,
            }
            for assignment in assignments
        ],
        "warnings": [*inventory.unreadable, *warnings],
    }


def _device_lines(device: Device) -> list[str]:
    capability = ".".join(map(str, device.compute_capability)) if device.compute_capability else "?"
    mig = f", cut into {len(device.slices)} MIG slices" if device.mig_enabled else ""
    memory = _memory(device.memory_used, device.memory_total)
    return [
        f"GPU {device.index}  {device.uuid}  {device.name}, compute {capability}, {memory}{mig}",
        *(f"  slice  {part.uuid}  {_memory(part.memory_used, part.memory_total)}" for part in device.slices),
    ]


def _worker_lines(assignments: Sequence[Assignment]) -> list[str]:
    if not any(assignment.unit for assignment in assignments):
        count = len(assignments)
        return [f"{count} {'worker' if count == 1 else 'workers'} by default, on the CPU"]
    return [f"worker {assignment.worker}  {MASK}={assignment.visible}" for assignment in assignments]


def _memory(used: int | None, total: int | None) -> str:
    if total is None:
        return "memory unknown"
    return f"{'?' if used is None else used // _MIB} of {total // _MIB} MiB used"
