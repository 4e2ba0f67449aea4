"""Where the interpreter of a worker begins: what must stand before anything is imported that takes its time."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
from pathlib import Path

from batch_score._native import guard
from batch_score.importing import importing

# Half of the machine's memory counts on top of the worker's own when the kernel looks for whom to kill.
OOM_SCORE_ADJ = 500


def main() -> None:
    """Its arguments are two file descriptors, connection and pulse, the process id of the coordinator, and CPUs."""
    connection, page, coordinator, *cpus = (int(text) for text in sys.argv[1:])
    guard(coordinator)
    if cpus:  # before anything takes memory, which then lies near them
        with contextlib.suppress(OSError):  # they were taken away meanwhile
            os.sched_setaffinity(0, cpus)
    faulthandler.enable()
    stand_first_for_the_oom_killer(Path("/proc/self/oom_score_adj"))
    with importing():
        from batch_score.worker import process  # noqa: PLC0415 - it imports Arrow, and more

    process.main(connection, page)


def stand_first_for_the_oom_killer(file: Path) -> None:
    """Lets the kernel take this process and not the coordinator when memory runs out; silent where it cannot be."""
    with contextlib.suppress(OSError, ValueError):
        if int(file.read_text(encoding="ascii")) < OOM_SCORE_ADJ:
            file.write_text(str(OOM_SCORE_ADJ), encoding="ascii")
