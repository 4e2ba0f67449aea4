"""The workers of a job: who is there, who may be sent more, who has been at something for too long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batch_score.logs.tree import process_name
from batch_score.minibatch import Status
from batch_score.worker.messages import Launch
from batch_score.worker.pulse import IDLE, INIT, UNTIMED, Beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.engine.base import Engine
    from batch_score.gpu.placement import Assignment
    from batch_score.minibatch import Timings
    from batch_score.worker.messages import WorkerSpec

# How long a worker may have to wait for the coordinator, which may be taking up planned mini-batches.
LATENCY_S = 0.05
# Tasks that a worker may hold: at least one for each thread that reads and one that runs; not more than are worth a
# message together, unless these are.
MOST_AHEAD = 32
# Of so many a worker gets as many as there are, also of the last ones; of more only a part, to share them out.
FEW, TAIL = 4, 4
# Tasks that take less than this together are worth one message.
TOGETHER_S = 0.005
# Input that each reading thread of a worker may hold in memory, unless its mini-batch is more than that.
BYTES_AHEAD = 32_000_000


@dataclass(slots=True)
class Pace:
    """What the recent tries of a worker cost: a slow one counts at once, and fades with each quick one.

    Attributes:
        whole: Seconds of all stages of a try, 0 when there was none.
        slowest: Seconds of the stage that takes longest, and so decides how soon the next task is needed.
        size: Bytes of input.
        readers: Threads that read, at most.
    """

    whole: float = 0.0
    slowest: float = 0.0
    size: float = 0.0
    readers: int = 1

    def add(self, timings: Timings, size: int) -> None:
        """Another try has ended."""
        self.whole = _remembered(self.whole, timings.load + timings.run + timings.encode)
        load = timings.load / self.readers
        self.slowest = _remembered(self.slowest, max(load, timings.run, timings.encode))
        self.size = _remembered(self.size, size)

    @property
    def ahead(self) -> int:
        """Tasks that keep the worker busy while one goes through its stages and the coordinator is elsewhere."""
        least = self.readers + 1
        if not self.slowest:
            return least
        needed = 1 + (self.whole + LATENCY_S) / self.slowest
        room = self.readers * BYTES_AHEAD / max(1.0, self.size)
        return int(max(least, min(MOST_AHEAD, needed, room)))

    @property
    def together(self) -> int:
        """Tasks that are worth a message together."""
        return max(1, int(TOGETHER_S / self.slowest)) if self.slowest else 1


def _remembered(before: float, now: float) -> float:
    return max(now, (3 * before + now) / 4)


@dataclass(slots=True)
class Member:
    """One worker.

    Attributes:
        number: Its number, never used twice in a job.
        slot: Its place among the job's workers; a replacement takes over the slot and with it the device.
        ready: `init()` has returned.
        stopping: It was told to leave.
        killed: Why the coordinator killed it, None otherwise.
        killed_at: The ticket of the task it was killed for.
        held: Tasks it was sent and has not answered.
        pace: What its recent tries cost.
    """

    number: int
    slot: int
    ready: bool = False
    stopping: bool = False
    killed: Status | None = None
    killed_at: int | None = None
    held: int = 0
    pace: Pace = field(default_factory=Pace)

    @property
    def name(self) -> str:
        """As the log tree calls it."""
        return process_name(self.number)


def credit(pending: int, workers: int, pace: Pace) -> int:
    """How many tasks a worker may hold: enough to overlap its stages, few enough to share out the last ones.

    Args:
        pending: Tasks that wait for a worker.
        workers: Among so many they are shared out.
        pace: Tells what the worker needs to stay busy.
    """
    share = pending // max(1, workers)
    part = share if workers == 1 else share // TAIL
    return max(1, min(pace.ahead, max(part, min(max(FEW, pace.readers), share))))


def due(held: int, allowed: int, together: int) -> bool:
    """Whether a worker is sent more tasks now: many quick ones together, at the latest when half of them are done."""
    return held + min(together, allowed // 2 if allowed > FEW else 1) <= allowed


def overdue(
    beats: tuple[Beat, Beat, Beat], now: float, *, overhead_limit: float, run_limit: float
) -> tuple[Status, int] | None:
    """Which time limit a worker has exceeded, and the ticket of the task, given what its stages are doing.

    Args:
        beats: As `Engine.beats` gives them.
        now: Of the monotonic clock.
        overhead_limit: Seconds for reading a mini-batch, and for encoding what came of it.
        run_limit: Seconds for one call of `run()`.
    """
    load, run, encode = beats
    limits = (
        (Status.RUN_TIMEOUT, run, run_limit),
        (Status.ENCODE_TIMEOUT, encode, overhead_limit),
        (Status.LOAD_TIMEOUT, load, overhead_limit),
    )
    late = ((status, beat.ticket) for status, beat, limit in limits if beat.ticket >= 0 and beat.busy_for(now) > limit)
    return next(late, None)


def at(load: Beat, run: Beat, encode: Beat) -> str:
    """What a worker is at, in words for a message."""
    if run.ticket != IDLE:
        return "inside init()" if run.ticket == INIT else "inside run()"
    if encode.ticket != IDLE:
        return "sending" if encode.since == UNTIMED else "encoding"
    return "reading" if load.ticket != IDLE else "starting or waiting"


@dataclass
class Crew:
    """Starts, replaces and ends workers through an engine.

    Attributes:
        engine: Who carries it out.
        spec: What every worker must know.
        environments: One environment per slot.
        assignments: The device of each slot.
        cpus: The CPUs of each slot, none for all.
        members: The living workers by number.
        started_all: Each slot has had a worker.
    """

    engine: Engine
    spec: WorkerSpec
    environments: Sequence[dict[str, str]]
    members: dict[int, Member] = field(default_factory=dict)
    started: int = 0
    assignments: Sequence[Assignment] = ()
    cpus: Sequence[tuple[int, ...]] = ()

    started_all: bool = False

    def start_all(self) -> None:
        """One worker per slot."""
        self.started_all = True
        for slot in range(len(self.environments)):
            self.start(slot)

    def start(self, slot: int) -> None:
        """A worker for `slot` under a new number."""
        member = Member(self.started, slot, pace=Pace(readers=self.spec.reader_threads[1]))
        self.started += 1
        self.members[member.number] = member
        place = (self.environments[slot], self.spec, self.assignments[slot].device, self.cpus[slot])
        self.engine.start(Launch(member.number, *place))

    def device(self, member: Member) -> str:
        """UUID of a worker's GPU or MIG slice, empty without one."""
        unit = self.assignments[member.slot].unit
        return unit.uuid if unit else ""

    def kill(self, member: Member, status: Status, ticket: int) -> None:
        """Ends a worker that exceeded a time limit at the task with that ticket."""
        member.killed, member.killed_at = status, ticket
        self.engine.kill(member.number)

    def stop_all(self, *, abandon: bool = False) -> None:
        """Lets every worker leave in order; one that is still inside `init()` is not waited for.

        Args:
            abandon: Tasks that have not reached `run()` are dropped.
        """
        for member in list(self.members.values()):
            if not member.stopping and member.ready:
                self.engine.stop(member.number, abandon=abandon)
            elif not member.stopping:
                self.engine.kill(member.number)
            member.stopping = True

    def states(self) -> str:
        """What the workers are at, e.g. `2 workers inside run(), 1 reading`."""
        counts = Counter(at(*self.engine.beats(number)) for number in self.members)
        (first, count), *others = counts.most_common() or [("left", 0)]
        head = f"{count} {'worker' if count == 1 else 'workers'} {first}"
        return ", ".join([head, *(f"{number} {state}" for state, number in others)])

    def longest_init(self, now: float) -> float:
        """Seconds that all workers have been inside `init()`, 0 if one of them is not."""
        beats = [self.engine.beats(number)[1] for number in self.members]
        if not beats or any(beat.ticket != INIT for beat in beats):
            return 0.0
        return min(beat.busy_for(now) for beat in beats)
