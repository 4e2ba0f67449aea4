"""From the running stage of a worker to its encoding one: few results in memory, few turns of the interpreter."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch_score.worker.stages import Ran

# Results may wait as long as `run()` needed no more than this to make all of them, in units of UNIT_S.
ROOM = 16
UNIT_S = 0.001


class Handover:
    """Results that wait for the encoder: one, or those that `run()` made within 16 ms.

    What takes long to make may be large, so it waits alone, and results never pile up in memory. Of the quick ones many
    may wait, because a turn of the interpreter from one thread to the other costs more than they do.
    """

    def __init__(self) -> None:
        self._results: queue.SimpleQueue[tuple[Ran | None, int]] = queue.SimpleQueue()
        # Places, taken and given back: queues of this kind wait without the interpreter, as semaphores do not.
        self._places: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._give_back(ROOM)

    def put(self, ran: Ran) -> None:
        """Adds a result as soon as there is room; only one of the threads that do so may add slow ones."""
        places = min(ROOM, 1 + int(ran.run / UNIT_S))
        for _ in range(places):
            self._places.get()
        self._results.put((ran, places))

    def end(self) -> None:
        """Nothing more will come."""
        self._results.put((None, 0))

    def get(self) -> Ran | None:
        """The next result, when there is one; None at the end."""
        ran, places = self._results.get()
        self._give_back(places)
        return ran

    @property
    def empty(self) -> bool:
        """`get` would wait."""
        return self._results.empty()

    def _give_back(self, places: int) -> None:
        for _ in range(places):
            self._places.put(None)
