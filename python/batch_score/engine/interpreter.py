"""A worker's process before it is told what to do.

Its interpreter can be started as soon as the device is known: it imports what every worker needs, and waits. What it
prints meanwhile is kept in memory. With its launch it gets its log files, where that then goes first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from batch_score.worker.pulse import blank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batch_score.worker.messages import Launch
    from batch_score.worker.shelf import Shelf

START = "from batch_score.worker.start import main; main()"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A process of its own group and session, which has our end of a connection.

    Attributes:
        process: The process.
        connection: Our end, which does not block.
        page: The pulse's page, as a file.
        printed: What it prints to stdout and stderr as long as it has no log files.
    """

    process: subprocess.Popen[bytes]
    connection: socket.socket
    page: BinaryIO
    printed: tuple[BinaryIO, BinaryIO]

    @classmethod
    def start(cls, environment: Mapping[str, str], cpus: Sequence[int] = ()) -> Interpreter:
        """Starts it with an environment, so that a device mask is there before any import, and bound to CPUs."""
        with contextlib.ExitStack() as stack:
            page, *printed = [stack.enter_context(_memory(name)) for name in ("pulse", "stdout", "stderr")]
            blank(page)
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            with theirs:
                arguments = map(str, (theirs.fileno(), page.fileno(), os.getpid(), *cpus))
                process = subprocess.Popen(
                    # -P keeps its module path free of the code root until our own imports are done.
                    [sys.executable, "-P", "-c", START, *arguments],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=printed[0],
                    stderr=printed[1],
                    pass_fds=(theirs.fileno(), page.fileno()),
                    start_new_session=True,
                )
            ours.setblocking(False)
            stack.pop_all()
            return cls(process, ours, page, (printed[0], printed[1]))

    def equip(self, stdout: Path, stderr: Path, shelf: Shelf) -> None:
        """Hands over the files for what it prints, and a shelf; a process that has just died does not take them.

        Raises:
            OSError: They cannot be opened.
        """
        with stdout.open("ab") as out, stderr.open("ab") as err, contextlib.suppress(BrokenPipeError):
            socket.send_fds(self.connection, [b"\0"], [out.fileno(), err.fileno(), shelf.memory, shelf.taken])

    def keep_printed(self, stdout: Path, stderr: Path) -> None:
        """Adds what it printed, and did not live to put into its log files itself, to them."""
        for file, path in zip(self.printed, (stdout, stderr), strict=True):
            # Not read(): the offset belongs to the one who prints.
            if text := os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0):
                with contextlib.suppress(OSError), path.open("ab") as log:
                    log.write(text)

    def kill(self) -> None:
        """Kills the process and all of its group."""
        # The group is gone already, or is somebody else's by now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Lets go of our side."""
        for each in (self.connection, self.page, *self.printed):
            each.close()


class Waiting:
    """Interpreters that were started early; each is taken by a launch for its device, or killed in the end."""

    def __init__(self) -> None:
        self._idle: list[tuple[Mapping[str, str], tuple[int, ...], Interpreter]] = []

    def start(self, environment: Mapping[str, str], cpus: tuple[int, ...], device: Mapping[str, str]) -> None:
        """Starts one.

        Args:
            environment: As far as it is known.
            cpus: The CPUs that it may use, none for all.
            device: The part of the environment that no launch may have otherwise.
        """
        self._idle.append((device, cpus, Interpreter.start(environment, cpus)))

    def take(self, launch: Launch) -> Interpreter | None:
        """One that suits a launch; None when there is none."""
        for place, (device, cpus, interpreter) in enumerate(self._idle):
            if cpus == launch.cpus and device.items() <= launch.environment.items():
                del self._idle[place]
                return interpreter
        return None

    def close(self) -> None:
        """Kills those that nobody took."""
        for *_, interpreter in self._idle:
            interpreter.kill()
        for *_, interpreter in self._idle:
            interpreter.process.wait()
            interpreter.close()
        self._idle.clear()


def _memory(name: str) -> BinaryIO:
    return os.fdopen(os.memfd_create(f"batch-score-{name}"), "r+b", buffering=0)
