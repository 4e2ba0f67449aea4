"""A page of shared memory in which a worker says what it is doing, so that a hung one can be found.

A message could not tell: a `run()` that never gives the interpreter back would never send it. Times are of
the system-wide monotonic clock, in seconds.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from typing import BinaryIO

PAGE = 4096
SLOT = struct.Struct("<qd")
RUN, ENCODE = 0, SLOT.size
_FIRST_LOADING = 2 * SLOT.size
# Of the page's 256 slots one is for a reading thread beside these.
MOST_READERS = 128
# In the place of a ticket, which is never negative.
IDLE = -1
INIT = -2
# In the place of a time: no limit holds for what depends on the coordinator, as the sending of an outcome.
UNTIMED = math.inf


@dataclass(frozen=True, slots=True)
class Beat:
    """What one stage of a worker is doing: the ticket of its task (or IDLE, INIT) and since when."""

    ticket: int
    since: float

    def busy_for(self, now: float) -> float:
        """Seconds the stage has been at this task; 0 when idle, less when it is untimed."""
        return 0.0 if self.ticket == IDLE else now - self.since


AT_REST = Beat(IDLE, 0.0)


def loading(thread: int) -> int:
    """The slot of a reading thread, counted from 0."""
    return _FIRST_LOADING + thread * SLOT.size


class Pulse:
    """The page, seen from either side. `slot` is RUN, ENCODE or `loading(thread)`.

    Args:
        file: What the page is in.
        readers: How many reading threads there may be, at most MOST_READERS + 1; only who looks at them must know.
    """

    def __init__(self, file: BinaryIO, readers: int = 1) -> None:
        self._page = mmap.mmap(file.fileno(), PAGE)
        self._loading = [loading(thread) for thread in range(readers)]

    def busy(self, slot: int, ticket: int, now: float) -> None:
        """The stage begins the task of this ticket."""
        SLOT.pack_into(self._page, slot, ticket, now)

    def idle(self, slot: int) -> None:
        """The stage has ended what it did."""
        SLOT.pack_into(self._page, slot, IDLE, 0.0)

    def read(self, slot: int) -> Beat:
        """What the stage is doing; two equal readings, so that a half-written one is not believed."""
        reading = SLOT.unpack_from(self._page, slot)
        while (again := SLOT.unpack_from(self._page, slot)) != reading:
            reading = again
        return Beat(*reading)

    def loads(self) -> tuple[Beat, ...]:
        """What the reading threads are doing, those left out that do nothing."""
        return tuple(beat for beat in map(self.read, self._loading) if beat.ticket != IDLE)

    def close(self) -> None:
        """Lets the page go."""
        self._page.close()


def blank(file: BinaryIO) -> None:
    """Makes a new, empty file a page with all stages idle.

    Raises:
        OSError: There is no room. That is why all of it is written: where a file is only made longer, the first touch
            of the page kills the process instead (SIGBUS).
    """
    file.write(SLOT.pack(IDLE, 0.0) * (PAGE // SLOT.size))
