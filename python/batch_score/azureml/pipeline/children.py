"""The processes of a pipeline's steps: each in a session of its own, stopped together, none outlives its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

GRACE_S = 5.0
LAST_LINES = 15
LEASH = Path(__file__).with_name("leash.py")


class Child:
    """A script or command that runs.

    Args:
        process: The process that leads its group, on a leash that we hold by its stdin.

    Attributes:
        timed_out: It was stopped because it took too long.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.timed_out = False

    def wait(self, limit: float | None) -> int:
        """Waits for the end, at most `limit` seconds; then nothing of it runs any more.

        Returns:
            The exit code, negative for a signal.
        """
        try:
            code = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self.timed_out = True
            self.ask()
            self.end(time.monotonic() + GRACE_S)
            code = self._process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # what it has left behind
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code

    def ask(self) -> None:
        """Asks the process and its group to end."""
        self._signal(signal.SIGTERM)

    def end(self, until: float) -> None:
        """Waits for the end until a moment of the monotonic clock, then kills what has not ended."""
        try:
            self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


class Job(Child):
    """A job that runs; the first signal is the wish to stop where it can be gone on with.

    Args:
        process: The process, with pipes.
        report: Gets the lines that it writes about its progress.
    """

    def __init__(self, process: subprocess.Popen[bytes], report: Callable[[str], None]) -> None:
        super().__init__(process)
        self._report = report
        self._lines: list[str] = []

    def ask(self) -> None:
        """Lets the job finish what is in flight."""
        self._process.send_signal(signal.SIGINT)

    def answer(self, asked: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
        """Asks the job, and waits for its end.

        Returns:
            What it has answered, None if it could not; and the last lines that it wrote.
        """
        stdin, stdout, stderr = (self._process.stdin, self._process.stdout, self._process.stderr)
        if stdin is None or stdout is None or stderr is None:
            raise TypeError("the process was started without pipes")
        reader = threading.Thread(target=self._follow, args=(stderr,), daemon=True)
        reader.start()
        with suppress(BrokenPipeError):
            stdin.write(json.dumps(asked).encode() + b"\n")
            stdin.flush()
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
        return found, "".join(f"\n  | {line}" for line in self._lines)

    def _follow(self, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip()
            self._lines.append(line)
            del self._lines[:-LAST_LINES]
            self._report(line)


class Children:
    """The processes that run now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: list[Child] = []
        self._stopped = False

    def start(self, argv: Sequence[str], *, folder: str, environment: Mapping[str, str], output: IO[bytes]) -> Child:
        """Starts a script or command.

        Args:
            argv: The command.
            folder: Working directory.
            environment: All its variables.
            output: Gets stdout and stderr.

        Raises:
            OSError: It cannot be started.
        """
        leash = [sys.executable, "-IS", str(LEASH), *argv]
        pipe = subprocess.PIPE
        with self._lock:
            self._check()
            process = subprocess.Popen(
                leash,
                cwd=folder,
                env=dict(environment),
                stdin=pipe,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            child = Child(process)
            self._running.append(child)
        return child

    def start_job(self, argv: Sequence[str], environment: Mapping[str, str], report: Callable[[str], None]) -> Job:
        """Starts the process of a job, which is asked on stdin and ends when that is closed.

        Args:
            argv: The command.
            environment: All its variables.
            report: Gets the lines that it writes about its progress.

        Raises:
            OSError: It cannot be started.
        """
        pipe = subprocess.PIPE
        with self._lock:
            self._check()
            process = subprocess.Popen(
                argv, env=dict(environment), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
            )
            job = Job(process, report)
            self._running.append(job)
        return job

    def ended(self, child: Child) -> None:
        """A process has ended, and is not to be stopped any more."""
        with self._lock:
            self._running.remove(child)

    def _check(self) -> None:
        if self._stopped:
            raise InterruptedError("the pipeline was canceled")

    def stop(self) -> None:
        """Lets jobs stop where they can be gone on with, and ends all other processes; none starts any more."""
        until = time.monotonic() + GRACE_S
        running = self._last()
        for child in running:
            child.ask()
        for child in running:
            if not isinstance(child, Job):
                child.end(until)

    def kill(self) -> None:
        """Ends all processes now."""
        until = time.monotonic() + GRACE_S
        running = self._last()
        for child in running:
            Child.ask(child)
        for child in running:
            child.end(until)

    def _last(self) -> list[Child]:
        with self._lock:
            self._stopped = True
            return list(self._running)
