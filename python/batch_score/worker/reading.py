"""The first stage of a worker: a task becomes what `run()` gets."""

from __future__ import annotations

import copy
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch_score.faults import fault_of

if TYPE_CHECKING:
    from batch_score.dataset.base import Batch
    from batch_score.minibatch import Fault
    from batch_score.worker.messages import Task, WorkerSpec
    from batch_score.worker.scorer import Scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A task whose mini-batch was read, or whose reading failed.

    Attributes:
        task: The task.
        started: When its reading began, as a POSIX time stamp.
        load: Seconds that reading took.
        batch: What was read.
        items: What `run()` will get.
        fault: Why nothing was read.
    """

    task: Task
    started: float
    load: float
    batch: Batch | None = None
    items: Any = None
    fault: Fault | None = None


class Reading:
    """Reads the mini-batches of one thread, which keeps files open and a mini-batch that is scored in parts."""

    def __init__(self, spec: WorkerSpec, scorer: Scorer) -> None:
        self._readers = [copy.copy(reader) for reader in spec.readers]
        self._scorer = scorer
        self._kept: tuple[int, Batch] | None = None

    def load(self, task: Task) -> Loaded:
        """Reads the mini-batch, or takes a part of it."""
        started = time.time()
        begin = time.perf_counter()
        try:
            batch = self._read(task)
            items = None if task.describe else self._scorer.items(batch)
        except Exception as error:  # noqa: BLE001 - a failed try, whatever the reader met
            return Loaded(task, started, time.perf_counter() - begin, fault=fault_of(error))
        if batch.dropped:
            logger.warning("mini-batch %d: %d invalid lines dropped", task.minibatch.index, batch.dropped)
        return Loaded(task, started, time.perf_counter() - begin, batch, items)

    def _read(self, task: Task) -> Batch:
        """The items of a task. A mini-batch in parts stays in memory, also while others are read between its parts."""
        minibatch = task.minibatch
        if self._kept is not None and self._kept[0] == minibatch.index:
            batch = self._kept[1]
            if task.describe:  # that is the last that is asked of it
                self._kept = None
        else:
            if task.part is not None:
                self._kept = None  # before the reading: one is enough in memory
            batch = self._readers[minibatch.dataset].read(minibatch)
        if task.part is None:
            return batch
        self._kept = minibatch.index, batch
        return batch.part(minibatch, *task.part)
