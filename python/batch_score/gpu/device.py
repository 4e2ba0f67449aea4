"""What is known of the GPUs of a machine, as plain records; None where the driver does not say."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class ComputeMode(StrEnum):
    """Which processes a GPU lets in."""

    DEFAULT = "default"
    EXCLUSIVE = "exclusive-process"
    PROHIBITED = "prohibited"


@dataclass(frozen=True, slots=True)
class MigSlice:
    """A part of a GPU that MIG has cut off; to a process it is a device of its own.

    Attributes:
        uuid: `MIG-...`.
        parent: UUID of the GPU.
        memory_total: Bytes.
        memory_used: Bytes.
        gpu_instance: Number of the GPU instance, for the older spelling of a slice's name.
        compute_instance: Number of the compute instance within it.
    """

    uuid: str
    parent: str
    memory_total: int | None = None
    memory_used: int | None = None
    gpu_instance: int | None = None
    compute_instance: int | None = None


@dataclass(frozen=True, slots=True)
class RowRemap:
    """Rows of a GPU's memory that were found faulty, for which spare ones stand in.

    Attributes:
        corrected: Replaced for errors that could be corrected.
        uncorrected: Replaced for errors that could not.
        pending: More will be replaced when the GPU is reset; until then it uses the faulty ones.
        failed: There was no spare row left for one.
    """

    corrected: int
    uncorrected: int
    pending: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU.

    Attributes:
        index: Its place in PCI bus order, counted from 0.
        uuid: `GPU-...`.
        name: The product.
        memory_total: Bytes.
        memory_used: Bytes, by all processes.
        compute_capability: Major and minor number.
        mig_enabled: Whether it is cut into slices; then it cannot be used whole.
        slices: Its MIG slices.
        ecc_uncorrected: Memory errors since the driver was loaded that ECC could not correct.
        row_remap: What became of faulty rows of its memory.
        compute_mode: Which processes it lets in.
        throttle_reasons: Why its clocks are held down now, empty when they are not.
        processes: Other processes that compute on it, by id.
        cpu_affinity: The CPUs near it.
    """

    index: int
    uuid: str
    name: str
    memory_total: int | None = None
    memory_used: int | None = None
    compute_capability: tuple[int, int] | None = None
    mig_enabled: bool = False
    slices: tuple[MigSlice, ...] = ()
    ecc_uncorrected: int | None = None
    row_remap: RowRemap | None = None
    compute_mode: ComputeMode | None = None
    throttle_reasons: tuple[str, ...] = ()
    processes: tuple[int, ...] = ()
    cpu_affinity: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Inventory:
    """The GPUs of a machine.

    Attributes:
        devices: Those that could be read, in PCI bus order.
        reason: Why there are none to read, empty otherwise.
        unreadable: One sentence for each GPU that is there but cannot be opened.
        driver: Version of the NVIDIA driver, empty without one.
    """

    devices: tuple[Device, ...] = ()
    reason: str = ""
    unreadable: tuple[str, ...] = ()
    driver: str = ""

    @property
    def lacking(self) -> str:
        """Why there are no GPUs, or not all, in one line; empty if they are all there."""
        return self.reason or "; ".join(self.unreadable)


@dataclass(frozen=True, slots=True)
class Sample:
    """The use of a GPU or MIG slice at one moment.

    Attributes:
        index: Of the GPU.
        uuid: Of the GPU or slice.
        gpu_percent: Share of the last sampling period in which a kernel ran; None for a slice.
        memory_total: Bytes.
        memory_used: Bytes.
        power_w: Watts; None for a slice.
        temperature_c: Degrees Celsius; None for a slice.
        sm_clock_mhz: Clock of the multiprocessors; None for a slice.
        memory_clock_mhz: Clock of the memory; None for a slice.
        throttle_reasons: Why its clocks are held down, empty when they are not.
        processes: Bytes held by each computing process, by its id.
    """

    index: int
    uuid: str
    gpu_percent: int | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle_reasons: tuple[str, ...] = ()
    processes: Mapping[int, int | None] = field(default_factory=dict)
