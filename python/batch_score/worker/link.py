"""Messages on a stream: how they are written, and how they are told apart again.

A message is a head, a pickled object, and bytes beside it that are not pickled: encoded rows, say. Many of these bytes
go over a shelf, where there is one, and the head says where they lie.
Nothing here asks a descriptor twice for what it does not have: with one that does not block, no call ever waits.
"""

from __future__ import annotations

import os
import pickle
import struct
from io import BytesIO
from typing import TYPE_CHECKING, Any

from batch_score.worker.shelf import Shelving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batch_score.worker.shelf import Shelf

# The lengths of the object and of the bytes beside it; 0 if these follow, else 1 and their place on the shelf.
HEAD = struct.Struct("!QQQ")
# Fewer bytes are not worth the detour.
SHELVED = 1 << 14
# Longer messages are read into memory of their own, without a detour.
WINDOW = 65_536
# One call of writev() takes 1024.
BUFFERS = 512


class Outbox:
    """Messages on their way out.

    Args:
        fd: A connected stream socket. If it blocks, `flush` comes back when all is written.
        shelf: For many bytes.
    """

    def __init__(self, fd: int, shelf: Shelf | None = None) -> None:
        self._fd = fd
        self._shelving = Shelving(shelf) if shelf else None
        self._waiting: list[memoryview] = []
        self._length = 0

    def __len__(self) -> int:
        """Bytes that were put since all was last written, those on the shelf too."""
        return self._length

    def put(self, message: object, payload: bytes = b"") -> None:
        """Adds a message behind those that wait; nothing is written yet."""
        pickled = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        place = self._shelving.lay(payload) if self._shelving and len(payload) >= SHELVED else None
        head = HEAD.pack(len(pickled), len(payload), 0 if place is None else 1 + place)
        parts = (head + pickled, payload if place is None else b"")
        self._waiting += [memoryview(part) for part in parts if part]
        self._length += len(parts[0]) + len(payload)

    def flush(self) -> bool:
        """Writes what waits, and tells whether that was all.

        Raises:
            OSError: The other end is gone.
        """
        while self._waiting:
            try:
                # Head, object and payload in one call: between two of them a thread may lose the interpreter for good.
                written = os.writev(self._fd, self._waiting[:BUFFERS])
            except BlockingIOError:
                return False
            self._waiting = _behind(self._waiting, written)
        self._length = 0
        return True

    def clear(self) -> None:
        """Drops what waits."""
        self._waiting = []
        self._length = 0


class Inbox:
    """Messages as they come in, in pieces of any size.

    Args:
        fd: A connected stream socket. If it blocks, `receive` waits for the next bytes.
        shelf: That of the other end.
    """

    def __init__(self, fd: int, shelf: Shelf | None = None) -> None:
        self._fd = fd
        self._shelf = shelf
        self._window = memoryview(bytearray(WINDOW))
        self._at_hand = 0
        self._long: _Long | None = None

    def receive(self) -> list[tuple[Any, bytes]]:
        """Reads once and gives the messages that are whole now, each with its payload.

        Raises:
            BlockingIOError: There is nothing to read, and the descriptor does not block.
            EOFError: The other end has closed.
            OSError: The other end is gone.
        """
        if self._long is None:
            self._at_hand += self._read([self._window[self._at_hand :]])
            return self._take()
        self._long.room = _behind(self._long.room, self._read(self._long.room))
        return self._taken_long()

    def messages(self) -> Iterator[Any]:
        """The messages without their payloads, as they come; ends with one of the errors of `receive`."""
        while True:
            for message, _ in self.receive():
                yield message

    def _read(self, room: Sequence[memoryview]) -> int:
        count = os.readv(self._fd, room)
        if not count:
            raise EOFError
        return count

    def _take(self) -> list[tuple[Any, bytes]]:
        """The messages in the window; what begins behind them moves to its front, or out if it is too long for it."""
        found: list[tuple[Any, bytes]] = []
        begin = 0
        while self._at_hand - begin >= HEAD.size:
            head = HEAD.unpack_from(self._window, begin)
            length, beside, place = head
            body = begin + HEAD.size
            middle = body + length
            end = middle + (0 if place else beside)
            if end > self._at_hand:
                if end - begin > WINDOW:
                    self._long = _Long(head, self._window[body : self._at_hand])
                    begin = self._at_hand
                break
            payload = self._shelved(head) if place else bytes(self._window[middle:end])
            found.append((pickle.loads(self._window[body:middle]), payload))
            begin = end
        left = self._at_hand - begin
        if begin and left:
            self._window[:left] = self._window[begin : self._at_hand]
        self._at_hand = left
        return found

    def _taken_long(self) -> list[tuple[Any, bytes]]:
        if self._long is None or self._long.room:
            return []
        long, self._long = self._long, None
        message, payload = long.message()
        return [(message, self._shelved(long.head) or payload)]

    def _shelved(self, head: tuple[int, int, int]) -> bytes:
        """What a message has on the shelf."""
        _, beside, place = head
        return self._shelf.take(place - 1, beside) if place and self._shelf else b""


class _Long:
    """A message that is longer than the window, in memory that is there from the start.

    Attributes:
        head: Its head.
        room: Where its next bytes go; empty when it is whole.
    """

    def __init__(self, head: tuple[int, int, int], begun: memoryview) -> None:
        self.head = length, beside, place = head
        self._parts = [_zeros(length), _zeros(0 if place else beside)]
        self.room = [part.getbuffer() for part in self._parts]
        left = begun
        for room in self.room:
            count = min(len(room), len(left))
            room[:count] = left[:count]
            left = left[count:]
        self.room = _behind(self.room, len(begun))

    def message(self) -> tuple[Any, bytes]:
        """The message; of the payload there is no second copy."""
        pickled, payload = (part.getvalue() for part in self._parts)
        return pickle.loads(pickled), payload


def _zeros(length: int) -> BytesIO:
    """Bytes that can be written to in place and then be had as `bytes` without copying them."""
    memory = BytesIO()
    if length:
        memory.seek(length - 1)
        memory.write(b"\0")
    return memory


def _behind(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """What is left of buffers behind their first `count` bytes."""
    for number, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[number + 1 :]]
        count -= len(view)
    return []
