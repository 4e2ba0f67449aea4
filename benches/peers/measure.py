"""One peer, once, in a process of its own: wall time, time inside the job, memory of all its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benches.peers.peers import Job

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 1800
SAMPLE_S = 0.02
TAIL = 2000  # characters of a failed peer's last words
# Nothing goes out to the makers of a package, and nothing is drawn on stderr.
QUIET = {
    "DAFT_ANALYTICS_ENABLED": "0",
    "DAFT_PROGRESS_BAR": "0",
    "DO_NOT_TRACK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class PeerError(Exception):
    """A peer failed, or its answer is wrong."""


@dataclass(frozen=True)
class Measured:
    """One run.

    Attributes:
        wall: Seconds from the start of the process to its end.
        inside: Seconds from having the packages of its first process imported to the answer.
        rows: The answer where records were counted.
        peak: Most bytes of memory at one time in the process and all below it; 0 if it was not watched.
    """

    wall: float
    inside: float
    rows: int | None
    peak: int = 0


def measure(job: Job, folder: Path, *, watched: bool) -> Measured:
    """Starts a peer and waits for its end.

    Args:
        job: What it is to do.
        folder: For the files between the processes.
        watched: Look at its memory all the time, which slows it down a little.

    Raises:
        PeerError: It failed or took too long.
    """
    asked, answered = folder / "job.json", folder / "result.json"
    asked.write_text(json.dumps(asdict(job)), encoding="utf-8")
    command = [sys.executable, "-m", "benches.peers.work", str(asked), str(answered)]
    with (folder / "said.txt").open("w+b") as said:
        os.sync()  # what the peer before left to the kernel would be written at the cost of this one
        begin = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=said, stderr=said)
        with _memory(process.pid, watched=watched) as peak:
            _wait(process, job)
        wall = time.perf_counter() - begin
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace")[-TAIL:]
            raise PeerError(f"{job.peer} failed at {job.work} with exit code {process.returncode}:\n{text}")
    result = json.loads(answered.read_text(encoding="utf-8"))
    return Measured(wall, result["seconds"], result["rows"], peak[0])


def _environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, **QUIET, "PYTHONPATH": path}


def _wait(process: subprocess.Popen[bytes], job: Job) -> None:
    try:
        process.wait(LIMIT_S)
    except BaseException as error:
        for one in [*psutil.Process(process.pid).children(recursive=True), process]:
            one.kill()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise PeerError(f"{job.peer} took more than {LIMIT_S} s at {job.work}") from error
        raise


@contextmanager
def _memory(pid: int, *, watched: bool) -> Iterator[list[int]]:
    """A list of one number, the peak so far, kept up to date by a thread."""
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            peak[0] = max(peak[0], tree_bytes(pid))

    thread = threading.Thread(target=watch, daemon=True)
    if watched:
        thread.start()
    try:
        yield peak
    finally:
        ended.set()
        if watched:
            thread.join()


def tree_bytes(pid: int) -> int:
    """Memory of a process and all below it; what several of them share counts once."""
    try:
        root = psutil.Process(pid)
        return sum(_bytes(process) for process in [root, *root.children(recursive=True)])
    except psutil.NoSuchProcess:
        return 0


def _bytes(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.AccessDenied:
        return process.memory_info().rss
    except psutil.NoSuchProcess:  # it has ended between the listing and the look
        return 0
