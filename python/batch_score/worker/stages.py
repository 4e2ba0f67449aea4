"""The three stages of a worker: read, run, encode. Every engine runs these, one after the other or overlapped."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from batch_score.dataset.base import FileBatch, TableBatch
from batch_score.entry_script import online_hint
from batch_score.faults import fault_of
from batch_score.minibatch import FailedItem, Fault, MiniBatch, Outcome, Status, Timings
from batch_score.output.align import missing_items, positions
from batch_score.output.encoder import Encoded
from batch_score.output.forms import encoder_for
from batch_score.output.keys import file_keys, joined_keys, tabular_keys
from batch_score.output.returned import accept
from batch_score.worker.forked import ending_forks
from batch_score.worker.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from batch_score.dataset.base import Batch
    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned
    from batch_score.worker.messages import Task, WorkerSpec
    from batch_score.worker.reading import Loaded
    from batch_score.worker.scorer import Scorer

logger = logging.getLogger(__name__)

NOTHING = Encoded(b"", ())


@dataclass(frozen=True, slots=True)
class Ran:
    """A task that `run()` has seen, or a failed one.

    Attributes:
        loaded: The task with what was read.
        returned: What `run()` returned.
        fault: Why there is nothing.
        waiting: Seconds that the running stage waited for this task.
        run: Seconds inside `run()`.
        process: CPU seconds meanwhile.
    """

    loaded: Loaded
    returned: Returned | None
    fault: Fault | None
    waiting: float
    run: float = 0.0
    process: float = 0.0

    def timings(self, encode: float) -> Timings:
        """Where the time of the whole try went; `encode` is that of the last stage."""
        loaded = self.loaded
        return Timings(loaded.started, self.waiting, loaded.load, self.run, encode, self.process)


class Stages:
    """Reads, runs and encodes the mini-batches of one worker. Each stage may run in a thread of its own."""

    def __init__(self, spec: WorkerSpec, scorer: Scorer) -> None:
        self._spec = spec
        self._scorer = scorer
        self._encoder = encoder_for(spec.output) if spec.output else None
        self._key_columns = () if isinstance(spec.key, str) else spec.key
        self._reading = Reading(spec, scorer)
        self._warned = False

    def load(self, task: Task) -> Loaded:
        """Reads the mini-batch in this thread."""
        return self._reading.load(task)

    def run(self, loaded: Loaded, waiting: float) -> Ran:
        """Calls the scorer; a generator is consumed here, inside the time limit of `run()`."""
        if loaded.batch is None or loaded.batch.items == 0 or loaded.task.describe:
            return Ran(loaded, accept([]), loaded.fault, waiting)
        begin, cpu = time.perf_counter(), time.process_time()
        returned, fault = None, None
        try:
            with ending_forks():
                returned = accept(self._scorer.run(loaded.items, loaded.task))
        except KeyboardInterrupt:  # in this process it is the user's; a worker process does not get it
            raise
        except BaseException as error:  # noqa: BLE001 - a script's sys.exit() is a failed try too
            fault = fault_of(error)
            fault = replace(fault, message=fault.message + online_hint(fault.message))
        run, process = time.perf_counter() - begin, time.process_time() - cpu
        return Ran(loaded, returned, fault, waiting, run, process)

    def encode(self, ran: Ran) -> tuple[Outcome, bytes]:
        """The outcome and the encoded rows; rows that cannot be encoded make the try a failed one."""
        begin = time.perf_counter()
        try:
            where = None if ran.fault else _where(ran)
            encoded = NOTHING if ran.fault else self._encoded(ran, where)
            outcome = self._outcome(ran, encoded, where, begin)
        except KeyboardInterrupt:  # as in `run`
            raise
        except BaseException as error:  # noqa: BLE001 - a failed try: the values are the script's, and so is their str()
            encoded = NOTHING
            outcome = self._outcome(replace(ran, fault=fault_of(error)), encoded, None, begin)
        return outcome, encoded.payload

    def _encoded(self, ran: Ran, where: Positions | None) -> Encoded:
        batch, returned = ran.loaded.batch, ran.returned
        if batch is None or returned is None or self._encoder is None or returned.length == 0:
            return NOTHING
        keys = self._keys(ran.loaded.task, batch) if self._encoder.keyed else None
        return self._encoder.encode(returned, keys, where)

    def _keys(self, task: Task, batch: Batch) -> pa.Table | None:
        if isinstance(batch, FileBatch):
            return file_keys(self._spec.key, task.minibatch.files[slice(*task.span)])
        if task.minibatch.ranges:
            return joined_keys(self._spec.key, task.minibatch.ranges, batch.ordinals, batch.table)
        return tabular_keys(self._spec.key, task.minibatch.source, batch.ordinals, batch.table)

    def _outcome(self, ran: Ran, encoded: Encoded, where: Positions | None, begin: float) -> Outcome:
        """What is told of a try, whose elements belong to the items `where`; its last stage began at `begin`."""
        loaded = ran.loaded
        task, batch, returned = loaded.task, loaded.batch, ran.returned
        status, count, succeeded = Status.RUN_DONE, 0, 0
        failed_items: tuple[FailedItem, ...] = ()
        if batch is None or returned is None or ran.fault is not None:
            status = Status.LOAD_EXCEPTION if batch is None else Status.RUN_EXCEPTION
        elif task.describe:
            status, failed_items = Status.DESCRIBED, self._asked_for(task, batch)
        else:
            count, succeeded = returned.length, min(batch.items, returned.length)
            failed = (*batch.failed_items, *_missing(task.minibatch, batch, returned, where))
            failed_items = self._described(task.minibatch, batch, failed)
        dropped = batch.dropped if batch else 0
        return Outcome(
            index=task.minibatch.index,
            attempt=task.attempt,
            status=status,
            total=task.items - dropped,
            succeeded=succeeded,
            returned=count,
            columns=encoded.columns,
            failed_items=failed_items,
            timings=ran.timings(time.perf_counter() - begin),
            fault=ran.fault,
            bytes_read=batch.bytes_read if batch else 0,
            dropped=dropped,
            part=task.part,
            ticket=task.ticket,
            notes=self._scorer.take_notes(),
        )

    def _asked_for(self, task: Task, batch: Batch) -> tuple[FailedItem, ...]:
        """Items that failed for good; the fault of one that cannot be read is its own, that of others is empty.

        A line that was dropped is no item, and left out.
        """
        rows = [task.minibatch.first_row + position for position in task.describe]
        known = {item.row: item for item in batch.failed_items}
        if isinstance(batch, TableBatch):
            readable = batch.ordinals[np.isin(batch.ordinals, rows)].tolist()
            known |= {row: FailedItem(task.minibatch.source, row, Fault("", "")) for row in readable}
        return self._described(task.minibatch, batch, [known[row] for row in rows if row in known])

    def _described(self, minibatch: MiniBatch, batch: Batch, items: Sequence[FailedItem]) -> tuple[FailedItem, ...]:
        """Failed items with their keys and records, or as they are if those cannot be had."""
        positions = [item.row - minibatch.first_row for item in items if item.row is not None]
        if len(positions) < len(items) or not items:
            return tuple(items)
        try:
            found = batch.describe(positions, self._key_columns)
        except Exception as error:  # noqa: BLE001 - a report with less in it is no reason to fail
            if not self._warned:
                self._warned = True
                logger.warning(
                    "mini-batch %d: failed items are reported without key and record, here and wherever these cannot "
                    "be made: %s: %s",
                    *(minibatch.index, type(error).__name__, error),
                )
            return tuple(items)
        return tuple(replace(item, key=one.key, record=one.record) for item, one in zip(items, found, strict=True))


def _where(ran: Ran) -> Positions | None:
    """Which item each returned element belongs to, if that is known."""
    batch, returned = ran.loaded.batch, ran.returned
    if batch is None or returned is None:
        return None
    return positions(returned, batch.items, indexed=isinstance(batch, TableBatch))


def _missing(minibatch: MiniBatch, batch: Batch, returned: Returned, where: Positions | None) -> list[FailedItem]:
    """The items that the index of what `run()` returned shows as left out, if they are as many as count as failed."""
    if isinstance(batch, FileBatch):
        return []
    absent = missing_items(where, batch.items)
    if returned.length >= batch.items:  # by the contract nothing has failed: elements are counted, not matched
        if len(absent):
            logger.warning(
                "mini-batch %d: run() returned %d elements for %d rows, but none for %d of them, the first is row %d",
                *(minibatch.index, returned.length, batch.items, len(absent), batch.ordinals[absent[0]]),
            )
        return []
    if len(absent) != batch.items - returned.length:  # labels repeat: elements are counted, so some absent items passed
        return []
    fault = Fault("NotReturned", "run() returned no element for this item")
    return [FailedItem(minibatch.source, int(batch.ordinals[row]), fault) for row in absent]
