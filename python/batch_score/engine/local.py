"""Workers as processes of this machine, each in a process group of its own.

Nothing here waits for a worker, which may be stopped in the middle of a message by its script: what it has not sent
in full waits in its inbox, what it does not take waits in its outbox.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batch_score.engine.base import Ended, Event, Said
from batch_score.engine.interpreter import Interpreter
from batch_score.logs.tree import LogTree
from batch_score.worker.link import Inbox, Outbox
from batch_score.worker.messages import Done, Launch, Stop, outcome_from_wire, tasks_to_wire
from batch_score.worker.pulse import AT_REST, ENCODE, RUN, Beat, Pulse
from batch_score.worker.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batch_score.engine.interpreter import Waiting
    from batch_score.worker.messages import Task

logger = logging.getLogger(__name__)

# A killed process ends at once, unless the kernel itself waits in its name, for a disk or a driver that hangs.
CLOSE_S = 5.0


@dataclass
class _Child:
    """A worker process as its parent holds it.

    Attributes:
        interpreter: Its process, and our end of the connection.
        logs: What it prints to stdout and stderr goes there.
        inbox: Reads from the connection.
        outbox: Writes to it.
        pulse: The page in which the worker says what it is doing.
        exit_fd: Becomes readable when the process has ended.
        shelf: Its rows lie there on their way.
        full: The worker took less than the outbox has; the selector tells when it takes more.
    """

    interpreter: Interpreter
    logs: tuple[Path, Path]
    inbox: Inbox
    outbox: Outbox
    pulse: Pulse
    exit_fd: int
    shelf: Shelf
    full: bool = False


class LocalEngine:
    """Starts every worker with a fresh interpreter: nothing is forked from the coordinator's state."""

    def __init__(self, waiting: Waiting | None = None) -> None:
        self._waiting = waiting
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, launch: Launch) -> None:
        """Lets a waiting interpreter be the worker, or starts one with the launch's environment."""
        interpreter = self._waiting.take(launch) if self._waiting is not None else None
        if interpreter is None:
            interpreter = Interpreter.start(launch.environment, launch.cpus)
        tree = LogTree(launch.spec.run_dir / "logs", launch.spec.node)
        logs = tree.worker_stdout(launch.name), tree.worker_stderr(launch.name)
        pulse = Pulse(interpreter.page, readers=launch.spec.reader_threads[1] + 1)
        fd = interpreter.connection.fileno()
        exit_fd, shelf = os.pidfd_open(interpreter.process.pid), Shelf.make()
        child = _Child(interpreter, logs, Inbox(fd, shelf), Outbox(fd), pulse, exit_fd, shelf)
        self._children[launch.number] = child
        self._selector.register(interpreter.connection, selectors.EVENT_READ, launch.number)
        self._selector.register(child.exit_fd, selectors.EVENT_READ, launch.number)
        interpreter.equip(*logs, shelf)
        self._say(launch.number, launch)

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Hands a worker tasks, in one message."""
        self._say(worker, tasks_to_wire(tasks))

    def stop(self, worker: int, *, abandon: bool = False) -> None:
        """Lets a worker finish what it was sent and leave; with `abandon` only what `run()` has begun on."""
        self._say(worker, Stop(abandon))

    def _say(self, worker: int, message: object) -> None:
        child = self._children[worker]
        child.outbox.put(message)
        self._flush(worker, child)

    def _flush(self, worker: int, child: _Child) -> None:
        """Writes what the worker takes now; the selector tells when it takes more."""
        try:
            written = child.outbox.flush()
        except (BrokenPipeError, ConnectionResetError):
            child.outbox.clear()  # it died; poll() says so, and what it held goes back to the queue then
            written = True
        if written == child.full and child.interpreter.connection in self._selector.get_map():
            child.full = not written
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.full else 0)
            self._selector.modify(child.interpreter.connection, wanted, worker)

    def kill(self, worker: int) -> None:
        """Kills the worker's process group."""
        self._children[worker].interpreter.kill()

    def poll(self, timeout: float) -> list[Event]:
        """What has happened, after at most `timeout` seconds."""
        events: list[Event] = []
        ended = []
        for key, ready in self._selector.select(timeout):
            worker = key.data
            child = self._children[worker]
            if key.fileobj == child.exit_fd:
                ended.append(worker)
                continue
            if ready & selectors.EVENT_WRITE:
                self._flush(worker, child)
            if ready & selectors.EVENT_READ:
                events += self._receive(worker, child)
        for worker in ended:
            events += self._bury(worker)
        return events

    def _receive(self, worker: int, child: _Child) -> list[Event]:
        """What one reading gives, so that all workers get their turn; an exit is reported by itself."""
        try:
            return _said(worker, child.inbox.receive())
        except BlockingIOError:
            return []
        except (EOFError, OSError):
            self._selector.unregister(child.interpreter.connection)
            return []

    def _bury(self, worker: int) -> list[Event]:
        """The last messages of a dead worker, then its end. What it had started dies with it."""
        child = self._children.pop(worker)
        child.interpreter.kill()  # before the wait, which gives its number free
        code = child.interpreter.process.wait()
        child.interpreter.keep_printed(*child.logs)
        events: list[Event] = []
        # Not to the end of the stream: a process of the script in another session may hold it open.
        with contextlib.suppress(EOFError, OSError):
            while True:
                events += _said(worker, child.inbox.receive())
        pulse = child.pulse
        ended = Ended(worker, code, pulse.loads(), pulse.read(RUN), pulse.read(ENCODE))
        self._release(child)
        return [*events, ended]

    def _release(self, child: _Child) -> None:
        for each in (child.interpreter.connection, child.exit_fd):
            if each in self._selector.get_map():
                self._selector.unregister(each)
        os.close(child.exit_fd)
        child.pulse.close()
        child.shelf.close()
        child.interpreter.close()

    def beats(self, worker: int) -> tuple[Beat, Beat, Beat]:
        """What a worker is doing: the thread that has been reading longest, the running stage, the encoding one."""
        pulse = self._children[worker].pulse
        load = min(pulse.loads(), key=attrgetter("since"), default=AT_REST)
        return load, pulse.read(RUN), pulse.read(ENCODE)

    def pids(self) -> dict[int, int]:
        """Process ids of the living workers."""
        # A copy in one step: the monitor asks from a thread of its own.
        return {worker: child.interpreter.process.pid for worker, child in list(self._children.items())}

    def close(self) -> None:
        """Kills every worker that is left and waits for their end, but not for one that cannot be killed."""
        for worker in self._children:
            self.kill(worker)
        deadline = time.monotonic() + CLOSE_S
        for child in self._children.values():
            try:
                process = child.interpreter.process
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                logger.warning("process %d was killed and does not end; it is not waited for", process.pid)
            self._release(child)
        self._children.clear()
        self._selector.close()


def _said(worker: int, messages: Sequence[tuple[Any, bytes]]) -> list[Event]:
    """What a worker has said; of its messages only an outcome is a plain tuple."""
    return [
        Said(worker, Done(outcome_from_wire(message)) if isinstance(message, tuple) else message, payload)
        for message, payload in messages
    ]
