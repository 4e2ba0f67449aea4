"""The coordinator's side of the log tree: its own log, the report of tries, the overview and the result."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from batch_score.logs.faults import FaultFiles
from batch_score.logs.text import (
    AppendFile,
    LineFormatter,
    fault_text,
    level_number,
    open_lines,
    replace_text,
    utc_text,
)
from batch_score.logs.tree import COORDINATOR
from batch_score.logs.tries import TryReport, Worker
from batch_score.progress import overview
from batch_score.summary import COMPLETED, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from batch_score.logs.tree import LogTree
    from batch_score.minibatch import Fault, MiniBatch, Outcome
    from batch_score.progress import Snapshot
    from batch_score.summary import RunSummary

_MOST_ERRORS = 1_000


class JobLog:
    """What the coordinator writes down about a run. Used from one thread.

    While it is open, batch_score's own log records go to `master_role.txt`. Of all files only the report of tries
    must be written; of the others is left out, without an error, what a full disk for instance does not take.

    Args:
        tree: The log tree; its folders exist.
        level: Records below this level are not written (`WARNING`, `INFO`, `DEBUG`, any case).
        addresses: IP address of each node; a node without one is reported under its name.
        clock: Gives the POSIX time stamp of errors.

    Raises:
        KeyError: `level` is not the name of a level.
        OSError: The report of tries cannot be read or written.
    """

    def __init__(
        self,
        tree: LogTree,
        level: str = "INFO",
        *,
        addresses: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        number = level_number(level)
        self._tree = tree
        self._addresses = addresses or {}
        self._clock = clock
        self._tries = TryReport(tree)
        self._errors: dict[str, int] = {}
        self._first_fault: Fault | None = None
        self._first_log: Path | None = None
        self._lines = open_lines(AppendFile(tree.master_role, lossy=True))
        self._handler = logging.StreamHandler(self._lines)
        self._handler.setFormatter(LineFormatter())
        self._handler.setLevel(number)
        self._logger = logging.getLogger("batch_score")
        self._level_before = self._logger.level
        self._logger.addHandler(self._handler)
        self._logger.setLevel(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def first_fault(self) -> Fault | None:
        """The first error of the run that was reported here."""
        return self._first_fault

    @property
    def first_traceback(self) -> Path | None:
        """The file that has the traceback of the first error, None while there is none."""
        return self._first_log

    def traceback_file(self, process: str, node: str = "") -> str:
        """The file with a worker's tracebacks, relative to the run directory."""
        path = self._tree.on(node or self._tree.node).user_error(process)
        return path.relative_to(self._tree.root.parent).as_posix()

    @property
    def errors(self) -> tuple[tuple[str, int], ...]:
        """Distinct errors with their counts, in order of appearance; from the 1,001st kind on as one entry."""
        return tuple(self._errors.items())

    def report_try(
        self, minibatch: MiniBatch, outcome: Outcome, *, process: str, picked: int, device: str = "", node: str = ""
    ) -> None:
        """Adds one try to the report; the row is in the file after the next `flush`.

        Args:
            minibatch: What was tried.
            outcome: How it ended; its fault is counted.
            process: The worker, e.g. `process000`.
            picked: How often the mini-batch has been handed out, this try included.
            device: UUID of the worker's GPU or MIG slice, empty without one.
            node: The worker's node; empty stands for this one.
        """
        place = node or self._tree.node
        address = self._addresses.get(place, place)
        worker = Worker(address, process, device)
        self._tries.add(minibatch, outcome, worker, picked=picked)
        if outcome.fault is not None:
            self._count(outcome.fault, self._tree.on(place).user_error(process))

    def flush(self) -> None:
        """Writes the tries that were added to the report.

        Raises:
            OSError: The report cannot be written.
        """
        self._tries.flush()

    def report_fault(self, fault: Fault, *, process: str, node: str = "") -> None:
        """Counts an error that belongs to no try, e.g. of `init()`."""
        self._count(fault, self._tree.on(node or self._tree.node).user_error(process))

    def worker_error(self, fault: Fault, where: str, *, process: str, node: str = "") -> None:
        """Writes an error among the entry script's for a worker that can no longer do it, e.g. a killed one.

        Args:
            fault: The error.
            where: What the worker was doing, e.g. `run() of mini-batch 12, try 1`.
            process: The worker.
            node: The worker's node; empty stands for this one.
        """
        files = FaultFiles(self._tree.on(node or self._tree.node), process, lossy=True)
        files.write(fault, where, seconds=self._clock())
        files.close()

    def system_error(self, fault: Fault, where: str, *, process: str = COORDINATOR) -> None:
        """Writes a failure that is not the entry script's to `sys/error`.

        Args:
            fault: The failure.
            where: What was being done.
            process: The worker it concerns, the coordinator itself by default.
        """
        with AppendFile(self._tree.system_error(process), lossy=True) as file:
            text = fault.traceback.rstrip() or fault_text(fault)
            file.write_text(f"{utc_text(self._clock())}|{where}\n{text}\n\n")

    def overview(self, snapshot: Snapshot) -> None:
        """Rewrites `job_progress_overview.txt`; a reader never sees half of it. Once a second is often enough."""
        with suppress(OSError):
            replace_text(self._tree.job_progress_overview, f"{overview(snapshot)}{self._written()}")

    def result(self, ending: RunSummary) -> None:
        """Writes `job_result.txt` and ends the overview with the result."""
        traceback = self._first_fault.traceback.rstrip() if self._first_fault else ""
        first = f"\nfirst traceback\n{traceback}\n" if traceback and ending.status != COMPLETED else ""
        end = f"{overview(ending.snapshot)}{self._written()}\n{summary(ending)}"
        with suppress(OSError):
            replace_text(self._tree.job_result, f"{summary(ending)}{first}")
            replace_text(self._tree.job_progress_overview, end)

    def close(self) -> None:
        """Takes the log handler off and writes the summaries. May be called twice."""
        if self._lines.closed:
            return
        self._logger.removeHandler(self._handler)
        self._logger.setLevel(self._level_before)
        self._handler.close()
        self._lines.close()
        with suppress(OSError):
            self._tries.close()

    def _count(self, fault: Fault, log: Path) -> None:
        if self._first_fault is None:
            self._first_fault, self._first_log = fault, log
        text = fault_text(fault)
        if text not in self._errors and len(self._errors) >= _MOST_ERRORS:
            text = "further kinds of errors"
        self._errors[text] = self._errors.get(text, 0) + 1

    def _written(self) -> str:
        return f"written at {utc_text(self._clock())} UTC\n"
