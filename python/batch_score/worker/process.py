"""A worker process: one thread reads, the main thread calls the script, one thread encodes and sends.

`init()`, `run()` and `shutdown()` all run on the main thread, so that an event loop made in `init()` is usable in
`run()`. The reading thread also notices that the coordinator is gone: then the process ends at once.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import queue
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from batch_score.errors import ScorerError
from batch_score.minibatch import Status
from batch_score.worker.messages import Done, InitFailed, Ready, Stop
from batch_score.worker.pulse import INIT, LOAD, RUN, Pulse
from batch_score.worker.scorer import load_scorer
from batch_score.worker.stages import Loaded, Ran, Stages, fault_of
from batch_score.worker.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_score.logs.worker import WorkerLogs
    from batch_score.worker.messages import Launch, Task
    from batch_score.worker.scorer import Scorer

logger = logging.getLogger(__name__)

ORPHANED = 70
BROKEN = 71
LOST_COORDINATOR = "the coordinator is gone; leaving"


class Worker:
    """The process's two threads beside the main one, and the queues between them.

    Args:
        connection: To the coordinator.
        pulse: The page the coordinator watches.
        logs: This worker's log files.
    """

    def __init__(self, connection: Connection, pulse: Pulse, logs: WorkerLogs) -> None:
        self._connection = connection
        self._pulse = pulse
        self._logs = logs
        self._to_run: queue.SimpleQueue[Loaded | None] = queue.SimpleQueue()
        # At most one result waits for the encoder, so that results never pile up in memory.
        self._to_encode: queue.Queue[Ran | None] = queue.Queue(maxsize=1)

    def work(self, launch: Launch) -> None:
        """Loads the scorer, runs tasks until told to stop, shuts the scorer down."""
        scorer = self._start(launch)
        if scorer is None:
            return
        stages = Stages(launch.spec, scorer)
        self._thread("read", self._read, stages).start()
        encoding = self._thread("encode", self._encode, stages)
        encoding.start()
        self._run(stages)
        encoding.join()
        self._shut_down(scorer)

    def _thread(self, name: str, target: Callable[[Stages], None], stages: Stages) -> threading.Thread:
        """A thread without which the process is no worker: if it fails, the process ends, for all to see."""

        def run() -> None:
            try:
                target(stages)
            except BaseException:
                logger.exception("the %s thread failed; leaving", name)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(BROKEN)

        return threading.Thread(target=run, name=name, daemon=True)

    def _start(self, launch: Launch) -> Scorer | None:
        """Gives the scorer after `init()`; None when that failed, which has then been reported."""
        self._pulse.busy(RUN, INIT, time.monotonic())
        begin = time.perf_counter()
        where, fatal = "loading the scorer", True
        try:
            scorer = load_scorer(launch.spec.scorer)
            where, fatal = "init()", False
            scorer.init()
        except BaseException as error:  # noqa: BLE001 - a script's sys.exit() in init() is a failure too
            fault = fault_of(error)
            self._logs.error(fault, where)
            self._logs.flush()
            self._send(InitFailed(fault, fatal=fatal or isinstance(error, ScorerError)))
            return None
        finally:
            self._pulse.idle(RUN)
        self._logs.flush()
        self._send(Ready(time.perf_counter() - begin))
        return scorer

    def _read(self, stages: Stages) -> None:
        """Reads mini-batches ahead; how far is the coordinator's choice, which sends only so many tasks."""
        while True:
            try:
                message: Task | Stop = pickle.loads(self._connection.recv_bytes())
            except (EOFError, OSError):
                logger.error(LOST_COORDINATOR)  # noqa: TRY400 - there is no traceback worth keeping
                self._logs.flush()
                _end_with_children()
            if isinstance(message, Stop):
                self._to_run.put(None)
                continue  # stays to notice the coordinator's end
            self._pulse.busy(LOAD, message.minibatch.index, time.monotonic())
            loaded = stages.load(message)
            self._pulse.idle(LOAD)
            self._to_run.put(loaded)

    def _run(self, stages: Stages) -> None:
        while True:
            begin = time.perf_counter()
            loaded = self._to_run.get()
            if loaded is None:
                break
            waiting = time.perf_counter() - begin
            self._pulse.busy(RUN, loaded.task.minibatch.index, time.monotonic())
            ran = stages.run(loaded, waiting)
            self._pulse.idle(RUN)
            self._to_encode.put(ran)
        self._to_encode.put(None)

    def _encode(self, stages: Stages) -> None:
        while (ran := self._to_encode.get()) is not None:
            outcome, payload = stages.encode(ran)
            if outcome.fault is not None:
                step = "reading" if outcome.status == Status.LOAD_EXCEPTION else "run()"
                self._logs.error(outcome.fault, f"{step} of mini-batch {outcome.index}, try {outcome.attempt}")
            self._logs.mini_batch(outcome)
            self._logs.flush()
            self._send(Done(outcome, len(payload)))
            if payload:
                self._connection.send_bytes(payload)

    def _send(self, message: object) -> None:
        self._connection.send_bytes(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def _shut_down(self, scorer: Scorer) -> None:
        try:
            scorer.shutdown()
        except BaseException as error:  # noqa: BLE001 - results do not change after the last mini-batch
            self._logs.error(fault_of(error), "shutdown()")


def _end_with_children() -> None:
    """Ends this process at once, and what the script started if the process leads a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(ORPHANED)


def main() -> None:
    """Where the interpreter of a worker begins; its arguments are two file descriptors: connection and pulse."""
    connection, page = (int(text) for text in sys.argv[1:3])
    # Children of the script must not hold the connection: its end is how the coordinator sees a death.
    os.set_inheritable(connection, False)
    os.set_inheritable(page, False)
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    link = Connection(connection)
    with os.fdopen(page, "r+b") as file:
        pulse = Pulse(file)
    launch: Launch = pickle.loads(link.recv_bytes())
    with workplace(launch, {}) as logs:
        Worker(link, pulse, logs).work(launch)
