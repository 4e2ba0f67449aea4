"""The report of tries: `processed_mini-batches.csv` while the run goes on, and its sums at the end."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as _json_text
from typing import TYPE_CHECKING, NamedTuple

from batch_score.logs.text import AppendFile, one_line, replace_text, utc_text
from batch_score.minibatch import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from batch_score.logs.tree import LogTree
    from batch_score.minibatch import MiniBatch, Outcome

TRY_COLUMNS = (
    "Mini-batch Id",
    "Picked Count",
    "Ip Address",
    "Process",
    "Start Time",
    "Total",
    "Succeeded",
    "Failed",
    "Elapsed Seconds",
    "Process Seconds",
    "Run Method Seconds",
    "Status",
    "Error Category",
    "Error Message",
    "Mini-batch Detail",
    # What the contract does not know stands behind what it does.
    "Device",
    "Wait Seconds",
    "Read Seconds",
    "Encode Seconds",
    "Bytes Read",
)
_SUM_COLUMNS = (
    "Tries",
    "Failed Tries",
    "Total",
    "Succeeded",
    "Failed",
    "Elapsed Seconds",
    "Process Seconds",
    "Run Method Seconds",
    "First Start Time",
    "Last Start Time",
)
PROCESS_SUMMARY_COLUMNS = ("Ip Address", "Process", *_SUM_COLUMNS)
NODE_SUMMARY_COLUMNS = ("Ip Address", "Processes", *_SUM_COLUMNS)
_LONGEST_LISTING = 20


class Worker(NamedTuple):
    """Who tried a mini-batch.

    Attributes:
        address: Its node.
        process: E.g. `process000`.
        device: UUID of its GPU or MIG slice, empty without one.
    """

    address: str
    process: str
    device: str


class _Try(NamedTuple):
    """The cells of a row that are summed up, in the order of the columns."""

    address: str
    process: str
    start: str
    total: int
    succeeded: int
    failed: int
    elapsed: float
    process_seconds: float
    run: float
    status: str


@dataclass(slots=True)
class _Sums:
    """What a number of tries add up to; an item counts once per try."""

    tries: int = 0
    failed_tries: int = 0
    total: int = 0
    succeeded: int = 0
    failed: int = 0
    elapsed: float = 0.0
    process: float = 0.0
    run: float = 0.0
    first: str = ""
    last: str = ""

    def add(self, one: _Try) -> None:
        self.tries += 1
        self.failed_tries += one.status != Status.RUN_DONE
        self.total += one.total
        self.succeeded += one.succeeded
        self.failed += one.failed
        self.elapsed += one.elapsed
        self.process += one.process_seconds
        self.run += one.run
        self._span(one.start, one.start)

    def merge(self, other: _Sums) -> None:
        self.tries += other.tries
        self.failed_tries += other.failed_tries
        self.total += other.total
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.elapsed += other.elapsed
        self.process += other.process
        self.run += other.run
        self._span(other.first, other.last)

    def cells(self) -> tuple[str | int, ...]:
        counts = (self.tries, self.failed_tries, self.total, self.succeeded, self.failed)
        return (*counts, *map(_seconds, (self.elapsed, self.process, self.run)), self.first, self.last)

    def _span(self, first: str, last: str) -> None:
        self.first = min(self.first, first) if self.first else first
        self.last = max(self.last, last)


class TryReport:
    """Writes the report of tries, some rows at a time, and sums it up without reading it again.

    Rows of an earlier start of the same run are kept and counted: the file is read once, at the beginning.
    Rows hold no line break, so a row that a crash cut in two is recognised and dropped.

    Args:
        tree: The files to write.

    Raises:
        OSError: The report cannot be read or created.
    """

    def __init__(self, tree: LogTree) -> None:
        self._tree = tree
        self._sums: dict[tuple[str, str], _Sums] = {}
        path = tree.processed_mini_batches
        _drop_torn_row(path)
        for one in _earlier_tries(path):
            self._add(one)
        self._file = AppendFile(path)
        self._rows = io.StringIO(newline="")
        self._writer = csv.writer(self._rows, lineterminator="\n")
        if not path.exists() or path.stat().st_size == 0:
            self._writer.writerow(TRY_COLUMNS)
            self.flush()

    def add(self, minibatch: MiniBatch, outcome: Outcome, worker: Worker, *, picked: int) -> None:
        """Adds the row of one try; it is in the file after the next `flush`.

        Args:
            minibatch: What was tried.
            outcome: How it ended.
            worker: Who tried it.
            picked: How often the mini-batch has been handed out, this try included.
        """
        timings, fault = outcome.timings, outcome.fault
        one = _Try(
            worker.address,
            worker.process,
            utc_text(timings.started),
            outcome.total,
            outcome.succeeded,
            outcome.total - outcome.succeeded,
            timings.load + timings.run + timings.encode,
            timings.process,
            timings.run,
            outcome.status.value,
        )
        self._add(one)
        self._writer.writerow(
            (
                outcome.index,
                picked,
                *one[:6],
                *map(_seconds, one[6:9]),
                one.status,
                fault.error if fault else "",
                one_line(fault.message) if fault else "",
                _detail(minibatch, outcome),
                worker.device,
                *map(_seconds, (timings.waiting, timings.load, timings.encode)),
                outcome.bytes_read,
            )
        )

    def flush(self) -> None:
        """Writes the rows that were added, in one piece.

        Raises:
            OSError: The file cannot be written; these rows are given up, for a part of them may stand there.
        """
        text = self._rows.getvalue()
        if text:
            self._rows.seek(0)
            self._rows.truncate()
            self._file.write_text(text)

    def close(self) -> None:
        """Writes what is left and both summaries, and closes the report.

        Raises:
            OSError: The report or a summary cannot be written.
        """
        try:
            self.flush()
        finally:
            self._file.close()
        replace_text(self._tree.process_summary, _table(PROCESS_SUMMARY_COLUMNS, self._process_rows()))
        replace_text(self._tree.node_summary, _table(NODE_SUMMARY_COLUMNS, self._node_rows()))

    def _add(self, one: _Try) -> None:
        sums = self._sums.get(one[:2])
        if sums is None:
            sums = self._sums[one[:2]] = _Sums()
        sums.add(one)

    def _process_rows(self) -> Iterator[tuple[str | int, ...]]:
        for (address, process), sums in sorted(self._sums.items(), key=lambda pair: pair[0]):
            yield (address, process, *sums.cells())

    def _node_rows(self) -> Iterator[tuple[str | int, ...]]:
        nodes: dict[str, _Sums] = {}
        processes: dict[str, int] = {}
        for (address, _), sums in self._sums.items():
            nodes.setdefault(address, _Sums()).merge(sums)
            processes[address] = processes.get(address, 0) + 1
        for address, sums in sorted(nodes.items()):
            yield (address, processes[address], *sums.cells())


def _seconds(value: float) -> str:
    return f"{value:.6f}"


def _detail(minibatch: MiniBatch, outcome: Outcome) -> str:
    """What the try worked on, as JSON; a long list of files is cut, `rows` has their number."""
    # By hand: to make an encoder for each of a hundred thousand of them takes longer than all else in a row.
    items = "" if outcome.part is None else f'"items": {list(outcome.part)}, '
    if minibatch.files:
        place = f'"files": [{", ".join(map(_json_text, minibatch.files[:_LONGEST_LISTING]))}]'
    elif minibatch.ranges:
        sources = ", ".join(_json_text(one.source) for one in minibatch.ranges[:_LONGEST_LISTING])
        place = f'"sources": [{sources}], "length": {minibatch.length}'
    else:
        source = _json_text(minibatch.source)
        place = f'"source": {source}, "offset": {minibatch.offset}, "length": {minibatch.length}'
    return (
        f'{{"attempt": {outcome.attempt}, "returned": {outcome.returned}, {items}{place}, '
        f'"first_row": {minibatch.first_row}, "rows": {minibatch.rows}, "dataset": {minibatch.dataset}}}'
    )


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str | int, ...]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _drop_torn_row(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, io.SEEK_END)
        block = min(size, 1 << 20)  # far longer than any row
        file.seek(size - block)
        file.truncate(size - block + file.read(block).rfind(b"\n") + 1)


def _earlier_tries(path: Path) -> Iterator[_Try]:
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield _Try(
                row["Ip Address"],
                row["Process"],
                row["Start Time"],
                int(row["Total"]),
                int(row["Succeeded"]),
                int(row["Failed"]),
                float(row["Elapsed Seconds"]),
                float(row["Process Seconds"]),
                float(row["Run Method Seconds"]),
                row["Status"],
            )
