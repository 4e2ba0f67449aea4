"""The reading threads of a worker: mini-batches are read while `run()` has another one.

One thread is enough for most jobs. A GPU may score faster than one thread can read and parse, so threads are added
while `run()` waits for them.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from batch_score.worker.pulse import loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from batch_score.worker.messages import Task
    from batch_score.worker.pulse import Pulse
    from batch_score.worker.reading import Loaded, Reading

# How long, and how many calls of run(), the need for another thread is judged by; and the share of it spent waiting
# that is too much.
WINDOW_S, WINDOW_CALLS = 0.1, 4
TOO_MUCH = 0.1


@dataclass(slots=True)
class Need:
    """Whether `run()` waits so much for the reading that another thread should help. No clock inside.

    Attributes:
        waited: Seconds that `run()` waited in this window.
        busy: Seconds inside `run()`.
        calls: Calls of it.
    """

    waited: float = 0.0
    busy: float = 0.0
    calls: int = 0

    def add(self, waited: float, busy: float, *, unread: bool) -> bool:
        """Counts a call of `run()` and tells whether a thread should be added.

        Args:
            waited: Seconds that it was waited for.
            busy: Seconds that it took.
            unread: There are tasks that no thread reads yet: else another one would have nothing to do.
        """
        self.waited += waited
        self.busy += busy
        self.calls += 1
        whole = self.waited + self.busy
        if self.calls < WINDOW_CALLS or whole < WINDOW_S:
            return False
        wanted = unread and self.waited > TOO_MUCH * whole
        self.waited, self.busy, self.calls = 0.0, 0.0, 0
        return wanted


class ReadAhead:
    """Reads tasks in threads; how far ahead is the coordinator's choice, which sends only so many.

    What must be read in order, and what is scored in parts, is left to the first thread: its `Reading` knows where a
    stream stands and keeps the mini-batch. The others share the rest, in any order.

    Args:
        make: Makes what a thread reads with.
        threads: How many threads share what may be read in any order, at first and at most. If that is one, the
            first thread does everything.
        pulse: Where each thread says what it reads.
        start: Starts a thread of that name.
        done: Takes what was read; called by all threads.
        end: Called once, when everything has been read after `stop`.
    """

    def __init__(
        self,
        make: Callable[[], Reading],
        threads: tuple[int, int],
        pulse: Pulse,
        *,
        start: Callable[[str, Callable[[], None]], object],
        done: Callable[[Loaded], None],
        end: Callable[[], None],
    ) -> None:
        self._make, self._pulse, self._start, self._done, self._end = make, pulse, start, done, end
        self._most = threads[1]
        self._in_order: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._any_order: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._alive, self._stopped = 0, False
        self._abandoned = threading.Event()
        self._need = Need()
        self._add(self._in_order)
        for _ in range(threads[0] if self._most > 1 else 0):
            self._add(self._any_order)

    def put(self, task: Task) -> None:
        """A task to read."""
        (self._in_order if self._most == 1 or task.in_order else self._any_order).put(task)

    def stop(self, *, abandon: bool) -> None:
        """Nothing more will come; with `abandon` what no thread has begun on is dropped."""
        if abandon:
            self._abandoned.set()
        with self._lock:
            self._stopped = True
            threads = self._alive
        self._in_order.put(None)
        for _ in range(threads - 1):
            self._any_order.put(None)

    @property
    def abandoned(self) -> bool:
        """What was read need not be scored."""
        return self._abandoned.is_set()

    def ran(self, waited: float, busy: float) -> None:
        """`run()` was waited for and busy so many seconds: adds a thread if that would help."""
        if self._alive <= self._most > 1 and self._need.add(waited, busy, unread=not self._any_order.empty()):
            self._add(self._any_order)

    def _add(self, tasks: queue.SimpleQueue[Task | None]) -> None:
        with self._lock:
            if self._stopped:
                return
            number, self._alive = self._alive, self._alive + 1
        self._start("read" if number == 0 else f"read-{number}", partial(self._read, number, tasks))

    def _read(self, number: int, tasks: queue.SimpleQueue[Task | None]) -> None:
        reading, slot = self._make(), loading(number)
        while (task := tasks.get()) is not None:
            if self.abandoned:
                continue
            self._pulse.busy(slot, task.ticket, time.monotonic())
            loaded = reading.load(task)
            self._pulse.idle(slot)
            self._done(loaded)
        with self._lock:
            self._alive -= 1
            last = not self._alive
        if last:
            self._end()
