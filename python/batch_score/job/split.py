"""A mini-batch in pieces: what was scored, what is bad, what is still to be tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from batch_score.minibatch import Fault

# Pieces of one mini-batch may kill or hang so many workers. One such item among n costs about log2(n) of them.
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
class Piece:
    """Items of a mini-batch that are given to `run()` together.

    Attributes:
        start: Position of the first one in the mini-batch.
        stop: Position behind the last one.
        tries: Failed tries that they were in.
        left: Tries that are left before the piece is taken apart.
    """

    start: int
    stop: int
    tries: int
    left: int

    @property
    def size(self) -> int:
        """Number of items."""
        return self.stop - self.start

    def halves(self) -> tuple[Self, Self]:
        """The first and the second half."""
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)


@dataclass(frozen=True, slots=True)
class Scored:
    """A piece that was scored, with what came of it."""

    piece: Piece
    result: Any


@dataclass(frozen=True, slots=True)
class Bad:
    """A piece that failed for good; `piece.tries` counts the last try too."""

    piece: Piece
    failure: Failure


class Split:
    """The pieces of one mini-batch.

    A piece is retried while it has tries left. Then it is halved, and its halves have one try each. If the first
    half is good, the second one must hold the bad item, so it is halved without being tried as a whole: one bad item
    among n costs at most 2·log2(n) calls. A piece that ran out of memory is halved at once, without that conclusion.

    Args:
        piece: The whole mini-batch.
        divisible: Whether it may be taken apart.

    Attributes:
        scored: What was scored.
        bad: What failed for good.
        failed: A piece had no tries left.
        largest_scored: Size of the largest piece that was scored, 0 for none.
        smallest_out_of_memory: Size of the smallest piece that ran out of memory, None when none did.
    """

    def __init__(self, piece: Piece, *, divisible: bool) -> None:
        self._divisible = divisible
        self._waiting = [piece]
        self._seconds: dict[Piece, Piece] = {}
        self._out = 0
        self._workers_lost = 0
        self._given_up = False
        self._pardoned: set[int] = set()
        self.scored: list[Scored] = []
        self.bad: list[Bad] = []
        self.failed = False
        self.largest_scored = 0
        self.smallest_out_of_memory: int | None = None
        self._last_failure: Failure | None = None

    def cut(self, size: int) -> None:
        """Cuts what waits into pieces of at most `size` items."""
        if self._divisible:
            self._waiting = [
                replace(piece, start=start, stop=min(start + size, piece.stop))
                for piece in self._waiting
                for start in range(piece.start, piece.stop, size)
            ][::-1]

    @property
    def waiting(self) -> int:
        """Pieces that can be taken."""
        return len(self._waiting)

    @property
    def done(self) -> bool:
        """Every item was scored or is bad."""
        return not self._waiting and not self._seconds and not self._out

    def take(self) -> Piece:
        """A piece to try; depth first, so that few pieces are open. One that would not fit into memory is cut."""
        piece = self._waiting.pop()
        limit = self._fitting()
        if limit is not None and piece.size > limit:
            if piece in self._seconds:
                self._waiting.append(self._seconds.pop(piece))
            self._waiting.append(replace(piece, start=piece.start + limit))
            piece = replace(piece, stop=piece.start + limit)
        self._out += 1
        return piece

    def _fitting(self) -> int | None:
        """How many items fit into memory by what is known; None while nothing tells that some do not."""
        if self.smallest_out_of_memory is None:
            return None
        if not self.largest_scored:
            return max(1, self.smallest_out_of_memory // 2)
        if self.largest_scored < self.smallest_out_of_memory:
            return self.largest_scored
        return 2 * self.largest_scored  # more items went well than fewer: it was the items, not their number

    def give_back(self, piece: Piece) -> None:
        """The piece was not tried."""
        self._out -= 1
        self._waiting.append(piece)

    def succeed(self, piece: Piece, result: Any) -> None:
        """The piece was scored."""
        self._out -= 1
        self.scored.append(Scored(piece, result))
        self.largest_scored = max(self.largest_scored, piece.size)
        second = self._seconds.pop(piece, None)
        if second is not None and second.size > 1:
            self._halve(second)
        elif second is not None:
            self._waiting.append(second)

    def fail(self, piece: Piece, failure: Failure) -> None:
        """A try of the piece failed."""
        self._out -= 1
        self._last_failure = failure
        self._workers_lost += failure.worker_lost
        if piece in self._seconds:  # the first half is bad, and nothing is known of the second
            self._waiting.append(self._seconds.pop(piece))
        tried = replace(piece, tries=piece.tries + 1, left=piece.left - 1)
        divisible = self._divisible and piece.size > 1 and not failure.reading
        if failure.memory and self._divisible:
            self.smallest_out_of_memory = min(self.smallest_out_of_memory or piece.size, piece.size)
        if failure.memory and divisible:
            self._waiting += reversed(replace(tried, left=max(1, tried.left)).halves())
        elif tried.left > 0:
            self._waiting.append(tried)
        elif self._pardon(tried, failure):
            self._waiting.append(replace(tried, left=1))
        else:
            self._fail_for_good(tried, failure, divisible=divisible)

    def _pardon(self, piece: Piece, failure: Failure) -> bool:
        """Whether an item that stands alone is tried once more: only for an unexplained kill, and only once."""
        if not (failure.unexplained and self.failed and piece.size == 1) or piece.start in self._pardoned:
            return False
        self._pardoned.add(piece.start)
        return True

    def _fail_for_good(self, piece: Piece, failure: Failure, *, divisible: bool) -> None:
        self.failed = True
        if self._workers_lost >= MOST_WORKERS_LOST:
            self.give_up()
        if divisible and not self._given_up:
            self._halve(replace(piece, left=1))
        else:
            self.bad.append(Bad(piece, failure))

    def _halve(self, piece: Piece) -> None:
        first, second = piece.halves()
        self._waiting.append(first)
        self._seconds[first] = second

    def give_up(self) -> None:
        """What waits is bad, for the reason of the last piece that failed; what is being tried is not split again."""
        self._given_up = True
        if self._last_failure is not None:
            rest = (*self._waiting, *self._seconds.values())
            self.bad += [Bad(piece, self._last_failure) for piece in rest]
            self._waiting, self._seconds = [], {}
