"""What a settled mini-batch leaves behind: rows in the output, lines in the reports, a place in the totals."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, TextIO

from batch_score.errors import OutputError
from batch_score.job.totals import Totals
from batch_score.minibatch import Fault, MiniBatch, Outcome
from batch_score.output.encoder import check_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batch_score._native import AppendWriter
    from batch_score.logs.report import JobLog
    from batch_score.minibatch import Status, Timings
    from batch_score.output.encoder import Encoder
    from batch_score.output.parquet import UnitedSchema
    from batch_score.worker.messages import Task

logger = logging.getLogger(__name__)


class Ledger:
    """The rim where settled mini-batches become bytes on disk.

    Args:
        writer: The append writer.
        encoder: Form of the output, None for `summary_only`.
        failed_items: The open `failed_items.jsonl`.
        log: The coordinator's part of the log tree.
        short_return_fails: A short return makes its mini-batch a failed one (`error_threshold` is set).
        clock: Gives monotonic seconds.
    """

    def __init__(
        self,
        writer: AppendWriter,
        encoder: Encoder | None,
        failed_items: TextIO,
        log: JobLog,
        *,
        short_return_fails: bool,
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._encoder = encoder
        self._failed_items = failed_items
        self._log = log
        self._short_return_fails = short_return_fails
        self._clock = clock
        self._columns: tuple[str, ...] | None = None
        self.has_header = False
        self._united = _united_schema() if encoder is not None and encoder.spooled else None
        self.totals = Totals()

    def column_fault(self, outcome: Outcome, payload: bytes) -> Fault | None:
        """Why the rows of an outcome cannot stand in one file with those before, None when they can."""
        message = check_columns(self._columns or (), outcome.columns)
        if payload and self._united is not None:
            try:
                self._united.admit(payload)
            except OutputError as error:
                message = str(error)
        return Fault("ReturnTypeError", message) if message else None

    def commit(self, task: Task, outcome: Outcome, payload: bytes) -> None:
        """Appends the rows of a scored mini-batch and counts it."""
        if outcome.columns and self._columns is None:
            self._columns = outcome.columns
            self._begin(outcome)
        before = self._writer.end_offset
        end = self._writer.append(
            outcome.index, outcome.attempt, outcome.total, outcome.succeeded, payload, self._clock()
        )
        failed = outcome.total - outcome.succeeded
        short = failed > 0 and self._short_return_fails
        self.totals = self.totals.plus(
            mini_batches_succeeded=int(not short),
            mini_batches_failed=int(short),
            items_succeeded=outcome.succeeded,
            items_failed=failed,
            items_dropped=outcome.dropped,
            returned=outcome.returned,
            bytes_read=outcome.bytes_read,
            bytes_written=end - before,
        )
        self._report_returned(task.minibatch, outcome)

    def _begin(self, outcome: Outcome) -> None:
        """Writes the header, unless rows without columns (a list in the text form) stand at the beginning already."""
        head = self._encoder.preamble(outcome.columns) if self._encoder else b""
        if head and self._writer.end_offset:
            logger.warning("mini-batch %d: no header is written, because rows without columns came first; "
                           "return DataFrames from every call of run()", outcome.index)  # fmt: skip
        elif head:
            self._writer.preamble(head, self._clock())
            self.has_header = True

    def _report_returned(self, minibatch: MiniBatch, outcome: Outcome) -> None:
        for item in outcome.failed_items:
            self._failed_line(minibatch, outcome.attempt + 1, item.fault, source=item.source, row=item.row)
        unknown = outcome.total - outcome.succeeded - len(outcome.failed_items)
        if unknown > 0:
            message = (
                f"run() returned {outcome.returned} elements for {outcome.total} items; which are missing is unknown"
            )
            fault = Fault("NotReturned", message)
            where = {"source": minibatch.source or None, "row": None, "items": unknown}
            self._failed_line(minibatch, outcome.attempt + 1, fault, **where)
        if outcome.returned > outcome.total:
            logger.debug("mini-batch %d: run() returned %d elements for %d items; all are written",
                         outcome.index, outcome.returned, outcome.total)  # fmt: skip

    def give_up(self, task: Task, fault: Fault) -> None:
        """A mini-batch failed for good: all its items are failed items."""
        minibatch = task.minibatch
        self._writer.fail(minibatch.index, task.attempt, minibatch.rows, 0, self._clock())
        self.totals = self.totals.plus(
            mini_batches_failed=1, mini_batches_given_up=1, items_failed=minibatch.rows, bytes_read=minibatch.length
        )
        for item in _items(minibatch):
            self._failed_line(minibatch, task.attempt + 1, fault, **item)

    def report_try(self, task: Task, outcome: Outcome, process: str) -> None:
        """One line in the report of tries."""
        self._log.report_try(task.minibatch, outcome, process=process, picked=task.attempt + 1)

    def _failed_line(self, minibatch: MiniBatch, attempts: int, fault: Fault, **where: Any) -> None:
        line = {**where, "attempts": attempts, "error": fault.error, "message": fault.message}
        self._failed_items.write(json.dumps({**line, "mini_batch": minibatch.index}, ensure_ascii=False) + "\n")

    def flush(self) -> None:
        """What was reported is on its way to the disk."""
        self._failed_items.flush()


def _united_schema() -> UnitedSchema:
    from batch_score.output.parquet import UnitedSchema  # noqa: PLC0415 - only this form needs it

    return UnitedSchema()


def _items(minibatch: MiniBatch) -> Iterator[dict[str, Any]]:
    """Where each item of a mini-batch is."""
    if minibatch.files:
        return ({"source": path, "row": None} for path in minibatch.files)
    rows = range(minibatch.first_row, minibatch.first_row + minibatch.rows)
    return ({"source": minibatch.source, "row": row} for row in rows)


def lost(task: Task, status: Status, fault: Fault, timings: Timings) -> Outcome:
    """The outcome of a try whose worker cannot tell it any more."""
    return Outcome(
        index=task.minibatch.index,
        attempt=task.attempt,
        status=status,
        total=task.minibatch.rows,
        timings=timings,
        fault=fault,
    )
