"""The workers of a job: who is there, who may be sent more, who has been at something for too long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from batch_score.logs.tree import process_name
from batch_score.minibatch import Status
from batch_score.worker.messages import Launch
from batch_score.worker.pulse import IDLE, INIT, Beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.engine.base import Engine
    from batch_score.worker.messages import WorkerSpec

MOST_AHEAD = 4


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
    """

    number: int
    slot: int
    ready: bool = False
    stopping: bool = False
    killed: Status | None = None
    killed_at: int | None = None
    held: int = 0

    @property
    def name(self) -> str:
        """As the log tree calls it."""
        return process_name(self.number)


def credit(pending: int, workers: int) -> int:
    """How many tasks a worker may hold: enough to overlap its stages, few enough to share out the last ones."""
    return max(1, min(MOST_AHEAD, pending // max(1, workers)))


def overdue(load: Beat, run: Beat, now: float, *, load_limit: float, run_limit: float) -> Status | None:
    """Which time limit a worker has exceeded, given what its stages are doing."""
    if run.ticket not in (IDLE, INIT) and run.busy_for(now) > run_limit:
        return Status.RUN_TIMEOUT
    if load.ticket != IDLE and load.busy_for(now) > load_limit:
        return Status.LOAD_TIMEOUT
    return None


def at(load: Beat, run: Beat) -> str:
    """What a worker is at, in words for a message."""
    if run.ticket != IDLE:
        return "inside init()" if run.ticket == INIT else "inside run()"
    return "reading" if load.ticket != IDLE else "starting or waiting"


@dataclass
class Crew:
    """Starts, replaces and ends workers through an engine.

    Attributes:
        engine: Who carries it out.
        spec: What every worker must know.
        environments: One environment per slot.
        devices: The device of each slot, in words.
        members: The living workers by number.
    """

    engine: Engine
    spec: WorkerSpec
    environments: Sequence[dict[str, str]]
    members: dict[int, Member] = field(default_factory=dict)
    started: int = 0
    devices: Sequence[str] = ()

    def start_all(self) -> None:
        """One worker per slot."""
        for slot in range(len(self.environments)):
            self.start(slot)

    def start(self, slot: int) -> None:
        """A worker for `slot` under a new number."""
        member = Member(self.started, slot)
        self.started += 1
        self.members[member.number] = member
        self.engine.start(Launch(member.number, self.environments[slot], self.spec, self.devices[slot]))

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
