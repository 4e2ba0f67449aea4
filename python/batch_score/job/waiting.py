"""The tasks that wait for a worker, and which worker reads which stream. Pure."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch_score.minibatch import MiniBatch
    from batch_score.worker.messages import Task


class WaitingTasks:
    """Tasks in the order in which they will be handed out.

    Mini-batches with the same affinity are a stream: one worker reads it in order and keeps it until its last
    mini-batch is planned and handed out, because another worker would have to decode it from the start.
    """

    def __init__(self) -> None:
        self._single: deque[Task] = deque()
        self._streams: dict[str, deque[Task]] = {}
        self._unowned: deque[str] = deque()
        self._owned: dict[int, str] = {}
        self._last_stream = ""
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, task: Task) -> None:
        """A newly planned task, behind all others."""
        self._last_stream = task.minibatch.affinity
        self._length += 1
        self._place(task).append(task)

    def pass_over(self, minibatch: MiniBatch) -> None:
        """A planned mini-batch that needs no worker."""
        self._last_stream = minibatch.affinity

    def put_first(self, task: Task) -> None:
        """A task that comes before all others; in a stream before all that are read after it."""
        self._length += 1
        place = self._place(task)
        if task.minibatch.affinity:
            insort(place, task, key=lambda other: other.minibatch.index)
        else:
            place.appendleft(task)

    def _place(self, task: Task) -> deque[Task]:
        stream = task.minibatch.affinity
        if not stream:
            return self._single
        if stream not in self._streams:
            self._streams[stream] = deque()
            self._unowned.append(stream)
        return self._streams[stream]

    @property
    def for_anyone(self) -> int:
        """Tasks that any worker could take: all but those of streams that have a reader."""
        return self._length - sum(len(self._streams[stream]) for stream in self._owned.values())

    def take(self, worker: int, *, plan_complete: bool, accompanied: bool = False) -> Task | None:
        """The next task for `worker`, None when there is none for it.

        A worker takes up a stream before single mini-batches, because a stream cannot be shared out at the end.

        Args:
            worker: Who asks.
            plan_complete: No more will be added.
            accompanied: It holds other tasks, so it cannot have one that must be alone.
        """
        place = self._stream_of(worker, plan_complete=plan_complete) or self._single
        if not place or (accompanied and place[0].alone):
            return None
        self._length -= 1
        return place.popleft()

    def _stream_of(self, worker: int, *, plan_complete: bool) -> deque[Task] | None:
        """The tasks of the stream that `worker` owns, after it has taken up a new one if it can."""

        def exhausted(stream: str) -> bool:
            return not self._streams[stream] and (plan_complete or stream != self._last_stream)

        owned = self._owned.get(worker)
        if owned is not None and exhausted(owned):
            del self._owned[worker], self._streams[owned]
            owned = None
        elif owned is not None and not self._streams[owned] and self._unowned and not self._single:
            self._unowned.append(self._owned.pop(worker))  # better another stream now than this one later
            owned = None
        while owned is None and self._unowned:
            stream = self._unowned.popleft()
            if exhausted(stream):
                del self._streams[stream]
            else:
                owned = self._owned[worker] = stream
        return None if owned is None else self._streams[owned]

    def drop(self, index: int) -> None:
        """Forgets every task of a mini-batch."""
        for place in (self._single, *self._streams.values()):
            kept = [task for task in place if task.minibatch.index != index]
            self._length -= len(place) - len(kept)
            place.clear()
            place.extend(kept)

    def release(self, worker: int) -> None:
        """A lost worker's stream is for another one."""
        stream = self._owned.pop(worker, None)
        if stream is not None:
            self._unowned.append(stream)
