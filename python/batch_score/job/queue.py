"""Which mini-batch goes to whom, how often it is tried, and when it is settled. Pure: no clock, files, processes."""

from __future__ import annotations

from bisect import insort
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from batch_score.worker.messages import Task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_score.minibatch import MiniBatch


@dataclass(slots=True)
class _Lease:
    """A mini-batch that a worker holds."""

    task: Task
    worker: int


class MiniBatchQueue:
    """Mini-batches from planned to settled.

    A mini-batch is pending, leased to one worker, or settled (scored, or failed for good). An outcome counts
    only while its lease stands, so each mini-batch is settled exactly once, whatever its tries do.

    Mini-batches with the same affinity are a stream: one worker reads it in order and keeps it until its last
    mini-batch is planned and handed out, because another worker would have to decode it from the start.

    Args:
        max_try: Tries before a mini-batch is failed for good.
    """

    def __init__(self, max_try: int) -> None:
        self._max_try = max_try
        self._pending: deque[Task] = deque()
        self._streams: dict[str, deque[Task]] = {}
        self._unowned: deque[str] = deque()
        self._owned: dict[int, str] = {}
        self._leases: dict[int, _Lease] = {}
        self._last_stream = ""
        self.planned = 0
        self.items = 0
        self.settled = 0
        self.plan_complete = False

    def add(self, minibatches: Iterable[MiniBatch]) -> None:
        """Takes planned mini-batches."""
        for minibatch in minibatches:
            self.planned += 1
            self.items += minibatch.rows
            self._last_stream = minibatch.affinity
            self._put(Task(minibatch, 0, self.items - minibatch.rows))

    def _put(self, task: Task, *, first: bool = False) -> None:
        stream = task.minibatch.affinity
        if stream and stream not in self._streams:
            self._streams[stream] = deque()
            self._unowned.append(stream)
        place = self._streams[stream] if stream else self._pending
        if first and stream:
            insort(place, task, key=lambda other: other.minibatch.index)
        elif first:
            place.appendleft(task)
        else:
            place.append(task)

    @property
    def pending(self) -> int:
        """Mini-batches that wait for a worker."""
        return self.planned - self.settled - len(self._leases)

    @property
    def finished(self) -> bool:
        """Everything planned is settled and nothing more will come."""
        return self.plan_complete and self.settled == self.planned

    def lease(self, worker: int) -> Task | None:
        """The next task for `worker`, None when there is none for it now.

        A worker takes up a stream before single mini-batches, because a stream cannot be shared out at the end.
        """
        place = self._stream_of(worker) or self._pending
        if not place:
            return None
        task = place.popleft()
        self._leases[task.minibatch.index] = _Lease(task, worker)
        return task

    def _stream_of(self, worker: int) -> deque[Task] | None:
        """The mini-batches of the stream that `worker` owns, after it has taken up a new one if it can."""
        owned = self._owned.get(worker)
        if owned is not None and self._exhausted(owned):
            del self._owned[worker], self._streams[owned]
            owned = None
        while owned is None and self._unowned:
            stream = self._unowned.popleft()
            if self._exhausted(stream):
                del self._streams[stream]
            else:
                owned = self._owned[worker] = stream
        return None if owned is None else self._streams[owned]

    def _exhausted(self, stream: str) -> bool:
        """Nothing of the stream waits and the plan has nothing more of it."""
        return not self._streams[stream] and (self.plan_complete or stream != self._last_stream)

    def holds(self, worker: int) -> list[Task]:
        """The tasks leased to `worker`, oldest first."""
        return [lease.task for lease in self._leases.values() if lease.worker == worker]

    def settle(self, index: int, attempt: int, worker: int) -> bool:
        """The mini-batch was scored. False if this try's lease does not stand any more: its rows must not be kept."""
        lease = self._leases.get(index)
        if lease is None or lease.worker != worker or lease.task.attempt != attempt:
            return False
        del self._leases[index]
        self.settled += 1
        return True

    def fail(self, index: int) -> Task | None:
        """A leased try failed. None: it will be tried again; the task: it is failed for good now."""
        task = self._leases.pop(index).task
        if task.attempt + 1 < self._max_try:
            self._put(replace(task, attempt=task.attempt + 1), first=True)
            return None
        self.settled += 1
        return task

    def release(self, worker: int) -> list[Task]:
        """Takes back what a lost worker still held, without counting a try."""
        held = self.holds(worker)
        for task in reversed(held):
            del self._leases[task.minibatch.index]
            self._put(task, first=True)
        stream = self._owned.pop(worker, None)
        if stream is not None:
            self._unowned.append(stream)
        return held
