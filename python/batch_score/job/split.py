"""A mini-batch in parts: what was scored, what is bad, what is still to be tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from batch_score.minibatch import Fault

# Parts of one mini-batch may kill or hang so many workers. One such item among n costs about log2(n) of them.
MOST_WORKERS_LOST = 64


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed, and what follows from that.

    Attributes:
        fault: The error.
        log: The file that has its traceback, relative to the run directory; empty when there is none.
        reading: The items could not be read, which every part of the mini-batch would meet again.
        memory: Memory ran out: fewer items may fit.
        worker_lost: The worker was killed by it, or had to be.
        unexplained: The worker was killed by SIGKILL, and neither by the coordinator nor for want of memory: it may
            have been at the wrong place when somebody killed it.
    """

    fault: Fault
    log: str = ""
    reading: bool = False
    memory: bool = False
    worker_lost: bool = False
    unexplained: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Items of a mini-batch that are given to `run()` together; all of them at first.

    Attributes:
        start: Position of the first one in the mini-batch.
        stop: Position behind the last one.
        tries: Failed tries that they were in.
        left: Tries that are left before the part is taken apart.
    """

    start: int
    stop: int
    tries: int
    left: int

    @property
    def size(self) -> int:
        """Number of items."""
        return self.stop - self.start

    @property
    def positions(self) -> range:
        """Where its items are in the mini-batch."""
        return range(self.start, self.stop)

    def halves(self) -> tuple[Self, Self]:
        """The first and the second half."""
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)


@dataclass(frozen=True, slots=True)
class Scored:
    """A part that was scored, with what came of it."""

    part: Part
    result: Any


@dataclass(frozen=True, slots=True)
class Bad:
    """A part that failed for good; `part.tries` counts the last try too."""

    part: Part
    failure: Failure


class Split:
    """The parts of one mini-batch.

    A part is retried while it has tries left. Then it is halved, and its halves have one try each. If the first half
    is good, the second one must hold the bad item, so it is halved without being tried as a whole: one bad item among
    n costs at most 2·log2(n) calls. A part that ran out of memory is halved at once, without that conclusion.

    Args:
        whole: The whole mini-batch.
        divisible: Whether it may be taken apart.
        most_workers_lost: After so many the rest is given up.

    Attributes:
        scored: What was scored.
        bad: What failed for good.
        failed: A part had no tries left.
        given_up: What was not tried yet is bad too, and nothing is split any more.
        largest_scored: Size of the largest part that was scored, 0 for none.
        smallest_out_of_memory: Size of the smallest part that ran out of memory, None when none did.
    """

    def __init__(self, whole: Part, *, divisible: bool, most_workers_lost: int = MOST_WORKERS_LOST) -> None:
        self._divisible = divisible
        self._most_workers_lost = most_workers_lost
        self._waiting = [whole]
        self._seconds: dict[Part, Part] = {}
        self._out = 0
        self._workers_lost = 0
        self._pardoned: set[int] = set()
        self._last_failure: Failure | None = None
        self.scored: list[Scored] = []
        self.bad: list[Bad] = []
        self.failed = self.given_up = False
        self.largest_scored = 0
        self.smallest_out_of_memory: int | None = None

    def cut(self, size: int) -> None:
        """Cuts what waits into parts of at most `size` items."""
        if self._divisible:
            self._waiting = [
                replace(part, start=start, stop=min(start + size, part.stop))
                for part in self._waiting
                for start in range(part.start, part.stop, size)
            ][::-1]

    @property
    def waiting(self) -> int:
        """Parts that can be taken."""
        return len(self._waiting)

    @property
    def troubled(self) -> bool:
        """It would end with bad items if its parts went on as they do."""
        return self.failed or self.smallest_out_of_memory is not None

    @property
    def done(self) -> bool:
        """Every item was scored or is bad."""
        return not self._waiting and not self._seconds and not self._out

    def take(self) -> Part:
        """A part to try; depth first, so that few parts are open. One that would not fit into memory is cut."""
        part = self._waiting.pop()
        limit = self._fitting()
        if limit is not None and part.size > limit:
            if part in self._seconds:
                self._waiting.append(self._seconds.pop(part))
            self._waiting.append(replace(part, start=part.start + limit))
            part = replace(part, stop=part.start + limit)
        self._out += 1
        return part

    def _fitting(self) -> int | None:
        """How many items fit into memory by what is known; None while nothing tells that some do not."""
        if self.smallest_out_of_memory is None:
            return None
        if self.largest_scored < self.smallest_out_of_memory:
            # What was scored may be no more than a remainder of one item, which says nothing of larger parts.
            return max(1, self.smallest_out_of_memory // 2, self.largest_scored)
        return 2 * self.largest_scored  # more items went well than fewer: it was the items, not their number

    def give_back(self, part: Part) -> None:
        """The part was not tried."""
        self._out -= 1
        self._waiting.append(part)

    def succeed(self, part: Part, result: Any) -> None:
        """The part was scored."""
        self._out -= 1
        self.scored.append(Scored(part, result))
        self.largest_scored = max(self.largest_scored, part.size)
        second = self._seconds.pop(part, None)
        if second is not None and second.size > 1:
            self._halve(second)
        elif second is not None:
            self._waiting.append(second)

    def fail(self, part: Part, failure: Failure) -> None:
        """A try of the part failed."""
        self._out -= 1
        self._last_failure = failure
        self._workers_lost += failure.worker_lost
        if part in self._seconds:  # the first half is bad, and nothing is known of the second
            self._waiting.append(self._seconds.pop(part))
        tried = replace(part, tries=part.tries + 1, left=part.left - 1)
        if failure.memory and self._divisible:
            self.smallest_out_of_memory = min(self.smallest_out_of_memory or part.size, part.size)
        self._go_on(tried, failure)
        if self.given_up or self._workers_lost >= self._most_workers_lost:
            self.give_up()

    def _go_on(self, part: Part, failure: Failure) -> None:
        """Another try, smaller parts, or the end of it."""
        divisible = self._divisible and part.size > 1 and not failure.reading and not self.given_up
        if failure.memory and divisible:
            self._waiting += reversed(replace(part, left=max(1, part.left)).halves())
        elif part.left > 0:
            self._waiting.append(part)
        elif self._pardon(part, failure):
            self._waiting.append(replace(part, left=1))
        else:
            self.failed = True
            if divisible:
                self._halve(replace(part, left=1))
            else:
                self.bad.append(Bad(part, failure))

    def _pardon(self, part: Part, failure: Failure) -> bool:
        """Whether an item that stands alone is tried once more: only for an unexplained kill, and only once."""
        if not (failure.unexplained and self.failed and part.size == 1) or part.start in self._pardoned:
            return False
        self._pardoned.add(part.start)
        return True

    def _halve(self, part: Part) -> None:
        first, second = part.halves()
        self._waiting.append(first)
        self._seconds[first] = second

    def give_up(self) -> None:
        """What waits is bad, for the reason of the last part that failed; what is being tried is not split again."""
        if self._last_failure is not None:
            self.failed = self.given_up = True
            rest = (*self._waiting, *self._seconds.values())
            self.bad += [Bad(part, self._last_failure) for part in rest]
            self._waiting, self._seconds = [], {}
