"""Ctrl-C and SIGTERM as something the coordinator looks at between two turns, not in the middle of an append."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - it is no error
    """The user, or the system, asked the job to stop.

    Attributes:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class Interruption:
    """Remembers the first signal while a run directory is being written, so that `run.json` never says half of it.

    Outside the main thread signals cannot be listened for; there the job goes on.
    """

    def __init__(self) -> None:
        self._received: int | None = None
        self._urgent = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    @contextmanager
    def second_is_urgent(self) -> Iterator[None]:
        """While workers run: a second signal gets its usual effect at once, and what comes after it waits again."""
        self._urgent = True
        try:
            yield
        finally:
            self._urgent = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received is None or not self._urgent:
            self._received = self._received or number
            return
        self._urgent = False
        before = self._before[number]
        # A shell has it ignored by what runs in its background; but the first one was heeded, too.
        usual = signal.default_int_handler if before == signal.SIG_IGN and number == signal.SIGINT else before
        if callable(usual):
            usual(number, frame)
        else:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    @property
    def received(self) -> bool:
        """A signal has come."""
        return self._received is not None

    def check(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self._received is not None:
            raise Interrupted(self._received)
