"""The processes of a pipeline's steps: started in sessions of their own, stopped together, ended with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_S = 5.0
# Asks the kernel to end the process with the thread that waits for it, then becomes the command.
LEASH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execvpe(sys.argv[1], sys.argv[1:], os.environ)"


class Child:
    """A process that has been started.

    Args:
        process: The process, leader of its group.
        report: Gets the lines that a job writes about its progress.

    Attributes:
        timed_out: It was stopped because it took too long.
    """

    def __init__(self, process: subprocess.Popen[bytes], report: Callable[[str], None] | None) -> None:
        self._process = process
        self._report = report
        self.timed_out = False

    def wait(self, limit: float | None) -> int:
        """Waits for the end, at most `limit` seconds; gives the exit code, negative for a signal."""
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.timed_out = True
            self.stop()
            return self._process.wait()

    def answer(self) -> tuple[dict[str, Any] | None, str]:
        """What a job has answered, None if it could not; and the last lines that it wrote to stderr."""
        stdin, stdout, stderr = (self._process.stdin, self._process.stdout, self._process.stderr)
        if stdin is None or stdout is None or stderr is None:
            raise TypeError("the process was started without pipes")
        lines: list[str] = []
        reader = threading.Thread(target=self._follow, args=(stderr, lines), daemon=True)
        reader.start()
        text = stdout.read()
        self._process.wait()
        reader.join()
        for stream in (stdin, stdout, stderr):
            with suppress(OSError):
                stream.close()
        try:
            found: dict[str, Any] | None = json.loads(text)
        except ValueError:
            found = None
        return found, "".join(f"\n  | {line}" for line in lines[-15:])

    def _follow(self, stream: IO[bytes], lines: list[str]) -> None:
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip()
            lines.append(line)
            del lines[:-15]
            if self._report is not None:
                self._report(line)

    def interrupt(self, number: int) -> None:
        """Sends a signal to the process and all of its group that listen for it."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def stop(self) -> None:
        """Ends the process and its group: asked first, killed after a while."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def is_job(self) -> bool:
        """It takes the first signal as the wish to stop where it can be gone on with."""
        return self._process.stdin is not None


class Children:
    """The processes that run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Child] = []
        self._stopped = False

    def start(
        self,
        argv: Sequence[str],
        *,
        folder: str,
        environment: Mapping[str, str],
        output: IO[bytes] | None = None,
        asked: Mapping[str, Any] | None = None,
        report: Callable[[str], None] | None = None,
    ) -> Child:
        """Starts a process.

        Args:
            argv: The command.
            folder: Working directory.
            environment: All its variables.
            output: Gets stdout and stderr.
            asked: A job, given on stdin, which stays open as long as we live; then stdout is its answer.
            report: Gets the lines that the job writes about its progress.

        Raises:
            OSError: It cannot be started.
        """
        pipe = subprocess.PIPE
        with self._lock:
            if self._stopped:
                raise InterruptedError("the pipeline was canceled")
            process = subprocess.Popen(
                argv if asked is not None else [sys.executable, "-IS", "-c", LEASH, *argv],
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL if asked is None else pipe,
                stdout=output if asked is None else pipe,
                stderr=subprocess.STDOUT if asked is None else pipe,
                start_new_session=True,
            )
            child = Child(process, report)
            self._running.append(child)
        if asked is not None and process.stdin is not None:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                process.stdin.flush()
        return child

    def stop(self) -> None:
        """Lets jobs stop where they can be gone on with, and ends all other processes; none starts any more."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            if child.is_job:
                child.interrupt(signal.SIGINT)
            else:
                child.stop()

    def kill(self) -> None:
        """Ends all processes now."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        for child in running:
            child.stop()
