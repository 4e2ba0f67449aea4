"""How a worker's process ended, in words, and whether the system lacked memory."""

from __future__ import annotations

import re
import signal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from batch_score.worker.messages import BROKEN, CUT_OFF

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LEFT = {
    CUT_OFF: "left because its connection to the coordinator broke",
    BROKEN: "left because one of its own threads failed, as its log tells",
}
NATIVE = "a crash in native code"
CAUSES = {
    "SIGABRT": "native abort",
    "SIGBUS": "a mapped file was cut short, or /dev/shm is full",
    "SIGFPE": NATIVE,
    "SIGILL": "native code for another CPU, or a crash in it",
    "SIGSEGV": NATIVE,
    "SIGXCPU": "a limit on CPU time",
}
OUTSIDE = " (from outside: kill -9, a job scheduler, a container's limit)"
KILLED = {True: ": the kernel ran out of memory (OOM killer)", False: OUTSIDE, None: " (out of memory?)"}


def ended_by(code: int, *, oom: bool | None) -> str:
    """How a process ended, as what follows its name: `was killed by SIGTERM`, `left with exit code 3`.

    Args:
        code: Exit code, or the negative number of the signal.
        oom: Whether the OOM killer has killed a process (`OomCounter.killed_since`), None if that is not known.
    """
    if code >= 0:
        return f"{LEFT[code]} (exit code {code})" if code in LEFT else f"left with exit code {code}"
    known = {number.value: number.name for number in signal.Signals}
    name = known.get(-code, f"signal {-code}")  # real-time signals have no names of their own
    if name == "SIGKILL":
        return f"was killed by SIGKILL{KILLED[oom]}"
    return f"was killed by {name}" + (f" ({CAUSES[name]})" if name in CAUSES else "")


class OomCounter:
    """Tells whether the OOM killer has struck, by a count that the kernel keeps.

    That of this process's own cgroup tells of no one else's processes, and of all causes: the cgroup's limit, that of
    one above it, or the machine's end. Only where there is none, the count of the whole machine is taken.

    Args:
        read: Gives the text of a file, None if it cannot be read.
    """

    def __init__(self, read: Callable[[str], str | None]) -> None:
        self._read = read
        self._file = next((file for file in _counters(read) if _kills(read(file)) is not None), "")
        self._seen = _kills(read(self._file)) if self._file else None
        self._untold = 0

    def killed_since(self) -> bool | None:
        """Whether a process was killed since the last look; None if the kernel does not tell.

        Each kill explains one death: after two kills the next two looks say so. A process may be gone only seconds
        after it was killed and counted, another one with it.
        """
        kills = _kills(self._read(self._file)) if self._file else None
        if kills is None or self._seen is None:
            return None
        self._untold += max(0, kills - self._seen)
        self._seen = kills
        if not self._untold:
            return False
        self._untold -= 1
        return True


def _counters(read: Callable[[str], str | None]) -> Iterator[str]:
    """Files that may hold a count of OOM kills, the most telling first."""
    for line in (read("/proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        path = PurePosixPath(name)
        if number == "0" and not controllers:
            # Where the memory controller does not go down to this cgroup, the nearest one above counts.
            yield from (f"/sys/fs/cgroup{_under(one)}/memory.events" for one in (path, *path.parents))
        elif "memory" in controllers.split(","):
            # A container sees its own cgroup as the root, and still the path that it has outside.
            yield from (f"/sys/fs/cgroup/memory{_under(one)}/memory.oom_control" for one in (path, path.root))
    yield "/proc/vmstat"


def _under(path: PurePosixPath | str) -> str:
    return str(path).rstrip("/")


def _kills(text: str | None) -> int | None:
    """The value of `oom_kill` in lines of names and numbers; kernels before 4.13 have none."""
    found = re.search(r"^oom_kill (\d+)$", text or "", re.MULTILINE)
    return int(found[1]) if found else None
