"""Memory that a worker and the coordinator share, for rows on their way.

Through a socket rows go in pieces as large as the kernel holds, and each piece wakes the other side. On a shelf the
worker lays all of them at once, and the message that follows says where.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

# A few times the rows of a mini-batch of ordinary size. Memory is taken as it is needed.
SIZE = 4 << 20


@dataclass(frozen=True, slots=True)
class Shelf:
    """The two descriptors that both sides have.

    Attributes:
        memory: A file in memory. It is never mapped: where there is no memory left, writing to it is an error, and
            touching it would kill the process (SIGBUS).
        taken: Counts the things that were taken, an eventfd.
    """

    memory: int
    taken: int

    @classmethod
    def make(cls) -> Shelf:
        """A new one.

        Raises:
            OSError: There are no descriptors left.
        """
        memory = os.memfd_create("batch-score-rows")
        try:
            return cls(memory, os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC))
        except OSError:
            os.close(memory)
            raise

    def take(self, begin: int, length: int) -> bytes:
        """Takes the next thing; the side that has laid it there has told its place and length."""
        payload = os.pread(self.memory, length, begin)
        os.eventfd_write(self.taken, 1)
        return payload

    def close(self) -> None:
        """Lets go of it."""
        os.close(self.memory)
        os.close(self.taken)


class Shelving:
    """Lays things on a shelf, one behind the other and from its beginning again, in places that are free."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        # How much room each thing needs that may not be taken yet.
        self._rooms: deque[int] = deque()
        self._used = self._end = 0

    def lay(self, payload: bytes) -> int | None:
        """Lays something there in one piece, and gives its place; None where there is no room for it now."""
        self._forget_taken()
        # Whenever all was taken, it begins anew, with memory that the cache still knows.
        begin = self._end if self._rooms else 0
        room = len(payload)
        if begin + room > SIZE:
            room += SIZE - begin  # what is left at the end is too short for it
            begin = 0
        if self._used + room > SIZE or not self._written(payload, begin):
            return None
        self._end = begin + len(payload)
        self._rooms.append(room)
        self._used += room
        return begin

    def _written(self, payload: bytes, begin: int) -> bool:
        try:
            return os.pwrite(self._shelf.memory, payload, begin) == len(payload)
        except OSError:  # no memory
            return False

    def _forget_taken(self) -> None:
        if not self._rooms:
            return
        with suppress(BlockingIOError):  # nothing was
            for _ in range(os.eventfd_read(self._shelf.taken)):
                self._used -= self._rooms.popleft()
