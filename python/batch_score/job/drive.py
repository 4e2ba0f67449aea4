"""The coordinator's loop: plan in, tasks out, outcomes in, until everything is settled or too much has failed."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from batch_score.engine.base import Ended, Said
from batch_score.errors import JobFailedError
from batch_score.job.crew import credit, overdue
from batch_score.job.ledger import lost
from batch_score.job.totals import exceeded
from batch_score.minibatch import Fault, Status, Timings
from batch_score.worker.messages import Done, InitFailed, Ready
from batch_score.worker.pulse import IDLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_score.config import ParallelRunConfig
    from batch_score.engine.base import Event
    from batch_score.job.breaker import InitBreaker
    from batch_score.job.crew import Crew, Member
    from batch_score.job.ledger import Ledger
    from batch_score.job.plan import Planner
    from batch_score.job.queue import MiniBatchQueue
    from batch_score.logs.report import JobLog
    from batch_score.worker.messages import Task

logger = logging.getLogger(__name__)

POLL_S = 0.1
STARVED_S = 0.002
# Mini-batches the queue holds ready; the planner may be some lists ahead of it.
LOW_WATER = 1024
WATCH_S = 0.05
# The breakers are about init() failing everywhere; this is for a place where it fails while others work.
SLOT_TRIES = 3


class Driver:
    """Drives a job to its end.

    Args:
        crew: The workers.
        queue: The mini-batches.
        ledger: Where settled ones go.
        planner: Where they come from.
        config: Limits and thresholds.
        breaker: Decides about failing `init()`.
        log: The coordinator's part of the log tree.
        tick: Called at each turn of the loop, to show progress.
    """

    def __init__(  # noqa: PLR0913 - the parts that the loop ties together
        self,
        crew: Crew,
        queue: MiniBatchQueue,
        ledger: Ledger,
        planner: Planner,
        config: ParallelRunConfig,
        *,
        breaker: InitBreaker,
        log: JobLog,
        tick: Callable[[], None],
    ) -> None:
        self._crew = crew
        self._queue = queue
        self._ledger = ledger
        self._planner = planner
        self._config = config
        self._breaker = breaker
        self._log = log
        self._tick = tick
        self._started = self._progressed = time.monotonic()
        self._watched = 0.0
        self._init_failures: Counter[int] = Counter()

    def drive(self) -> None:
        """Runs the job.

        Raises:
            JobFailedError: A threshold, a breaker or a time limit of the job.
        """
        self._crew.start_all()
        while not self._queue.finished:
            self._feed()
            self._assign()
            self._turn(STARVED_S if self._starved else POLL_S)
        self._crew.stop_all()
        deadline = time.monotonic() + self._config.run_invocation_timeout
        while self._crew.members and time.monotonic() < deadline:
            self._turn(POLL_S)

    @property
    def _starved(self) -> bool:
        """Workers may be waiting for the plan, so that the loop must come back to it soon."""
        return not self._queue.plan_complete and self._queue.pending < LOW_WATER

    def _turn(self, timeout: float) -> None:
        for event in self._crew.engine.poll(timeout):
            self._handle(event)
        self._watch()
        self._tick()

    def _feed(self) -> None:
        """Takes planned mini-batches until the queue is full enough or the planner has no more ready."""
        while self._starved:
            chunk = self._planner.take()
            if chunk is None:
                self._queue.plan_complete = True
                logger.info("the plan is complete: mini-batches %d, items %d", self._queue.planned, self._queue.items)
                self._check_thresholds()
                return
            if not chunk:
                return
            self._queue.add(chunk)

    def _assign(self) -> None:
        """Sends tasks to workers, to each in turn, so that the first ones are not given to one worker."""
        ready = [member for member in self._crew.members.values() if member.ready and not member.killed]
        allowed = credit(self._queue.pending, len(ready))
        while ready:
            ready = [member for member in ready if member.held < allowed and self._send(member)]

    def _send(self, member: Member) -> bool:
        task = self._queue.lease(member.number)
        if task is None:
            return False
        member.held += 1
        self._crew.engine.send(member.number, task)
        return True

    def _handle(self, event: Event) -> None:
        member = self._crew.members[event.worker]
        if isinstance(event, Ended):
            self._ended(member, event)
        elif isinstance(event, Said):
            self._said(member, event)

    def _said(self, member: Member, event: Said) -> None:
        message = event.message
        if isinstance(message, Ready):
            member.ready = True
            self._breaker.succeeded()
            logger.info("%s is ready, init() took %.2f s", member.name, message.seconds)
        elif isinstance(message, InitFailed):
            self._init_failed(member, message)
        elif isinstance(message, Done):
            member.held -= 1
            self._done(member, message, event.payload)

    def _init_failed(self, member: Member, message: InitFailed) -> None:
        self._log.report_fault(message.fault, process=member.name)
        member.stopping = True
        text = f"{message.fault.error}: {message.fault.message}"
        if message.fatal:
            raise JobFailedError(f"the scorer cannot be loaded: {text}")
        logger.warning("init() failed in %s: %s", member.name, text)
        self._breaker.failed(member.slot)

    def _done(self, member: Member, message: Done, payload: bytes) -> None:
        outcome = message.outcome
        self._progressed = time.monotonic()
        task = next((task for task in self._queue.holds(member.number) if task.minibatch.index == outcome.index), None)
        if task is None or task.attempt != outcome.attempt:
            return  # its lease was taken back: another try decides
        fault = outcome.fault or self._ledger.column_fault(outcome, payload)
        if fault is not None:
            if outcome.fault is None:
                where = f"run() of mini-batch {outcome.index}, try {outcome.attempt}"
                self._log.worker_error(fault, where, process=member.name)
            failed = replace(outcome, status=Status.RUN_EXCEPTION, succeeded=0) if outcome.fault is None else outcome
            self._ledger.report_try(task, replace(failed, fault=fault), member.name)
            self._failed(task, fault)
        elif self._queue.settle(outcome.index, outcome.attempt, member.number):
            self._ledger.report_try(task, outcome, member.name)
            self._ledger.commit(task, outcome, payload)
            self._check_thresholds()

    def _failed(self, task: Task, fault: Fault) -> None:
        """A try failed: once more, or for good."""
        if self._queue.fail(task.minibatch.index) is not None:
            logger.warning(
                "mini-batch %d failed after %d tries: %s: %s",
                task.minibatch.index,
                task.attempt + 1,
                fault.error,
                fault.message,
            )
            self._ledger.give_up(task, fault)
            self._check_thresholds()

    def _ended(self, member: Member, event: Ended) -> None:
        """A worker's process ended: blame the mini-batch it was at, give back the others, replace it."""
        held = self._queue.holds(member.number)
        del self._crew.members[member.number]
        if held:
            task = blamed(held, event, member.killed_at)
            if task is not None:
                self._blame(member, task, event)
        elif not member.ready and not member.stopping:
            fault = Fault("WorkerDied", f"the worker {ended_by(event.code)} before init() returned")
            self._log.report_fault(fault, process=member.name)
            self._log.worker_error(fault, "init()", process=member.name)
            self._breaker.failed(member.slot)
        # Also of one that held nothing: it may own a stream whose next mini-batches wait for it.
        self._queue.release(member.number)
        if not self._queue.finished:
            self._replace(member)

    def _replace(self, member: Member) -> None:
        """Starts the next worker of the slot, unless `init()` fails there again and again."""
        reason = self._breaker.open(time.monotonic() - self._started)
        if reason:
            raise JobFailedError(reason)
        self._init_failures[member.slot] = 0 if member.ready else self._init_failures[member.slot] + 1
        if self._init_failures[member.slot] >= SLOT_TRIES:
            logger.warning("init() failed %d times in a row; going on with one worker less", SLOT_TRIES)
            if not self._crew.members:
                raise JobFailedError(f"init() failed {SLOT_TRIES} times in a row on the last worker that was left")
            return
        self._crew.start(member.slot)

    def _blame(self, member: Member, task: Task, event: Ended) -> None:
        """Counts a failed try against the task that a dead worker was at."""
        now = time.monotonic()
        self._progressed = now
        status = member.killed or Status.WORKER_DIED
        fault = self._timeout(status) or Fault("WorkerDied", f"the worker {ended_by(event.code)}")
        logger.warning("%s at mini-batch %d: %s", member.name, task.minibatch.index, fault.message)
        where = f"mini-batch {task.minibatch.index}, try {task.attempt}"
        self._log.worker_error(fault, where, process=member.name)
        outcome = lost(task, status, fault, spent(task, event, now, time.time()))
        self._ledger.report_try(task, outcome, member.name)
        self._failed(task, fault)

    def _timeout(self, status: Status) -> Fault | None:
        if status == Status.RUN_TIMEOUT:
            limit = self._config.run_invocation_timeout
            return Fault(
                "Timeout", f"run() took longer than run_invocation_timeout ({limit:g} s); its worker was killed"
            )
        if status == Status.LOAD_TIMEOUT:
            limit = self._config.task_overhead_timeout
            return Fault(
                "Timeout", f"reading took longer than task_overhead_timeout ({limit:g} s); its worker was killed"
            )
        return None

    def _watch(self) -> None:
        """Kills workers that exceed a limit, and ends the job when nothing moves."""
        now = time.monotonic()
        if now < self._watched + WATCH_S:
            return
        self._watched = now
        config = self._config
        for member in self._crew.members.values():
            load, run = self._crew.engine.beats(member.number)
            limits = {"load_limit": config.task_overhead_timeout, "run_limit": config.run_invocation_timeout}
            status = None if member.killed else overdue(load, run, now, **limits)
            if status is not None:
                self._crew.kill(member, status, (run if status == Status.RUN_TIMEOUT else load).index)
        breaker = self._breaker
        stuck = breaker.open(now - self._started) or breaker.stuck(self._crew.longest_init(now)) or self._stalled(now)
        if stuck and not self._queue.finished:
            raise JobFailedError(stuck)

    def _stalled(self, now: float) -> str | None:
        if not self._queue.planned:
            limit = self._config.first_task_creation_timeout
            late = now - self._started > limit
            message = f"no mini-batch was planned within first_task_creation_timeout ({limit:g} s)"
            return f"{message}; raise it if the input takes longer to list" if late else None
        limit = self._config.stall_timeout
        if now - max(self._progressed, self._started) > limit:
            return (
                f"no try of a mini-batch has ended within progress_update_timeout ({limit:g} s), with "
                f"{self._crew.states()}; raise it if one may take longer"
            )
        return None

    def _check_thresholds(self) -> None:
        planned = self._queue.planned if self._queue.plan_complete else None
        reason = exceeded(self._ledger.totals, self._config, planned)
        if reason:
            raise JobFailedError(reason)


def blamed(held: list[Task], event: Ended, killed_at: int | None) -> Task | None:
    """Of the tasks a dead worker held, the one to blame.

    The one it was killed for, None if it has answered that meanwhile; of a worker that died by itself the one it was
    running, else reading, else the oldest.
    """
    if killed_at is not None:
        return next((task for task in held if task.minibatch.index == killed_at), None)
    for beat in (event.run, event.load):
        for task in held:
            if beat.index != IDLE and task.minibatch.index == beat.index:
                return task
    return held[0]


def spent(task: Task, event: Ended, now: float, clock: float) -> Timings:
    """What a dead worker spent on the task it is blamed for; `now` is of the monotonic clock, `clock` POSIX time."""
    run, load = (beat.busy_for(now) if beat.index == task.minibatch.index else 0.0 for beat in (event.run, event.load))
    return Timings(started=clock - max(run, load), load=load, run=run)


def ended_by(code: int) -> str:
    """How a process ended, in words: `was killed by SIGKILL (out of memory?)`, `left with exit code 3`."""
    if code >= 0:
        return f"left with exit code {code}"
    known = {number.value: number.name for number in signal.Signals}
    name = known.get(-code, f"signal {-code}")  # real-time signals have no names of their own
    causes = {"SIGKILL": " (out of memory?)", "SIGSEGV": " (a crash in native code)", "SIGABRT": " (native abort)"}
    return f"was killed by {name}{causes.get(name, '')}"
