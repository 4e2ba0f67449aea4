"""A page of shared memory in which a worker says what it is doing, so that a hung one can be found.

A message could not tell: a `run()` that never gives the interpreter back would never send it. Times are of
the system-wide monotonic clock, in seconds.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import BinaryIO

PAGE = 4096
SLOT = struct.Struct("<qd")
LOAD, RUN, ENCODE = (stage * SLOT.size for stage in range(3))
# In the place of a ticket, which is never negative.
IDLE = -1
INIT = -2


@dataclass(frozen=True, slots=True)
class Beat:
    """What one stage of a worker is doing: the ticket of its task (or IDLE, INIT) and since when."""

    ticket: int
    since: float

    def busy_for(self, now: float) -> float:
        """Seconds the stage has been at this task; 0 when idle."""
        return 0.0 if self.ticket == IDLE else now - self.since


class Pulse:
    """The page, seen from either side. `slot` is LOAD, RUN or ENCODE."""

    def __init__(self, file: BinaryIO) -> None:
        self._page = mmap.mmap(file.fileno(), PAGE)

    @classmethod
    def create(cls, file: BinaryIO) -> Pulse:
        """A page in a new, empty file, all stages idle.

        Raises:
            OSError: There is no room. That is why the page is written: where a file is only made longer, the first
                touch of the page kills the process instead (SIGBUS).
        """
        file.write(bytes(PAGE))
        pulse = cls(file)
        for slot in (LOAD, RUN, ENCODE):
            pulse.idle(slot)
        return pulse

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

    def close(self) -> None:
        """Lets the page go."""
        self._page.close()
