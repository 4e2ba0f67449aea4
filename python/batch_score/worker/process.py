"""A worker process: threads read ahead, the main thread calls the script, a thread encodes and sends.

`init()`, `run()` and `shutdown()` all run on the main thread, so that an event loop made in `init()` is usable in
`run()`. Another thread takes messages, so that none waits for the reading of a mini-batch. When the coordinator
dies, the guard (`worker/start.py`) ends the process, whatever these threads are at.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING

from batch_score.entry_script import ScriptLocation
from batch_score.errors import ScorerError
from batch_score.faults import fault_of, is_device_lost
from batch_score.minibatch import Status, tried
from batch_score.worker.handover import Handover
from batch_score.worker.link import Inbox, Outbox
from batch_score.worker.messages import (
    BROKEN,
    CUT_OFF,
    DEVICE_LOST,
    InitFailed,
    Ready,
    Stop,
    outcome_to_wire,
    tasks_from_wire,
)
from batch_score.worker.pulse import ENCODE, INIT, RUN, UNTIMED, Pulse
from batch_score.worker.read_ahead import ReadAhead
from batch_score.worker.reading import Reading
from batch_score.worker.scorer import load_scorer, profiled
from batch_score.worker.shelf import Shelf
from batch_score.worker.stages import Stages
from batch_score.worker.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

    from batch_score.logs.worker import WorkerLogs
    from batch_score.worker.messages import Launch
    from batch_score.worker.reading import Loaded
    from batch_score.worker.scorer import Scorer

logger = logging.getLogger(__name__)

# A dying coordinator's connections close before its process has ended; the guard needs a fraction of a second.
GUARD_S = 5.0
# How long an outcome waits for others to leave with it, and how many bytes do so.
TOGETHER_S = 0.005
TOGETHER_BYTES = 1 << 16
STDERR = 2
# Of what this process prints: stdout, stderr.
STREAMS = (1, STDERR)


class Worker:
    """The process's threads beside the main one, and the queues between them.

    Args:
        incoming: What the coordinator says after the launch: tasks as they travel, and `Stop`.
        outbox: To the coordinator; written to by one thread at a time.
        pulse: The page the coordinator watches.
        logs: This worker's log files.
    """

    def __init__(self, incoming: Iterator[Any], outbox: Outbox, pulse: Pulse, logs: WorkerLogs) -> None:
        self._incoming = incoming
        self._outbox = outbox
        self._pulse = pulse
        self._logs = logs
        self._to_run: queue.SimpleQueue[Loaded | None] = queue.SimpleQueue()
        self._to_encode = Handover()

    def work(self, launch: Launch) -> None:
        """Loads the scorer, runs tasks until told to stop, shuts the scorer down."""
        scorer = self._start(launch)
        if scorer is None:
            return
        stages = Stages(launch.spec, scorer)
        ahead = ReadAhead(
            partial(Reading, launch.spec, scorer),
            launch.spec.reader_threads,
            self._pulse,
            start=self._thread,
            done=partial(self._read, stages),
            end=partial(self._to_run.put, None),
        )
        self._thread("receive", partial(self._receive, ahead))
        encoding = self._thread("encode", partial(self._encode, stages))
        device_lost = self._run(stages, ahead)
        encoding.join()
        if device_lost:
            logger.error("the GPU cannot be used any more by this process; leaving for another one")
            self._logs.flush()
            os._exit(DEVICE_LOST)
        self._shut_down(scorer)

    def _thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Starts a thread without which the process is no worker: if it fails, the process ends, for all to see."""

        def run() -> None:
            done = False
            try:
                target()
                done = True
            except BaseException:
                logger.exception("the %s thread failed; leaving", name)
                faulthandler.dump_traceback(STDERR)
            finally:  # also when the failure cannot be logged
                if not done:
                    os._exit(BROKEN)

        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread

    def _start(self, launch: Launch) -> Scorer | None:
        """Gives the scorer after `init()`; None when that failed, which has then been reported."""
        self._pulse.busy(RUN, INIT, time.monotonic())
        begin = time.perf_counter()
        where, fatal = "loading the scorer", True
        try:
            scorer = profiled(load_scorer(launch.spec.scorer), launch)
            where, fatal = "init()", False
            scorer.init()
        except BaseException as error:  # noqa: BLE001 - a script's sys.exit() in init() is a failure too
            fault = fault_of(error)
            self._logs.error(fault, where)
            self._send(InitFailed(fault, fatal=fatal or isinstance(error, ScorerError)))
            return None
        finally:
            self._pulse.idle(RUN)
        self._send(Ready(time.perf_counter() - begin, scorer.take_notes()))
        return scorer

    def _receive(self, ahead: ReadAhead) -> None:
        """Takes messages as they come, to the end of the process."""
        with contextlib.suppress(EOFError, OSError):
            for message in self._incoming:
                if isinstance(message, Stop):
                    ahead.stop(abandon=message.abandon)
                else:
                    for task in tasks_from_wire(message):
                        ahead.put(task)
        self._cut_off()

    def _read(self, stages: Stages, loaded: Loaded) -> None:
        """Hands on what was read."""
        if loaded.task.describe:  # the script has no part in it, so it need not wait behind a call of run()
            self._to_encode.put(stages.run(loaded, 0.0))
        else:
            self._to_run.put(loaded)

    def _run(self, stages: Stages, ahead: ReadAhead) -> bool:
        """Calls the scorer, to the end of the tasks or until its GPU is lost, which is then true."""
        device_lost = False
        while not device_lost:
            begin = time.perf_counter()
            loaded = self._to_run.get()
            if loaded is None:
                break
            if ahead.abandoned:
                continue  # to the end, which comes after a reading in progress: the script is not shut down beside it
            waiting = time.perf_counter() - begin
            self._pulse.busy(RUN, loaded.task.ticket, time.monotonic())
            ran = stages.run(loaded, waiting)
            self._pulse.idle(RUN)
            ahead.ran(waiting, ran.run)
            device_lost = ran.fault is not None and is_device_lost(ran.fault)
            self._to_encode.put(ran)
        self._to_encode.end()
        return device_lost

    def _encode(self, stages: Stages) -> None:
        """Encodes results and sends outcomes; of results that wait together the outcomes leave together."""
        sent = 0.0
        while (ran := self._to_encode.get()) is not None:
            now = time.monotonic()
            self._pulse.busy(ENCODE, ran.loaded.task.ticket, now)
            outcome, payload = stages.encode(ran)
            if outcome.fault is not None:
                step = "reading" if outcome.status == Status.LOAD_EXCEPTION else "run()"
                self._logs.error(outcome.fault, f"{step} of {tried(outcome.index, outcome.attempt, outcome.part)}")
            self._logs.mini_batch(outcome)
            self._outbox.put(outcome_to_wire(outcome), payload)
            if self._to_encode.empty or now > sent + TOGETHER_S or len(self._outbox) > TOGETHER_BYTES:
                self._pulse.busy(ENCODE, ran.loaded.task.ticket, UNTIMED)
                self._flush()
                self._pulse.idle(ENCODE)
                sent = now
        self._flush()
        self._pulse.idle(ENCODE)

    def _send(self, message: object) -> None:
        self._outbox.put(message)
        self._flush()

    def _flush(self) -> None:
        """Sends what was put into the outbox, behind all that was logged."""
        self._logs.flush()
        try:
            self._outbox.flush()
        except OSError:
            self._cut_off()

    def _cut_off(self) -> NoReturn:
        """Ends the process, which is of no use without its connection.

        If the coordinator has died, that is the guard's part, which takes along what the script has started: it must
        find this process alive. If only the connection broke, the coordinator sees the exit code.
        """
        self._logs.flush()
        time.sleep(GUARD_S)
        logger.error("the connection to the coordinator broke; leaving")
        self._logs.flush()
        os._exit(CUT_OFF)

    def _shut_down(self, scorer: Scorer) -> None:
        try:
            scorer.shutdown()
        except BaseException as error:  # noqa: BLE001 - results do not change after the last mini-batch
            self._logs.error(fault_of(error), "shutdown()")


def take_equipment(connection: int) -> Shelf:
    """Waits for the log files of what this process prints, and for a shelf; what was printed before goes there first.

    Ends the process when the coordinator lets go of it instead.
    """
    with socket.socket(fileno=os.dup(connection)) as coordinator:
        said, given, _, _ = socket.recv_fds(coordinator, 1, len(STREAMS) + len(fields(Shelf)))
    if not said:
        os._exit(0)
    sys.stdout.flush()
    sys.stderr.flush()
    *logs, memory, taken = given
    for printed, log in zip(STREAMS, logs, strict=True):
        with contextlib.suppress(OSError):  # a full disk for one
            os.write(log, os.pread(printed, os.fstat(printed).st_size, 0))
            os.ftruncate(printed, 0)
        os.dup2(log, printed)
        os.close(log)
    return Shelf(memory, taken)


def main(connection: int, page: int) -> None:
    """Works until told to stop.

    Args:
        connection: File descriptor of the socket to the coordinator.
        page: File descriptor of the pulse.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shelf = take_equipment(connection)
    # Children of the script must not hold the connection: its end is how the coordinator sees a death.
    for descriptor in (connection, page, shelf.memory, shelf.taken):
        os.set_inheritable(descriptor, False)
    incoming = Inbox(connection).messages()
    with os.fdopen(page, "r+b") as file:
        pulse = Pulse(file)
    launch: Launch = next(incoming)
    os.environ.update(launch.environment)  # what was not known when the interpreter was started
    with workplace(launch, {}) as logs:
        Worker(incoming, Outbox(connection, shelf), pulse, logs).work(launch)
    if not isinstance(launch.spec.scorer, ScriptLocation):
        # No code of the user's waits for the end of the interpreter, which takes the job longer than a mini-batch.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
