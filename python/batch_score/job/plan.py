"""Planning beside scoring: a thread that scans while the coordinator dispatches."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from batch_score.dataset.base import Dataset
    from batch_score.minibatch import MiniBatch

# Lists of mini-batches that planning may be ahead of dispatching: bounds the coordinator's memory.
AHEAD = 64


def grouped(datasets: Sequence[Dataset], partition_keys: Sequence[str] | None) -> tuple[Dataset, ...]:
    """The datasets, with one mini-batch for each combination of `partition_keys` if these are given.

    Raises:
        ConfigError: A dataset does not have one of the keys.
    """
    return tuple(datasets) if partition_keys is None else tuple(dataset.grouped(partition_keys) for dataset in datasets)


def plan(datasets: Sequence[Dataset], mini_batch_size: str | int | None) -> Iterator[list[MiniBatch]]:
    """The mini-batches of all datasets, in order, counted through."""
    index = 0
    for position, dataset in enumerate(datasets):
        for chunk in dataset.plan(mini_batch_size, dataset=position, first_index=index):
            index = chunk[-1].index + 1
            yield chunk


class Planner:
    """Runs a plan in a thread of its own, at most AHEAD lists ahead.

    Args:
        chunks: What `plan` makes.
    """

    def __init__(self, chunks: Iterator[list[MiniBatch]]) -> None:
        self._chunks = chunks
        self._ready: queue.Queue[list[MiniBatch] | Exception | None] = queue.Queue(maxsize=AHEAD)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                if not self._put(chunk):
                    return
            self._put(None)
        except Exception as error:  # noqa: BLE001 - handed over: the coordinator raises it
            self._put(error)

    def _put(self, chunk: list[MiniBatch] | Exception | None) -> bool:
        while not self._closing.is_set():
            try:
                self._ready.put(chunk, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def take(self) -> list[MiniBatch] | None:
        """The next mini-batches: an empty list if none is ready, None at the plan's end.

        Raises:
            Exception: What planning raised.
        """
        try:
            chunk = self._ready.get_nowait()
        except queue.Empty:
            return []
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    def close(self) -> None:
        """Stops planning."""
        self._closing.set()
        self._thread.join()
