"""What a settled mini-batch leaves behind: rows in the output, lines in the reports, a place in the totals."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from batch_score._native import Ending
from batch_score.errors import InputChangedError, OutputError
from batch_score.job.failed_items import bad_items, failed_lines
from batch_score.job.totals import restored
from batch_score.minibatch import Fault, Outcome
from batch_score.output.encoder import check_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from batch_score._native import AppendWriter
    from batch_score.job.queue import Settled
    from batch_score.logs.report import JobLog
    from batch_score.minibatch import MiniBatch, Status, Timings
    from batch_score.output.encoder import Encoder
    from batch_score.output.parquet import UnitedSchema
    from batch_score.worker.messages import Task

EndingKind: TypeAlias = Literal["committed", "bisected", "failed"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """The columns that the output began with.

    Attributes:
        names: Those of an earlier session of the run, empty when it had none.
        united: The same for a spooled output, None for others.
        record: Called once with the names, before the first rows that have some are appended.
    """

    names: tuple[str, ...]
    united: UnitedSchema | None
    record: Callable[[tuple[str, ...]], None]


class Ledger:
    """Writes settled mini-batches to disk and counts them.

    Args:
        writer: The append writer, which knows what an earlier session of the run has done.
        encoder: Form of the output, None for `summary_only`.
        log: The coordinator's part of the log tree.
        columns: What is known of the columns, and where they are kept.
        short_return_fails: A short return makes its mini-batch a failed one (`error_threshold` is set).
        clock: Gives monotonic seconds.
    """

    def __init__(
        self,
        writer: AppendWriter,
        encoder: Encoder | None,
        log: JobLog,
        columns: Columns,
        *,
        short_return_fails: bool,
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._encoder = encoder
        self._log = log
        self._names, self._united, self._record = columns.names, columns.united, columns.record
        self._recorded = bool(columns.names)
        self._short_return_fails = short_return_fails
        self._clock = clock
        self._called = False
        self._first_unread: Fault | None = None
        before = writer.summary
        self.has_header = before.header > 0
        self._header_is_due = before.end == 0
        self._to_pass = before.committed + before.bisected + before.failed
        self._rows_passed = 0
        self._items_before = before.items_total
        self.totals = restored(before, short_return_fails=short_return_fails)
        self.before = self.totals

    def ended(self, minibatch: MiniBatch) -> bool:
        """Whether an earlier session of the run has settled this mini-batch, which is then counted as passed.

        Raises:
            InputChangedError: It settled another one under this index.
        """
        if not self._to_pass:
            return False
        identity = self._writer.identity(minibatch.index)
        if identity is None:
            return False
        if identity != minibatch.identity:
            raise InputChangedError(_changed(f"mini-batch {minibatch.index} is another one than before"))
        self._to_pass -= 1
        self._rows_passed += minibatch.rows
        passed = {"bytes_read": minibatch.length}
        if not self._to_pass:
            passed["items_dropped"] = self._rows_passed - self._items_before
        self.totals, self.before = self.totals.plus(**passed), self.before.plus(**passed)
        return True

    @property
    def unread(self) -> Fault | None:
        """Why the first item could not be read, if `run()` was never called for it; None also before any has ended."""
        return None if self._called else self._first_unread

    def check_all_passed(self) -> None:
        """Call when the plan is complete.

        Raises:
            InputChangedError: The plan lacks mini-batches that an earlier session of the run has settled.
        """
        if self._to_pass:
            raise InputChangedError(_changed(f"{self._to_pass} mini-batches of before are not in it any more"))

    def column_fault(self, outcome: Outcome, payload: bytes) -> Fault | None:
        """Why the rows of an outcome cannot stand in one file with those before, None when they can."""
        message = check_columns(self._names, outcome.columns)
        if not message and outcome.columns:
            self._names = outcome.columns  # now: parts of a mini-batch wait for each other
        if payload and self._united is not None:
            try:
                self._united.admit(payload)
            except OutputError as error:
                message = str(error)
        return Fault("ReturnTypeError", message) if message else None

    def settle(self, settled: Settled) -> None:
        """Appends what a mini-batch came to, and counts it."""
        task, minibatch = settled.task, settled.task.minibatch
        results = [scored.result for scored in settled.scored]
        outcomes = [outcome for outcome, _ in results]
        for outcome in outcomes:
            self._begin(outcome)
            self._called = self._called or outcome.timings.run > 0
            if self._first_unread is None and outcome.failed_items:
                self._first_unread = outcome.failed_items[0].fault
        bad = sum(len(bad_items(settled, one)) for one in settled.bad)
        ending = Ending(
            index=minibatch.index,
            identity=minibatch.identity,
            attempt=task.attempt,
            total=sum(outcome.total for outcome in outcomes) + bad,
            succeeded=sum(outcome.succeeded for outcome in outcomes),
            returned=sum(outcome.returned for outcome in outcomes),
        )
        kind: EndingKind = ("bisected" if outcomes else "failed") if settled.failed else "committed"
        before = self._writer.end_offset
        payload = self._joined([payload for _, payload in results])
        end = self._writer.append(kind, ending, payload, failed_lines(settled), self._clock())
        self._count(kind, ending, minibatch, end - before)

    def _count(self, kind: EndingKind, ending: Ending, minibatch: MiniBatch, written: int) -> None:
        failed_items = ending.total - ending.succeeded
        failed = kind != "committed" or (failed_items > 0 and self._short_return_fails)
        self.totals = self.totals.plus(
            mini_batches_succeeded=int(not failed),
            mini_batches_failed=int(failed),
            mini_batches_given_up=int(kind == "failed"),
            items_succeeded=ending.succeeded,
            items_failed=failed_items,
            items_dropped=minibatch.rows - ending.total,
            returned=ending.returned,
            bytes_read=minibatch.length,
            bytes_written=written,
        )
        if ending.returned > ending.total:
            logger.debug(
                "mini-batch %d: run() returned %d elements for %d items; all are written",
                *(minibatch.index, ending.returned, ending.total),
            )

    def _joined(self, payloads: Sequence[bytes]) -> bytes:
        if len(payloads) == 1:
            return payloads[0]
        if self._united is None:
            return b"".join(payloads)
        from batch_score.output.parquet import join_segments  # noqa: PLC0415 - only this form needs it

        return join_segments([payload for payload in payloads if payload])

    def _begin(self, outcome: Outcome) -> None:
        """Writes the header, unless rows without columns (a list in the text form) stand at the beginning already."""
        if not outcome.columns:
            return
        if not self._recorded:
            self._recorded = True
            self._record(outcome.columns)
        if self.has_header or not self._header_is_due:
            return
        self._header_is_due = False
        head = self._encoder.preamble(outcome.columns) if self._encoder else b""
        if head and self._writer.end_offset:
            logger.warning("mini-batch %d: no header is written, because rows without columns came first; "
                           "return DataFrames from every call of run()", outcome.index)  # fmt: skip
        elif head:
            self._writer.preamble(head, self._clock())
            self.has_header = True


def _changed(what: str) -> str:
    return f"the input is not that of the run to resume, {what}; nothing was appended for it, start a new run"


def lost(task: Task, status: Status, fault: Fault, timings: Timings) -> Outcome:
    """The outcome of a try whose worker cannot tell it any more."""
    return Outcome(
        index=task.minibatch.index,
        attempt=task.attempt,
        status=status,
        total=task.items,
        timings=timings,
        fault=fault,
        part=task.part,
        ticket=task.ticket,
    )
