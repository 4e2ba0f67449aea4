"""Which mini-batch goes to whom, how often it is tried, and when it is settled. Pure: no clock, files, processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from batch_score.job.split import MOST_WORKERS_LOST, Part, Scored, Split
from batch_score.job.waiting import WaitingTasks
from batch_score.worker.messages import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from batch_score.job.split import Bad, Failure
    from batch_score.minibatch import FailedItem, MiniBatch

# While nothing has succeeded in the whole job, so many parts may fail: a script that always fails is not worth more.
PATIENCE = 32


@dataclass(frozen=True, slots=True)
class Settled:
    """What a mini-batch came to in the end.

    Attributes:
        task: The whole mini-batch; `attempt` is that of its last try.
        failed: All tries of it, or of a part of it, had failed.
        scored: What was scored, in the order of the items.
        bad: What failed for good, in the order of the items.
        described: The bad items with their keys and records, without lines that turned out to be no items; None when
            they could not be looked up, or need not be.
    """

    task: Task
    failed: bool
    scored: tuple[Scored, ...]
    bad: tuple[Bad, ...]
    described: tuple[FailedItem, ...] | None = None


@dataclass(slots=True)
class _Lease:
    """What a worker holds: a part to score, or items to describe when there is none."""

    task: Task
    worker: int
    part: Part | None


class _Leases:
    """The leases that stand, by ticket and by worker: none is looked for among those of others."""

    def __init__(self) -> None:
        self._all: dict[int, _Lease] = {}
        self._of: dict[int, dict[int, _Lease]] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, lease: _Lease) -> None:
        ticket = lease.task.ticket
        self._all[ticket] = self._of.setdefault(lease.worker, {})[ticket] = lease

    def get(self, ticket: int) -> _Lease | None:
        return self._all.get(ticket)

    def end(self, ticket: int) -> _Lease:
        lease = self._all.pop(ticket)
        of_worker = self._of[lease.worker]
        del of_worker[ticket]
        if not of_worker:
            del self._of[lease.worker]
        return lease

    def of(self, worker: int) -> dict[int, _Lease]:
        """Those of one worker, oldest first; not to be changed."""
        return self._of.get(worker, {})


class MiniBatchQueue:
    """Mini-batches from planned to settled.

    A mini-batch is waiting, leased to workers (whole or in parts), or settled. An outcome counts only while its
    lease stands, so each item is settled exactly once, whatever its tries do. For each part of a split mini-batch
    that can be taken there is one task: waiting, or held.

    Args:
        max_try: Tries of a mini-batch before it is split, or failed for good.
        bisect: A mini-batch that failed all its tries is split until its bad items stand alone.
        patience: How many parts may fail while nothing has succeeded.
        most_workers_lost: How many workers the parts of one mini-batch may cost.

    Attributes:
        planned: Mini-batches that were added.
        items: Their items.
        settled: How many of them are settled.
        plan_complete: No more will be added.
        most_items: Items that `run()` may get at a time since memory ran out, None while it never did.
        held_items: Items of the mini-batches that are held.
    """

    def __init__(
        self,
        max_try: int,
        *,
        bisect: bool = True,
        patience: int = PATIENCE,
        most_workers_lost: int = MOST_WORKERS_LOST,
    ) -> None:
        self._max_try = max_try
        self._bisect = bisect
        self._most_workers_lost = most_workers_lost
        self._waiting = WaitingTasks()
        self._leases = _Leases()
        self._splits: dict[int, Split] = {}
        self._undescribed: dict[int, Settled] = {}
        self._held: dict[int, list[Task]] = {}
        self._patience: int | None = patience
        self._tickets = 0
        self.planned = self.items = self.settled = 0
        self.plan_complete = False
        self.most_items: int | None = None
        self.held_items = 0

    def add(self, minibatches: Iterable[MiniBatch]) -> None:
        """Takes planned mini-batches."""
        for minibatch in minibatches:
            self._waiting.add(Task(minibatch, 0, self.items))
            self.planned += 1
            self.items += minibatch.rows

    def pass_over(self, minibatch: MiniBatch) -> None:
        """Counts a planned mini-batch that was settled in an earlier session of the run."""
        self._waiting.pass_over(minibatch)
        self.planned += 1
        self.items += minibatch.rows
        self.settled += 1

    @property
    def pending(self) -> int:
        """Tasks that wait for a worker."""
        return len(self._waiting)

    @property
    def for_anyone(self) -> int:
        """How many of them any worker could take: all but those of streams that have a reader."""
        return self._waiting.for_anyone

    @property
    def finished(self) -> bool:
        """Everything planned is settled and nothing more will come."""
        return self.plan_complete and self.settled == self.planned

    def lease(self, worker: int) -> Task | None:
        """The next task for `worker`, None when there is none for it now."""
        held = self._leases.of(worker)
        if len(held) == 1 and next(iter(held.values())).task.alone:  # with others beside it, none of them is alone
            return None
        accompanied = bool(held)
        while (
            task := self._waiting.take(worker, plan_complete=self.plan_complete, accompanied=accompanied)
        ) is not None:
            if task.describe:
                return self._leased(task, worker, None)
            split = self._splits.get(task.minibatch.index) or self._cut(task)
            if split is None:
                return self._leased(task, worker, self._whole(task))
            if self._patience == 0 and split.troubled:
                self._hold(task)
            else:
                return self._leased(task, worker, self._take(task, split))
        return None

    def _leased(self, task: Task, worker: int, part: Part | None) -> Task:
        self._tickets += 1
        attempt, span = task.attempt, task.part
        if part is not None:
            attempt = part.tries
            span = None if part.size == task.minibatch.rows else (part.start, part.stop)
        leased = Task(task.minibatch, attempt, task.first_item, span, task.describe, task.alone, self._tickets)
        self._leases.add(_Lease(leased, worker, part))
        return leased

    def _whole(self, task: Task) -> Part:
        return Part(0, task.minibatch.rows, 0, self._max_try)

    def _cut(self, task: Task) -> Split | None:
        """A mini-batch with more items than fit into memory is in parts from the start."""
        if self.most_items is None or task.minibatch.rows <= self.most_items or not self._divisible(task):
            return None
        split = self._split(task)
        split.cut(self.most_items)
        self._offer(task, split.waiting - 1)
        return split

    def _split(self, task: Task) -> Split:
        index = task.minibatch.index
        if index not in self._splits:
            self._splits[index] = Split(
                self._whole(task), divisible=self._divisible(task), most_workers_lost=self._most_workers_lost
            )
        return self._splits[index]

    def _divisible(self, task: Task) -> bool:
        return self._bisect and not task.minibatch.whole

    def _take(self, task: Task, split: Split) -> Part:
        """A part to try; one that is cut for it leaves another one waiting."""
        waiting = split.waiting
        part = split.take()
        self._offer(task, split.waiting - waiting + 1)
        return part

    def _offer(self, task: Task, parts: int) -> None:
        """Makes parts of a split available, before anything else."""
        for _ in range(parts):
            self._waiting.put_first(replace(task, part=None, ticket=0))

    def task(self, ticket: int, worker: int) -> Task | None:
        """The task of a lease that stands and is this worker's; None otherwise: what it did must not be kept."""
        lease = self._leases.get(ticket)
        return lease.task if lease is not None and lease.worker == worker else None

    def holds(self, worker: int) -> list[Task]:
        """The tasks leased to `worker`, oldest first."""
        return [lease.task for lease in self._leases.of(worker).values()]

    def scored(self, ticket: int, result: Any, *, run: bool = True) -> Settled | None:
        """A leased task was scored; gives what its mini-batch came to, if that is now known.

        Args:
            ticket: Of its lease.
            result: What came of it.
            run: `run()` was called and returned, which it is not for a part without any readable item.
        """
        lease = self._leases.end(ticket)
        if run:
            self._go_on()
        task, part = lease.task, lease.part or self._whole(lease.task)
        split = self._splits.get(task.minibatch.index)
        if split is None:  # all of it at the first try, as nearly always
            self.settled += 1
            return Settled(task, failed=False, scored=(Scored(part, result),), bad=())
        return self._after(task, split, partial(split.succeed, part, result))

    def fail(self, ticket: int, failure: Failure) -> Settled | None:
        """A try of a leased task failed; gives what its mini-batch came to, if that is now known."""
        lease = self._leases.end(ticket)
        task, part = lease.task, lease.part
        if part is None:
            return self._described(task, None)
        split = self._splits.get(task.minibatch.index)
        if split is None:
            split = self._split(task)
            split.take()
        elif self._patience and (split.failed or (failure.memory and part.size == 1)):
            self._patience -= 1
        return self._after(task, split, partial(split.fail, part, failure))

    def described(self, ticket: int, items: Iterable[FailedItem] | None) -> Settled:
        """A worker has told keys and records of bad items, or could not."""
        return self._described(self._leases.end(ticket).task, items)

    def _described(self, task: Task, items: Iterable[FailedItem] | None) -> Settled:
        self.settled += 1
        settled = self._undescribed.pop(task.minibatch.index)
        return replace(settled, described=None if items is None else tuple(items))

    def _after(self, task: Task, split: Split, change: Callable[[], None]) -> Settled | None:
        """Carries out a change of a split and follows it up: as many tasks as there are parts, or the end."""
        waiting = split.waiting
        change()
        if split.given_up:
            self._waiting.drop(task.minibatch.index)
            if self._held.pop(task.minibatch.index, None):
                self.held_items -= task.minibatch.rows
            waiting = 0
        self._offer(task, split.waiting - waiting)
        return self._conclude(task, split) if split.done else None

    def _conclude(self, task: Task, split: Split) -> Settled | None:
        """All items of a mini-batch are scored or bad; the bad ones may have to be described first."""
        self._splits.pop(task.minibatch.index, None)
        # Where fewer items, or as many, ran out of memory than went well, it was an item: that says nothing of others.
        if split.smallest_out_of_memory is not None and 0 < split.largest_scored < split.smallest_out_of_memory:
            self.most_items = min(self.most_items or split.largest_scored, split.largest_scored)
        settled = Settled(
            replace(task, part=None),
            split.failed,
            tuple(sorted(split.scored, key=lambda scored: scored.part.start)),
            tuple(sorted(split.bad, key=lambda bad: bad.part.start)),
        )
        positions = _to_describe(task, settled.bad)
        if not positions:
            self.settled += 1
            return settled
        self._undescribed[task.minibatch.index] = settled
        self._waiting.put_first(replace(task, part=None, describe=positions))
        return None

    def _hold(self, task: Task) -> None:
        """Nothing has succeeded: what failed waits for that, or for the end."""
        if task.minibatch.index not in self._held:
            self._held[task.minibatch.index] = []
            self.held_items += task.minibatch.rows
        self._held[task.minibatch.index].append(task)

    def _go_on(self) -> None:
        """Something has succeeded: splitting what failed is worth while."""
        self._patience = None
        for task in [task for tasks in self._held.values() for task in tasks][::-1]:
            self._waiting.put_first(task)
        self._held.clear()
        self.held_items = 0

    @property
    def held(self) -> int:
        """Mini-batches that have failed, but are not split because nothing in the job has succeeded."""
        return len(self._held)

    @property
    def hopeless(self) -> bool:
        """Nothing has succeeded, and nothing is left that could."""
        return bool(self._held) and self.plan_complete and not self._leases and not self._waiting

    def give_up(self) -> list[Settled]:
        """Ends the mini-batches that are held; gives those that need not be described first."""
        found = []
        for tasks in list(self._held.values()):
            split = self._splits[tasks[0].minibatch.index]
            found.append(self._after(tasks[0], split, split.give_up))
        return [settled for settled in found if settled is not None]

    def release(self, worker: int, suspects: Collection[int] = ()) -> list[Task]:
        """Takes back what a lost worker still held, without counting a try.

        Args:
            worker: The worker.
            suspects: Tickets of tasks of which one may have killed it: each will be alone with its next worker.
        """
        held = list(self._leases.of(worker).values())
        for lease in reversed(held):
            task = replace(lease.task, alone=lease.task.alone or lease.task.ticket in suspects)
            self._leases.end(task.ticket)
            split, part = self._splits.get(task.minibatch.index), lease.part
            if split is None or part is None:
                self._offer(task, 1)
            else:
                self._after(task, split, partial(split.give_back, part))
        self._waiting.release(worker)
        return [lease.task for lease in held]


def _to_describe(task: Task, bad: Iterable[Bad]) -> tuple[int, ...]:
    """Positions of bad items that a worker should look up: rows that can be read. A file is known by its path."""
    if task.minibatch.files:
        return ()
    return tuple(position for one in bad if not one.failure.reading for position in one.part.positions)
