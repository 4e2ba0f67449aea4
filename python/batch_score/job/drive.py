"""The coordinator's loop: plan in, tasks out, outcomes in, until everything is settled or too much has failed."""

from __future__ import annotations

import logging
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batch_score.engine.base import Ended, Said
from batch_score.errors import JobFailedError
from batch_score.faults import is_memory_fault
from batch_score.job.crew import MOST_AHEAD, TAIL, credit, due, overdue
from batch_score.job.death import ended_by
from batch_score.job.ledger import lost
from batch_score.job.split import Failure
from batch_score.job.totals import exceeded
from batch_score.minibatch import Fault, Status, Timings, tried
from batch_score.worker.messages import DEVICE_LOST, Done, InitFailed, Ready
from batch_score.worker.pulse import IDLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batch_score.config import ParallelRunConfig
    from batch_score.engine.base import Event
    from batch_score.job.breaker import InitBreaker
    from batch_score.job.crew import Crew, Member
    from batch_score.job.death import OomCounter
    from batch_score.job.interrupt import Interruption
    from batch_score.job.ledger import Ledger
    from batch_score.job.plan import Planner
    from batch_score.job.queue import MiniBatchQueue, Settled
    from batch_score.job.totals import Totals
    from batch_score.job.worker_times import AllTimes
    from batch_score.logs.report import JobLog
    from batch_score.minibatch import Outcome
    from batch_score.telemetry.base import Telemetry
    from batch_score.worker.messages import Task

logger = logging.getLogger(__name__)

POLL_S = 0.1
STARVED_S = 0.002
# Mini-batches the queue holds ready, at least; the planner may be some lists ahead of it.
LOW_WATER = 1024
# The same with those of streams that have a reader, which nobody else can take: bounds the coordinator's memory.
HIGH_WATER = 1 << 16
# How long the loop may take up planned mini-batches before it looks at workers and signals again.
FEED_S = 0.05
WATCH_S = 0.05
# The breakers are about init() failing everywhere; this is for a place where it fails while others work.
SLOT_TRIES = 3
# So many tasks are named in a message; a worker that dies between two of them may hold some more.
MOST_NAMED = 4
# Who takes longer to leave is named.
LEAVE_S = 2.0
# How long an interrupted job waits for the calls of run() that are under way. A scheduler kills after 30 s or so.
GRACE_S = 10.0


@dataclass(frozen=True)
class Parts:
    """What the loop ties together.

    Attributes:
        crew: The workers.
        queue: The mini-batches.
        ledger: Where settled ones go.
        planner: Where they come from.
        config: Limits and thresholds.
        breaker: Decides about failing `init()`.
        oom: Tells whether the system ran out of memory.
        log: The coordinator's part of the log tree.
        times: Where the workers' time goes.
        telemetry: Told of every try.
        interruption: Whether the user asked the job to stop.
        tick: Called at each turn of the loop, to show progress.
        note: Shows a line to the user.
    """

    crew: Crew
    queue: MiniBatchQueue
    ledger: Ledger
    planner: Planner
    config: ParallelRunConfig
    breaker: InitBreaker
    oom: OomCounter
    log: JobLog
    times: AllTimes
    telemetry: Telemetry
    interruption: Interruption
    tick: Callable[[], None]
    note: Callable[[str], None]


class Driver:
    """Drives a job to its end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._crew, self._queue, self._ledger = parts.crew, parts.queue, parts.ledger
        self._config, self._log, self._breaker = parts.config, parts.log, parts.breaker
        self._started = self._progressed = time.monotonic()
        self._watched = 0.0
        # With fewer, workers would be sent few at a time, as near the end.
        self._low_water = max(LOW_WATER, TAIL * MOST_AHEAD * len(parts.crew.environments))
        self._init_failures: Counter[int] = Counter()
        self._most_items: int | None = None
        self._told: set[str] = set()

    def drive(self) -> None:
        """Runs the job.

        Raises:
            JobFailedError: A threshold, a breaker or a time limit of the job.
            Interrupted: The user asked it to stop; what was in flight has been finished or abandoned.
        """
        interruption = self._parts.interruption
        self._start_when_needed()
        while not self._queue.finished and not interruption.received:
            self._feed()
            self._start_when_needed()
            self._assign()
            self._turn(STARVED_S if self._starved else POLL_S)
            self._end_hopeless()
        if interruption.received:
            self._wind_down()
        self._crew.stop_all()
        self._let_leave()

    def _let_leave(self) -> None:
        """Waits for workers that were told to leave, and says so where it takes long."""
        limit, begin, told = self._config.run_invocation_timeout, time.monotonic(), False
        # What shutdown() does changes no result: who wants the job to stop need not wait for it.
        while self._crew.members and not self._parts.interruption.received:
            waited = time.monotonic() - begin
            if waited >= limit:
                break
            if waited >= LEAVE_S and not told:
                told = True
                text = leaving([member.name for member in self._crew.members.values()], limit)
                logger.info("%s", text)
                self._parts.note(text)
            self._turn(POLL_S)

    def _start_when_needed(self) -> None:
        """Starts the workers: in a new run while the plan is made, in one that goes on once something is left to do."""
        if not self._crew.started_all and (self._queue.pending or not self._ledger.before.mini_batches):
            self._crew.start_all()

    def _wind_down(self) -> None:
        """Lets each worker finish the `run()` it is in, for a while, and keeps what comes of it."""
        text = f"interrupted: finishing what is in flight, at most {GRACE_S:g} s; once more stops at once"
        logger.warning("%s", text)
        self._parts.note(text)
        self._crew.stop_all(abandon=True)
        deadline = time.monotonic() + GRACE_S
        while self._crew.members and time.monotonic() < deadline:
            self._turn(POLL_S)
        self._parts.interruption.check()

    @property
    def _starved(self) -> bool:
        """Workers may be waiting for the plan, so that the loop must come back to it soon."""
        queue = self._queue
        return not queue.plan_complete and queue.for_anyone < self._low_water and queue.pending < HIGH_WATER

    def _turn(self, timeout: float) -> None:
        for event in self._crew.engine.poll(timeout):
            self._handle(event)
        self._log.flush()
        self._watch()
        self._parts.tick()

    def _feed(self) -> None:
        """Takes planned mini-batches until the queue is full enough, the planner has no more ready, or time is up."""
        until = time.monotonic() + FEED_S
        while self._starved:
            chunk = self._parts.planner.take()
            if chunk is None:
                self._queue.plan_complete = True
                logger.info("the plan is complete: mini-batches %d, items %d", self._queue.planned, self._queue.items)
                self._ledger.check_all_passed()
                self._check_thresholds()
                return
            if not chunk:
                return
            for minibatch in chunk:
                if self._ledger.ended(minibatch):
                    self._queue.pass_over(minibatch)
                    self._progressed = time.monotonic()
                else:
                    self._queue.add([minibatch])
            if time.monotonic() > until:
                return

    def _assign(self) -> None:
        """Sends tasks to workers, to each in turn, so that the first ones are not given to one worker."""
        ready = [member for member in self._crew.members.values() if member.ready and not member.killed]
        pending = self._queue.pending
        allowed = {member.number: credit(pending, len(ready), member.pace) for member in ready}
        open_to = [
            member for member in ready if pending and due(member.held, allowed[member.number], member.pace.together)
        ]
        chosen: dict[int, list[Task]] = {member.number: [] for member in open_to}
        while open_to:
            open_to = [
                member
                for member in open_to
                if member.held < allowed[member.number] and self._lease(member, chosen[member.number])
            ]
        for worker, tasks in chosen.items():
            if tasks:
                self._crew.engine.send(worker, tasks)

    def _lease(self, member: Member, chosen: list[Task]) -> bool:
        """Adds the next task for a worker to those chosen for it; tells whether there was one."""
        task = self._queue.lease(member.number)
        if task is None:
            return False
        member.held += 1
        chosen.append(task)
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
            self._parts.times.ready(member.name, self._crew.device(member), time.monotonic())
            logger.info("%s is ready, init() took %.2f s", member.name, message.seconds)
            self._tell(message.notes)
        elif isinstance(message, InitFailed):
            self._init_failed(member, message)
        elif isinstance(message, Done):
            member.held -= 1
            member.pace.add(message.outcome.timings, message.outcome.bytes_read)
            self._parts.times.tried(member.name, message.outcome, time.monotonic())
            self._tell(message.outcome.notes)
            self._done(member, message, event.payload)

    def _tell(self, notes: Mapping[str, str]) -> None:
        """Shows what workers have to say, of each subject what the first one says."""
        for subject in notes.keys() - self._told:
            self._told.add(subject)
            logger.info("%s", notes[subject])
            self._parts.note(f"note: {notes[subject]}")

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
        task = self._queue.task(outcome.ticket, member.number)
        if task is None:
            return  # its lease was taken back: another try decides
        if task.describe:
            self._settle(self._queue.described(outcome.ticket, None if outcome.fault else outcome.failed_items))
            return
        fault = outcome.fault or self._ledger.column_fault(outcome, payload)
        if fault is None:
            self._report(task, outcome, member)
            called = outcome.timings.run > 0
            self._settle(self._queue.scored(outcome.ticket, (outcome, payload), run=called))
            return
        if outcome.fault is None:
            self._log.worker_error(fault, f"run() of {words(task)}", process=member.name)
            outcome = replace(outcome, status=Status.RUN_EXCEPTION, succeeded=0, fault=fault)
        self._report(task, outcome, member)
        reading = outcome.status == Status.LOAD_EXCEPTION
        self._failed(task, self._failure(fault, member, reading=reading, memory=is_memory_fault(fault)))

    def _report(self, task: Task, outcome: Outcome, member: Member) -> None:
        """One line in the report of tries, which the loop writes at the end of its turn."""
        device = self._crew.device(member)
        self._log.report_try(task.minibatch, outcome, process=member.name, device=device, picked=task.attempt + 1)
        self._parts.telemetry.tried(outcome, worker=member.name, device=device)

    def _failure(self, fault: Fault, member: Member, **facts: bool) -> Failure:
        return Failure(fault, log=self._log.traceback_file(member.name), **facts)

    def _failed(self, task: Task, failure: Failure) -> None:
        """A try failed: what becomes of it is the queue's decision."""
        logger.debug("%s failed: %s: %s", words(task), failure.fault.error, failure.fault.message)
        self._settle(self._queue.fail(task.ticket, failure))
        held = self._ledger.totals.plus(mini_batches_failed=self._queue.held, items_failed=self._queue.held_items)
        if self._queue.held and self._exceeded(held):
            self._settle(*self._queue.give_up())

    def _settle(self, *settled: Settled | None) -> None:
        """Writes down what mini-batches came to, now that it is known."""
        for one in settled:
            if one is None:
                continue
            if one.bad:
                first = one.bad[0].failure.fault
                logger.warning(
                    "mini-batch %d failed after %d tries: %d of %d items for good, the first with %s: %s",
                    *(one.task.minibatch.index, one.bad[0].part.tries),
                    *(sum(bad.part.size for bad in one.bad), one.task.minibatch.rows),
                    *(first.error, first.message),
                )
            self._ledger.settle(one)
            self._check_thresholds()
        if self._queue.most_items != self._most_items:
            self._most_items = self._queue.most_items
            logger.warning("memory ran out: run() gets at most %d items at a time from now on", self._most_items)

    def _end_hopeless(self) -> None:
        """Ends what waits for a first success, once nothing is left that could succeed."""
        if self._queue.hopeless:
            self._settle(*self._queue.give_up())

    def _ended(self, member: Member, event: Ended) -> None:
        """A worker's process ended: blame the mini-batch it was at, give back the others, replace it."""
        held = self._queue.holds(member.number)
        del self._crew.members[member.number]
        by_itself = event.code == -signal.SIGKILL and not member.killed
        oom = self._parts.oom.killed_since() if by_itself else False  # asked for every such death: it counts them
        innocent = lost_its_device(event) or (member.stopping and event.code == 0)  # what failed has been answered
        suspects = [] if innocent else suspected(held, event, member.killed_at)
        if len(suspects) == 1:
            self._blame(member, suspects[0], event, oom=oom)
        elif suspects:
            self._leave_open(member, suspects, event, oom=oom)
        elif not held and not member.ready and not member.stopping:
            fault = Fault("WorkerDied", f"the worker {ended_by(event.code, oom=oom)} before init() returned")
            self._log.report_fault(fault, process=member.name)
            self._log.worker_error(fault, "init()", process=member.name)
            self._breaker.failed(member.slot)
        # Also of one that held nothing: it may own a stream whose next mini-batches wait for it.
        self._queue.release(member.number, {task.ticket for task in suspects})
        if not self._queue.finished and not self._parts.interruption.received:
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

    def _leave_open(self, member: Member, suspects: list[Task], event: Ended, *, oom: bool | None) -> None:
        """A worker died while it was at several tasks: no try is counted, each is tried again by itself."""
        self._progressed = time.monotonic()
        fault = Fault("WorkerDied", f"the worker {ended_by(event.code, oom=oom)}; each is tried again by itself")
        where = named(suspects)
        logger.warning("%s at %s: %s", member.name, where, fault.message)
        self._log.worker_error(fault, where, process=member.name)

    def _blame(self, member: Member, task: Task, event: Ended, *, oom: bool | None) -> None:
        """Counts a failed try against the task that a dead worker was at."""
        now = time.monotonic()
        self._progressed = now
        status = member.killed or Status.WORKER_DIED
        fault = self._timeout(status) or Fault("WorkerDied", f"the worker {ended_by(event.code, oom=oom)}")
        logger.warning("%s at %s: %s", member.name, words(task), fault.message)
        failure = self._failure(
            fault,
            member,
            reading=status == Status.LOAD_TIMEOUT or read_at_death(task, event),
            memory=oom is True,
            worker_lost=True,
            unexplained=event.code == -signal.SIGKILL and not member.killed and oom is not True,
        )
        if not task.describe:
            self._log.worker_error(fault, words(task), process=member.name)
            outcome = lost(task, status, fault, spent(task, event, now, time.time()))
            self._report(task, outcome, member)
        self._failed(task, failure)

    def _timeout(self, status: Status) -> Fault | None:
        known = {
            Status.RUN_TIMEOUT: ("run()", "run_invocation_timeout", self._config.run_invocation_timeout),
            Status.LOAD_TIMEOUT: ("reading", "task_overhead_timeout", self._config.task_overhead_timeout),
            Status.ENCODE_TIMEOUT: ("encoding", "task_overhead_timeout", self._config.task_overhead_timeout),
        }
        if status not in known:
            return None
        what, name, limit = known[status]
        return Fault("Timeout", f"{what} took longer than {name} ({limit:g} s); its worker was killed")

    def _watch(self) -> None:
        """Kills workers that exceed a limit, and ends the job when nothing moves."""
        now = time.monotonic()
        if now < self._watched + WATCH_S:
            return
        self._watched = now
        config = self._config
        for member in self._crew.members.values():
            beats = self._crew.engine.beats(member.number)
            limits = {"overhead_limit": config.task_overhead_timeout, "run_limit": config.run_invocation_timeout}
            late = None if member.killed else overdue(beats, now, **limits)
            if late is not None:
                self._crew.kill(member, *late)
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
        reason = self._exceeded(self._ledger.totals)
        if reason:
            raise JobFailedError(reason)

    def _exceeded(self, totals: Totals) -> str | None:
        return exceeded(totals, self._config, self._queue.planned if self._queue.plan_complete else None)


def words(task: Task) -> str:
    """A task in a message."""
    return tried(task.minibatch.index, task.attempt, task.part)


def named(tasks: list[Task]) -> str:
    """Several tasks in a message: the first ones, and how many more."""
    more = len(tasks) - MOST_NAMED
    return " and ".join([*map(words, tasks[:MOST_NAMED]), *([f"{more} more"] if more > 0 else [])])


def leaving(names: list[str], limit: float) -> str:
    """What a job waits for that has nothing left to do."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return (
        f"everything is scored; waiting at most {limit:g} s for {', '.join(names[:MOST_NAMED])}{more} to leave: for "
        "shutdown(), for telemetry, or for threads and processes that the script has started and not ended"
    )


def suspected(held: list[Task], event: Ended, killed_at: int | None) -> list[Task]:
    """Of the tasks a dead worker held, those of which one may have killed it.

    The one it was killed for (by its ticket), none if it has answered that meanwhile; of a worker that died by itself
    those that its stages were at, else all.
    """
    if killed_at is not None:
        return [task for task in held if task.ticket == killed_at]
    busy = {beat.ticket for beat in (*event.loads, event.run, event.encode)}
    return [task for task in held if task.ticket in busy] or held


def lost_its_device(event: Ended) -> bool:
    """A worker left for another process on its device: by then its last results are sent, and nothing runs.

    One that is at something is ended by a script that chose the same exit code.
    """
    return event.code == DEVICE_LOST and event.run.ticket == event.encode.ticket == IDLE


def read_at_death(task: Task, event: Ended) -> bool:
    """A dead worker was reading the task, and not at its `run()`."""
    return event.run.ticket != task.ticket and any(beat.ticket == task.ticket for beat in event.loads)


def spent(task: Task, event: Ended, now: float, clock: float) -> Timings:
    """What a dead worker spent on the task it is blamed for; `now` is of the monotonic clock, `clock` POSIX time."""
    beats = {beat.ticket: beat.busy_for(now) for beat in event.loads}
    load = beats.get(task.ticket, 0.0)
    run = event.run.busy_for(now) if event.run.ticket == task.ticket else 0.0
    encode = max(0.0, event.encode.busy_for(now)) if event.encode.ticket == task.ticket else 0.0
    return Timings(started=clock - max(run, load, encode), load=load, run=run, encode=encode)
