"""One look at the node, its disk and the processes of the run, as cells of the perf tables.

A value that the system does not give (no right to it, no such file, another platform) is an empty cell. Sizes
are in MB of 2**20 bytes; counts and sizes of input and output are running totals.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Cell: TypeAlias = float | int | str
Row: TypeAlias = tuple[Cell, ...]
_Value = TypeVar("_Value")

_MB = 2**20


@dataclass(frozen=True, slots=True)
class GpuSample:
    """One look at a GPU. None stands for a value that the driver does not give.

    Attributes:
        device: Index of the GPU.
        uuid: Its UUID, or that of the MIG slice.
        process: The worker that owns it, empty when none does.
        percent: Use, 0 to 100.
        memory_total: Bytes.
        memory_used: Bytes.
        power_w: Watts.
        temperature_c: Degrees Celsius.
        sm_clock_mhz: Clock of the multiprocessors.
        memory_clock_mhz: Clock of the memory.
        throttle: Why the clocks are held down, empty when they are not.
    """

    device: int
    uuid: str
    process: str = ""
    percent: float | None = None
    memory_total: int | None = None
    memory_used: int | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    throttle: str = ""

    def row(self) -> Row:
        """The cells of `gpu_resource_usage.csv` after the time."""
        memory = (_mb(self.memory_total), _mb(self.memory_used))
        values = (self.power_w, self.temperature_c, self.sm_clock_mhz, self.memory_clock_mhz)
        return (self.device, self.uuid, self.process, _cell(self.percent), *memory, *map(_cell, values), self.throttle)


class NodeReader:
    """Looks at the node. Used from one thread: the CPU percentage counts from that thread's last look."""

    def __init__(self) -> None:
        self._looked = False

    def row(self) -> Row:
        """The cells of `node_resource_usage.csv` after the time; no CPU percentage at the first look."""
        return (self._cpu_percent(), *_memory(), *_disk_io(), *_network(), _connections("tcp"), _connections("udp"))

    def _cpu_percent(self) -> Cell:
        percent = _given(lambda: psutil.cpu_percent(None))
        first, self._looked = not self._looked, True
        # psutil compares with its previous call, so its first answer means nothing.
        return "" if first else _cell(percent)


def disk_row() -> Row:
    """The cells of `node_disk_usage.csv` after the time, for the file system at `/`."""
    usage = _given(lambda: psutil.disk_usage("/"))
    return ("",) * 4 if usage is None else (*map(_mb, (usage.total, usage.used, usage.free)), usage.percent)


class ProcessReader:
    """Looks at processes; remembers them from one look to the next to tell their CPU percentage.

    Args:
        clock: Gives POSIX seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def rows(self, processes: Mapping[str, int]) -> Iterator[Row]:
        """The cells of `processes_resource_usage.csv` after the time, one row per living process.

        Args:
            processes: Process ids by name.
        """
        self._known = {name: known for name, known in self._known.items() if name in processes}
        for name, pid in processes.items():
            row = self._row(name, pid)
            if row is not None:
                yield row

    def _row(self, name: str, pid: int) -> Row | None:
        known = self._find(name, pid)
        if known is None:
            return None
        process = known.process
        with process.oneshot():
            dead = _given(process.status) == psutil.STATUS_ZOMBIE
            times = _given(process.cpu_times)
            values = (_cell(_given(process.memory_percent)), *_process_io(process), _cell(_given(process.num_threads)))
        # Asked last: whatever could not be read because the process ended must not become a row of blanks.
        if dead or not process.is_running():
            return None
        if times is None:
            return (name, "", "", "", *values)
        return (name, known.percent(times.user + times.system, self._clock()), times.user, times.system, *values)

    def _find(self, name: str, pid: int) -> _Known | None:
        known = self._known.get(name)
        if known is None or known.process.pid != pid or not known.process.is_running():
            process = _given(lambda: psutil.Process(pid))
            if process is None:
                return None
            known = self._known[name] = _Known(process, _given(process.create_time) or self._clock())
        return known


@dataclass(slots=True)
class _Known:
    """A process and how much CPU time it had used when; before the first look none, at its start."""

    process: psutil.Process
    seconds: float
    used: float = 0.0

    def percent(self, used: float, seconds: float) -> float:
        """CPU use since the last look in percent of one core."""
        span = max(seconds - self.seconds, 1e-6)
        share = 100 * (used - self.used) / span
        self.seconds, self.used = seconds, used
        return round(share, 1)


def _given(read: Callable[[], _Value]) -> _Value | None:
    """What `read` gives, None where the system does not give it."""
    try:
        return read()
    except (psutil.Error, OSError, NotImplementedError, AttributeError):
        # AttributeError: psutil leaves out the functions that a platform has no answer for.
        return None


def _memory() -> Row:
    memory = _given(psutil.virtual_memory)
    if memory is None:
        return ("",) * 4
    return (*map(_mb, (memory.total, memory.available, memory.used)), memory.percent)


def _disk_io() -> Row:
    counters = _given(psutil.disk_io_counters)
    if counters is None:  # also what psutil says where there is no disk
        return ("",) * 4
    return (counters.read_count, counters.write_count, _mb(counters.read_bytes), _mb(counters.write_bytes))


def _process_io(process: psutil.Process) -> Row:
    counters = _given(lambda: process.io_counters())  # noqa: PLW0108 - the attribute may be missing
    if counters is None:
        return ("",) * 4
    return (counters.read_count, counters.write_count, _mb(counters.read_bytes), _mb(counters.write_bytes))


def _network() -> Row:
    counters = _given(psutil.net_io_counters)
    return ("", "") if counters is None else (_mb(counters.bytes_sent), _mb(counters.bytes_recv))


def _connections(kind: str) -> Cell:
    connections = _given(lambda: psutil.net_connections(kind))
    return "" if connections is None else len(connections)


def _mb(size: int | None) -> Cell:
    return "" if size is None else round(size / _MB, 2)


def _cell(value: float | None) -> Cell:
    return "" if value is None else round(value, 2)
