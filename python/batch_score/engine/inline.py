"""One worker in this very process: the same stages one after the other, for debugging and tests.

`run()` cannot be stopped from outside here, so time limits do not apply, and a script that kills its process
kills the job.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from batch_score.engine.base import Ended, Event, Said
from batch_score.errors import ScorerError
from batch_score.faults import fault_of
from batch_score.minibatch import tried
from batch_score.worker.messages import Done, InitFailed, Launch, Ready, Task
from batch_score.worker.pulse import AT_REST, Beat
from batch_score.worker.scorer import load_scorer, profiled
from batch_score.worker.stages import Stages
from batch_score.worker.workplace import workplace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.logs.worker import WorkerLogs
    from batch_score.worker.scorer import Scorer


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ready:
    """A worker whose `init()` has returned: only to such a one are tasks sent."""

    number: int
    files: WorkerLogs
    scorer: Scorer
    stages: Stages


def _staying() -> set[object]:
    """The threads and processes that Python waits for before this process ends."""
    threads = {thread for thread in threading.enumerate() if not thread.daemon}
    processes = sys.modules.get("multiprocessing.process")  # what has not imported it cannot have started one
    children = processes.active_children() if processes else ()
    return threads | {child for child in children if not child.daemon}


class InlineEngine:
    """Runs tasks inside `poll`, one a call."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._tasks: deque[Task] = deque()
        self._events: deque[Event] = deque()
        self._worker: int | None = None
        self._ready: _Ready | None = None
        self._before: set[object] = set()

    def start(self, launch: Launch) -> None:
        """Makes this process the worker: environment, arguments and folder are the script's until `close`."""
        # Arrow would catch Ctrl-C while it reads, and make an error of the mini-batch out of it.
        pa.enable_signal_handlers(False)
        self._worker = launch.number
        self._before = _staying()
        files = self._stack.enter_context(workplace(launch, launch.environment))
        begin, fatal = time.perf_counter(), True
        try:
            scorer = profiled(load_scorer(launch.spec.scorer), launch)
            fatal = False
            scorer.init()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the script raises, sys.exit() too
            fault = fault_of(error)
            files.error(fault, "loading the scorer" if fatal else "init()")
            self._events += [
                Said(launch.number, InitFailed(fault, fatal=fatal or isinstance(error, ScorerError))),
                Ended(launch.number, 1, (), AT_REST, AT_REST),
            ]
            self._leave()
            return
        self._ready = _Ready(launch.number, files, scorer, Stages(launch.spec, scorer))
        self._events.append(Said(launch.number, Ready(time.perf_counter() - begin, scorer.take_notes())))

    def send(self, worker: int, tasks: Sequence[Task]) -> None:  # noqa: ARG002 - there is one worker
        """Queues tasks."""
        self._tasks += tasks

    def stop(self, worker: int, *, abandon: bool = False) -> None:
        """Shuts the scorer down after the queued tasks; with `abandon` these are dropped."""
        if abandon:
            self._tasks.clear()
        if self._ready is not None:
            while self._tasks:
                self._events.append(self._step(self._ready))
            try:
                self._ready.scorer.shutdown()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - results do not change after the last mini-batch
                self._ready.files.error(fault_of(error), "shutdown()")
        self._leave()
        if left := _staying() - self._before:
            names = ", ".join(sorted(str(getattr(one, "name", one)) for one in left))
            logger.warning("the script has started and not ended: %s; this process can end only after them", names)
        self._events.append(Ended(worker, 0, (), AT_REST, AT_REST))

    def kill(self, worker: int) -> None:
        """Forgets the queued tasks; what runs in this process cannot be killed."""
        self._tasks.clear()
        self._leave()
        self._events.append(Ended(worker, -9, (), AT_REST, AT_REST))

    def poll(self, timeout: float) -> list[Event]:  # noqa: ARG002 - nothing happens unless it is done here
        """What has happened; runs the next task if nothing has."""
        if not self._events and self._tasks and self._ready is not None:
            self._events.append(self._step(self._ready))
        events = list(self._events)
        self._events.clear()
        return events

    def _step(self, ready: _Ready) -> Event:
        stages, files = ready.stages, ready.files
        outcome, payload = stages.encode(stages.run(stages.load(self._tasks.popleft()), 0.0))
        if outcome.fault is not None:
            files.error(outcome.fault, tried(outcome.index, outcome.attempt, outcome.part))
        files.mini_batch(outcome)
        files.flush()
        return Said(ready.number, Done(outcome), payload)

    def beats(self, worker: int) -> tuple[Beat, Beat, Beat]:  # noqa: ARG002 - there is one worker
        """At rest: whoever asks is not inside `run()`."""
        return AT_REST, AT_REST, AT_REST

    def pids(self) -> dict[int, int]:
        """This process, while the worker is there."""
        return {} if self._worker is None else {self._worker: os.getpid()}

    def close(self) -> None:
        """Gives the process back."""
        self._leave()

    def _leave(self) -> None:
        self._stack.close()
        self._worker = self._ready = None
