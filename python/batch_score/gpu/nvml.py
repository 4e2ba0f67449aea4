"""Reads the GPUs through NVML: what they are, and how busy. No decision is made here."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pynvml

from batch_score.gpu.device import ComputeMode, Device, Inventory, MigSlice, RowRemap, Sample

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

logger = logging.getLogger(__name__)

_WORD_BITS = 64
_MILLIWATTS = 1000

# What says that the device itself is gone. Any other error of a reading means that this product, driver or container
# does not have it, whatever its number: under WSL it is "unknown error", in sandboxes "operating system".
_GONE = (
    pynvml.NVML_ERROR_UNINITIALIZED,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
)

_COMPUTE_MODES = {
    pynvml.NVML_COMPUTEMODE_DEFAULT: ComputeMode.DEFAULT,
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: ComputeMode.EXCLUSIVE,
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: ComputeMode.EXCLUSIVE,
    pynvml.NVML_COMPUTEMODE_PROHIBITED: ComputeMode.PROHIBITED,
}

# Idling and clocks that somebody set are no reason to warn, so they are left out.
_THROTTLE_REASONS = {
    pynvml.nvmlClocksThrottleReasonSwPowerCap: "power cap",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "hardware slowdown",
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown: "temperature (software)",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "temperature (hardware)",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "power brake",
}


@contextmanager
def nvml_session() -> Iterator[None]:
    """Keeps NVML initialised.

    Raises:
        pynvml.NVMLError: There is no driver, or it does not answer.
    """
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def read_devices() -> Inventory:
    """Reads every GPU that the driver shows to this process; never raises for lack of GPUs."""
    try:
        with nvml_session():
            devices: list[Device] = []
            unreadable: list[str] = []
            for index in range(pynvml.nvmlDeviceGetCount()):
                try:
                    devices.append(_device(index, pynvml.nvmlDeviceGetHandleByIndex(index)))
                except pynvml.NVMLError as error:
                    unreadable.append(f"GPU {index} cannot be opened: {error}")
            return Inventory(tuple(devices), "", tuple(unreadable), _driver_version())
    except pynvml.NVMLError as error:
        return Inventory(reason=_why_none(error))


class GpuSampler:
    """Samples the use of GPUs; made by `gpu_sampler`.

    Attributes:
        reason: Why there is nothing to sample, empty otherwise.
    """

    def __init__(self, handles: dict[int, Any], reason: str = "") -> None:
        self.reason = reason
        self._handles = handles

    def samples(self) -> list[Sample]:
        """One sample of each GPU, or of each slice of a GPU that MIG has cut.

        A GPU that has stopped answering is reported in the log once and left out from then on.
        """
        taken: list[Sample] = []
        for index, handle in list(self._handles.items()):
            try:
                parts = list(_mig_handles(handle))
                taken.extend(_sample(index, part, whole=False) for part in parts)
                if not parts:
                    taken.append(_sample(index, handle, whole=True))
            except pynvml.NVMLError as error:
                logger.warning("GPU %d is no longer sampled, because it stopped answering: %s", index, error)
                del self._handles[index]
        return taken


@contextmanager
def gpu_sampler() -> Iterator[GpuSampler]:
    """A sampler of every GPU that can be opened, with NVML kept initialised; without a driver it has none."""
    with ExitStack() as stack:
        try:
            stack.enter_context(nvml_session())
            sampler = GpuSampler(dict(_handles()))
        except pynvml.NVMLError as error:
            sampler = GpuSampler({}, _why_none(error))
        yield sampler


def cpus_of(words: Iterable[int]) -> tuple[int, ...]:
    """The CPU numbers whose bits are set in an affinity mask of 64-bit words, lowest first. Pure."""
    return tuple(
        place * _WORD_BITS + bit for place, word in enumerate(words) for bit in range(_WORD_BITS) if word >> bit & 1
    )


def throttle_reasons(mask: int) -> tuple[str, ...]:
    """What the bits of NVML's clock event mask say that should worry somebody. Pure."""
    return tuple(words for bit, words in _THROTTLE_REASONS.items() if mask & bit)


def _handles() -> Iterator[tuple[int, Any]]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            yield index, pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            logger.warning("GPU %d cannot be sampled: %s", index, error)


def _device(index: int, handle: Any) -> Device:
    uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    memory = _reading(pynvml.nvmlDeviceGetMemoryInfo, handle)
    capability = _reading(pynvml.nvmlDeviceGetCudaComputeCapability, handle)
    mode = _reading(pynvml.nvmlDeviceGetComputeMode, handle)
    return Device(
        index=index,
        uuid=uuid,
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_total=None if memory is None else int(memory.total),
        memory_used=None if memory is None else int(memory.used),
        compute_capability=None if capability is None else (int(capability[0]), int(capability[1])),
        mig_enabled=_mig_enabled(handle),
        slices=tuple(_mig_slice(part, uuid) for part in _mig_handles(handle)),
        ecc_uncorrected=_reading(
            pynvml.nvmlDeviceGetTotalEccErrors,
            handle,
            pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED,
            pynvml.NVML_VOLATILE_ECC,
        ),
        row_remap=_row_remap(handle),
        compute_mode=None if mode is None else _COMPUTE_MODES.get(mode),
        throttle_reasons=throttle_reasons(_clock_events(handle)),
        processes=tuple(sorted(_compute_processes(handle).keys() - {os.getpid()})),
        cpu_affinity=_cpu_affinity(handle),
    )


def _row_remap(handle: Any) -> RowRemap | None:
    told = _reading(pynvml.nvmlDeviceGetRemappedRows, handle)
    if told is None:
        return None
    corrected, uncorrected, pending, failed = told
    return RowRemap(int(corrected), int(uncorrected), bool(pending), bool(failed))


def _mig_slice(handle: Any, parent: str) -> MigSlice:
    memory = _reading(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return MigSlice(
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        parent=parent,
        memory_total=None if memory is None else int(memory.total),
        memory_used=None if memory is None else int(memory.used),
        gpu_instance=_reading(pynvml.nvmlDeviceGetGpuInstanceId, handle),
        compute_instance=_reading(pynvml.nvmlDeviceGetComputeInstanceId, handle),
    )


def _sample(index: int, handle: Any, *, whole: bool) -> Sample:
    memory = _reading(pynvml.nvmlDeviceGetMemoryInfo, handle)
    of_gpu = _of_gpu(handle) if whole else {}
    return Sample(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        memory_total=None if memory is None else int(memory.total),
        memory_used=None if memory is None else int(memory.used),
        processes=_compute_processes(handle),
        **of_gpu,
    )


def _of_gpu(handle: Any) -> dict[str, Any]:
    """The readings that only a whole GPU has."""
    use = _reading(pynvml.nvmlDeviceGetUtilizationRates, handle)
    power = _reading(pynvml.nvmlDeviceGetPowerUsage, handle)
    return {
        "gpu_percent": None if use is None else int(use.gpu),
        "power_w": None if power is None else power / _MILLIWATTS,
        "temperature_c": _reading(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
        "sm_clock_mhz": _reading(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
        "memory_clock_mhz": _reading(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
        "throttle_reasons": throttle_reasons(_clock_events(handle)),
    }


def _mig_enabled(handle: Any) -> bool:
    modes = _reading(pynvml.nvmlDeviceGetMigMode, handle)
    return modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE


def _mig_handles(handle: Any) -> Iterator[Any]:
    if not _mig_enabled(handle):
        return
    # The places that hold no slice answer "not found"; slices need not lie side by side.
    for place in range(_reading(pynvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
        part = _reading(pynvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, place)
        if part is not None:
            yield part


def _clock_events(handle: Any) -> int:
    mask = _reading(pynvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if mask is None:  # older drivers know the reading by its former name only
        mask = _reading(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    return int(mask or 0)


def _compute_processes(handle: Any) -> dict[int, int | None]:
    # The call without a version turns a missing function into an error that is no NVMLError.
    running = _reading(pynvml.nvmlDeviceGetComputeRunningProcesses_v3, handle)
    if running is None:
        running = _reading(pynvml.nvmlDeviceGetComputeRunningProcesses_v2, handle)
    return {int(process.pid): process.usedGpuMemory for process in running or []}


def _cpu_affinity(handle: Any) -> tuple[int, ...]:
    words = -(-(os.cpu_count() or 1) // _WORD_BITS)
    return cpus_of(_reading(pynvml.nvmlDeviceGetCpuAffinity, handle, words) or [])


def _driver_version() -> str:
    return _text(_reading(pynvml.nvmlSystemGetDriverVersion) or "")


def _reading(read: Callable[..., Any], *arguments: object) -> Any:
    """The reading, or None when the driver has no such reading for this device."""
    try:
        return read(*arguments)
    except pynvml.NVMLError as error:
        if error.value in _GONE:
            raise
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _why_none(error: Any) -> str:
    if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        return "no NVIDIA driver was found (libnvidia-ml.so.1 is missing)"
    return f"the NVIDIA driver did not answer: {error}"
