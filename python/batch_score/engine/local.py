"""Workers as processes of this machine, each in a process group of its own."""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from batch_score.engine.base import Ended, Event, Said
from batch_score.logs.tree import LogTree
from batch_score.worker.messages import Done, Launch, Stop, Task
from batch_score.worker.pulse import LOAD, RUN, Beat, Pulse

START = "from batch_score.worker.start import main; main()"


@dataclass
class _Child:
    """A worker process as its parent holds it. `exit_fd` becomes readable when the process has ended."""

    process: subprocess.Popen[bytes]
    connection: Connection
    pulse: Pulse
    exit_fd: int


class LocalEngine:
    """Starts every worker with a fresh interpreter: nothing is forked from the coordinator's state."""

    def __init__(self) -> None:
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()

    def start(self, launch: Launch) -> None:
        """Starts the interpreter with the launch's environment, so that device masks are there before any import."""
        ours, theirs = socket.socketpair()
        with theirs, tempfile.TemporaryFile(prefix="batch-score-") as page:
            pulse = Pulse.create(page)
            process = _spawn(launch, theirs.fileno(), page.fileno())
        connection = Connection(ours.detach())
        child = _Child(process, connection, pulse, os.pidfd_open(process.pid))
        self._children[launch.number] = child
        self._selector.register(connection, selectors.EVENT_READ, launch.number)
        self._selector.register(child.exit_fd, selectors.EVENT_READ, launch.number)
        self._say(launch.number, launch)

    def send(self, worker: int, task: Task) -> None:
        """Hands a worker a task."""
        self._say(worker, task)

    def stop(self, worker: int, *, abandon: bool = False) -> None:
        """Lets a worker finish what it was sent and leave; with `abandon` only what `run()` has begun on."""
        self._say(worker, Stop(abandon))

    def _say(self, worker: int, message: object) -> None:
        try:
            self._children[worker].connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
        except (BrokenPipeError, ConnectionResetError):
            return  # it died; poll() says so, and what it held goes back to the queue then

    def kill(self, worker: int) -> None:
        """Kills the worker's process group."""
        _kill_group(self._children[worker].process.pid)

    def poll(self, timeout: float) -> list[Event]:
        """What has happened, after at most `timeout` seconds."""
        events: list[Event] = []
        ended = []
        for key, _ in self._selector.select(timeout):
            worker = key.data
            child = self._children[worker]
            if key.fileobj == child.exit_fd:
                ended.append(worker)
            else:
                events += self._receive(worker, child)
        for worker in ended:
            events += self._bury(worker)
        return events

    def _receive(self, worker: int, child: _Child) -> list[Event]:
        """One message; none when the worker closed its end, whose exit is reported by itself."""
        try:
            message: Any = pickle.loads(child.connection.recv_bytes())
            payload = child.connection.recv_bytes() if isinstance(message, Done) and message.payload else b""
        except (EOFError, OSError):
            if child.connection in self._selector.get_map():
                self._selector.unregister(child.connection)
            return []
        return [Said(worker, message, payload)]

    def _bury(self, worker: int) -> list[Event]:
        """The last messages of a dead worker, then its end. What it had started dies with it."""
        child = self._children.pop(worker)
        code = child.process.wait()
        _kill_group(child.process.pid)
        events: list[Event] = []
        while child.connection.poll(0) and (said := self._receive(worker, child)):
            events += said
        if child.connection in self._selector.get_map():
            self._selector.unregister(child.connection)
        self._selector.unregister(child.exit_fd)
        os.close(child.exit_fd)
        child.connection.close()
        load, run = child.pulse.read(LOAD), child.pulse.read(RUN)
        child.pulse.close()
        return [*events, Ended(worker, code, load, run)]

    def beats(self, worker: int) -> tuple[Beat, Beat]:
        """What a worker's reading and running stages are doing."""
        pulse = self._children[worker].pulse
        return pulse.read(LOAD), pulse.read(RUN)

    def pids(self) -> dict[int, int]:
        """Process ids of the living workers."""
        # A copy in one step: the monitor asks from a thread of its own.
        return {worker: child.process.pid for worker, child in list(self._children.items())}

    def close(self) -> None:
        """Kills every worker that is left and waits for their end."""
        for worker in list(self._children):
            self.kill(worker)
            self._bury(worker)
        self._selector.close()


def _spawn(launch: Launch, connection: int, page: int) -> subprocess.Popen[bytes]:
    """The worker's interpreter. -P keeps its module path free of the code root until our own imports are done."""
    tree = LogTree(launch.spec.run_dir / "logs", launch.spec.node)
    with tree.worker_stdout(launch.name).open("ab") as out, tree.worker_stderr(launch.name).open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(connection), str(page), str(os.getpid())],
            env=launch.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(connection, page),
            start_new_session=True,
        )


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return  # the group is gone already
