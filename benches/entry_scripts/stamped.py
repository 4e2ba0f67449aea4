"""Works for some milliseconds and writes down when: either waits, as for a GPU, or counts in Python.

BENCH_STAMPS names the file for the times (of the system-wide monotonic clock), BENCH_WAIT_S the seconds to wait,
BENCH_STEPS the steps to count.
"""

import json
import os
import time
from pathlib import Path

LOADED = time.monotonic()
WAIT_S = float(os.environ.get("BENCH_WAIT_S", "0"))
STEPS = int(os.environ.get("BENCH_STEPS", "0"))
begins: list[float] = []
ends: list[float] = []


def count(steps):
    """Something that holds the interpreter for a time that `steps` decides."""
    total = 0
    for step in range(steps):
        total += step & 7
    return total


def run(mini_batch):
    """One element per item."""
    begins.append(time.monotonic())
    if WAIT_S:
        time.sleep(WAIT_S)
    count(STEPS)
    ends.append(time.monotonic())
    return [len(begins)] * len(mini_batch)


def shutdown():
    """Writes the times down; the process id keeps workers apart."""
    stamps = {"loaded": LOADED, "begins": begins, "ends": ends}
    Path(f"{os.environ['BENCH_STAMPS']}-{os.getpid()}.json").write_text(json.dumps(stamps), encoding="utf-8")
