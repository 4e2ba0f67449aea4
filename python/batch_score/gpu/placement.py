"""Which worker gets which GPU, and how many workers there are. Pure.

The outer `CUDA_VISIBLE_DEVICES` is read as CUDA reads it, and never widened: an entry that names nothing, or is of
another kind than the first, hides every later one, and one that names a device again hides all. The second and third
rule are those of PyTorch (`torch.cuda`), which does as the driver does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from batch_score.errors import ConfigError
from batch_score.gpu.device import ComputeMode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from batch_score.gpu.device import Device, MigSlice

Names = Literal["uuid", "index"]

MASK = "CUDA_VISIBLE_DEVICES"
_CGROUP_ROOT = "/sys/fs/cgroup"
_NEARLY_FULL = 0.9


@dataclass(frozen=True, slots=True)
class Unit:
    """What one worker can be given: a whole GPU or a MIG slice.

    Attributes:
        uuid: `GPU-...` or `MIG-...`.
        index: Of the GPU, in PCI bus order.
        mig: Whether it is a slice.
        cpus: The CPUs near the GPU, none if that is not known.
        product: What it is: the name of the GPU's kind, its compute capability, and a slice's memory.
    """

    uuid: str
    index: int
    mig: bool = False
    cpus: tuple[int, ...] = ()
    product: str = ""

    def name(self, names: Names) -> str:
        """How `CUDA_VISIBLE_DEVICES` names it; a slice has no index of its own."""
        return str(self.index) if names == "index" and not self.mig else self.uuid


@dataclass(frozen=True, slots=True)
class Assignment:
    """What one worker is given. It belongs to the worker's number: whoever replaces the worker inherits it.

    Attributes:
        worker: Number of the worker, counted from 0.
        unit: Its GPU or slice, None when there is none.
        visible: Value of `CUDA_VISIBLE_DEVICES`.
        found: Number of usable GPUs and slices on this machine.
    """

    worker: int
    unit: Unit | None
    visible: str
    found: int

    @property
    def device(self) -> str:
        """The device in words, for logs: its index and UUID."""
        if self.unit is None:
            return "no GPU"
        return f"{'slice of ' if self.unit.mig else ''}GPU {self.unit.index} ({self.unit.uuid})"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that must stand in the worker's environment before its interpreter starts."""
        return {
            # Empty, not unset: for CUDA an unset variable means every GPU.
            MASK: self.visible,
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
            "AZ_BATCHAI_GPU_COUNT_FOUND": str(self.found),
        }


def usable(devices: Sequence[Device], visible: str | None) -> list[Unit]:
    """The GPUs and slices that may be handed out, in the order of the mask.

    A GPU that MIG has cut stands for its slices, one that admits no process for nothing.

    Args:
        devices: The GPUs of the machine.
        visible: The outer `CUDA_VISIBLE_DEVICES`; None when it is not set. Entries are indices in PCI bus order,
            `GPU-` UUIDs or the beginning of one if it fits one GPU only, or the full name of a MIG slice.
    """
    if visible is None:
        return [unit for device in devices for unit in _units(device)]
    units: dict[str, Unit] = {}
    entries = [entry.strip() for entry in visible.split(",")]
    for entry in takewhile(lambda entry: _kind(entry) == _kind(entries[0]), entries):
        named = _named(entry, devices)
        if named is None:
            break
        if any(unit.uuid in units for unit in named):
            return []
        units.update((unit.uuid, unit) for unit in named)
    return list(units.values())


def chosen(units: Sequence[Unit], entries: Sequence[str]) -> list[Unit]:
    """The units that a user has chosen, in the order of the choice.

    Args:
        units: Those that may be handed out.
        entries: Indices in PCI bus order, UUIDs of GPUs or slices, or the beginning of one if it fits one only. A GPU
            that is cut stands for its slices.

    Raises:
        ConfigError: An entry names none of them, or more than one by its beginning, or one that was named before.
    """
    found: dict[str, Unit] = {}
    for entry in entries:
        named = [unit for unit in units if entry in (str(unit.index), unit.uuid)]
        alike = [unit for unit in units if unit.uuid.startswith(entry)]
        named = named or (alike if len(alike) == 1 else [])
        if not named:
            why = "is the beginning of several" if alike else "is no usable GPU"
            usable_ones = ", ".join(f"{unit.index} ({unit.uuid})" for unit in units) or "none"
            raise ConfigError(f"gpus: {entry} {why}; usable are {usable_ones}")
        if any(unit.uuid in found for unit in named):
            raise ConfigError(f"gpus: {entry} is named twice; name each GPU once")
        found.update((unit.uuid, unit) for unit in named)
    return list(found.values())


def near(unit: Unit | None, allowed: Collection[int]) -> tuple[int, ...]:
    """The CPUs on which a worker should run: those near its device that it may use; none for any.

    Args:
        unit: Its device.
        allowed: The CPUs that this process may use.
    """
    cpus = tuple(cpu for cpu in (unit.cpus if unit else ()) if cpu in allowed)
    return () if len(cpus) == len(allowed) else cpus


def place(units: Sequence[Unit], workers: int, *, names: Names = "uuid") -> list[Assignment]:
    """Deals the units to the workers in turn: worker k gets unit k mod n, and nobody gets two."""
    if not units:
        return [Assignment(worker, None, "", 0) for worker in range(workers)]
    dealt = [units[worker % len(units)] for worker in range(workers)]
    return [Assignment(worker, unit, unit.name(names), len(units)) for worker, unit in enumerate(dealt)]


def default_workers(units: Sequence[Unit], cpus: int, per_gpu: int = 1) -> int:
    """So many workers for each unit; without any, one for each CPU."""
    return len(units) * per_gpu or max(1, cpus)


def oversubscription_note(units: Sequence[Unit], workers: int) -> str | None:
    """The one line that says that workers share devices, None when they do not."""
    if not units or workers <= len(units):
        return None
    return (
        f"{workers} workers share {len(units)} {'device' if len(units) == 1 else 'devices'}: worker k gets device k "
        f"modulo {len(units)}"
    )


def warnings_of(devices: Sequence[Device], units: Sequence[Unit], workers: int) -> list[str]:
    """What about the GPUs in use should be known before a job fails of it: one sentence each."""
    used = {unit.index for unit in units}
    shared = oversubscription_note(units, workers) is not None
    return [
        warning for device in devices if device.index in used for warning in _device_warnings(device, shared=shared)
    ]


def mask_warning(devices: Sequence[Device], visible: str | None, order: str | None) -> str | None:
    """Says that indices in the outer mask may have been meant in another order than they are read in.

    Args:
        devices: The GPUs of the machine.
        visible: The outer `CUDA_VISIBLE_DEVICES`.
        order: The outer `CUDA_DEVICE_ORDER`.
    """
    by_index = visible is not None and any(entry.strip().isdecimal() for entry in visible.split(","))
    if not by_index or order == "PCI_BUS_ID" or len({device.name for device in devices}) <= 1:
        return None
    return (
        f"{MASK}={visible} is read in PCI bus order, but CUDA counts different GPUs from the fastest on; "
        "name them by UUID, or set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )


def cpu_count(affinity: int, read: Callable[[str], str | None]) -> int:
    """How many CPUs this process may keep busy: its affinity, less what a cgroup quota takes away.

    Half a CPU of quota counts as a whole one, as an idle half is worse than a throttled one.

    Args:
        affinity: Number of CPUs the process may run on.
        read: Returns the text of a file, None when there is no such file.
    """
    quotas = [quota for group in (read("/proc/self/cgroup") or "").splitlines() for quota in _quotas(group, read)]
    return max(1, min(affinity, *(math.ceil(quota) for quota in quotas))) if quotas else max(1, affinity)


def _units(device: Device) -> list[Unit]:
    if device.compute_mode is ComputeMode.PROHIBITED:
        return []
    if device.mig_enabled:
        return [_slice_unit(device, part) for part in device.slices]
    return [Unit(device.uuid, device.index, cpus=device.cpu_affinity, product=_product(device))]


def _slice_unit(device: Device, part: MigSlice) -> Unit:
    memory = f", slice of {part.memory_total or 0} bytes"
    return Unit(part.uuid, device.index, mig=True, cpus=device.cpu_affinity, product=_product(device) + memory)


def _product(device: Device) -> str:
    capability = "" if device.compute_capability is None else ", compute {}.{}".format(*device.compute_capability)
    return device.name + capability


def _kind(entry: str) -> str:
    return next((kind for kind in ("GPU-", "MIG-") if entry.startswith(kind)), "index")


def _named(entry: str, devices: Sequence[Device]) -> list[Unit] | None:
    """What one entry of the mask names, None when it names no device; an unusable device is an empty list."""
    if entry.startswith("MIG-"):
        return next((_allowed(device, part) for device in devices for part in device.slices if _is(part, entry)), None)
    if entry.startswith("GPU-"):
        named = [device for device in devices if device.uuid.startswith(entry)]
    else:
        # isascii: digits of other scripts are decimal to Python and nothing to CUDA.
        number = int(entry) if entry.isdecimal() and entry.isascii() else -1
        named = [device for device in devices if device.index == number]
    return _units(named[0]) if len(named) == 1 else None


def _allowed(device: Device, part: MigSlice) -> list[Unit]:
    return [] if device.compute_mode is ComputeMode.PROHIBITED else [_slice_unit(device, part)]


def _is(part: MigSlice, entry: str) -> bool:
    return entry in (part.uuid, f"MIG-{part.parent}/{part.gpu_instance}/{part.compute_instance}")


def _device_warnings(device: Device, *, shared: bool) -> list[str]:
    who = f"GPU {device.index} ({device.uuid})"
    found: list[str] = []
    if shared and device.compute_mode is ComputeMode.EXCLUSIVE:
        found.append(f"{who} admits one process at a time, so only one of the workers that share it can start")
    if device.ecc_uncorrected:
        found.append(f"{who} has counted {device.ecc_uncorrected} uncorrectable memory errors: results are in doubt")
    if device.row_remap and device.row_remap.failed:
        found.append(f"{who} has a faulty row of memory and no spare one for it: results are in doubt; replace it")
    if device.row_remap and device.row_remap.pending:
        found.append(f"{who} uses rows of memory that are known to be faulty until it is reset: results are in doubt")
    if device.throttle_reasons:
        found.append(f"{who} is slowed down: {', '.join(device.throttle_reasons)}")
    if device.processes:
        found.append(f"{who} is also used by process {', '.join(map(str, device.processes))}")
    if device.memory_total and device.memory_used and device.memory_used > _NEARLY_FULL * device.memory_total:
        free = (device.memory_total - device.memory_used) // 2**20
        found.append(f"{who} has only {free} MiB of memory free")
    return found


def _quotas(group: str, read: Callable[[str], str | None]) -> list[float]:
    """The CPU quotas, in CPUs, that one line of /proc/self/cgroup leads to, those of its ancestors included."""
    parts = group.split(":", 2)
    if len(parts) != 3:  # noqa: PLR2004 - hierarchy:controllers:path
        return []
    _, controllers, path = parts
    if controllers == "":
        return [quota for folder in _ancestors(_CGROUP_ROOT, path) if (quota := _quota_v2(folder, read)) is not None]
    if "cpu" not in controllers.split(","):
        return []
    # Some systems mount the hierarchy under all its controllers, others under the one name.
    mounts = dict.fromkeys((f"{_CGROUP_ROOT}/{controllers}", f"{_CGROUP_ROOT}/cpu"))
    return [
        quota
        for mount in mounts
        for folder in _ancestors(mount, path)
        if (quota := _quota_v1(folder, read)) is not None
    ]


def _ancestors(root: str, path: str) -> list[str]:
    """The folder of a group and of every group above it, up to the root, which inside a container is its own."""
    names = [name for name in path.split("/") if name]
    return ["/".join([root, *names[:depth]]) for depth in range(len(names), -1, -1)]


def _quota_v2(folder: str, read: Callable[[str], str | None]) -> float | None:
    fields = (read(f"{folder}/cpu.max") or "max").split()
    return None if fields[0] == "max" else int(fields[0]) / int(fields[1])


def _quota_v1(folder: str, read: Callable[[str], str | None]) -> float | None:
    quota, period = read(f"{folder}/cpu.cfs_quota_us"), read(f"{folder}/cpu.cfs_period_us")
    if quota is None or period is None or int(quota) <= 0:
        return None
    return int(quota) / int(period)
