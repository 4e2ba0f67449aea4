"""How far a run is: figures and text as pure functions, and the display that shows them while it runs.

Rates and sizes are in decimal units here: 1 MB/s is 1,000,000 bytes a second, as disks and networks are sold.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress

_BAR_INTERVAL_S = 0.1
_BAR_WIDTH, _NARROW_BAR_WIDTH = 30, 10
_WIDE = 110  # columns of a terminal that the bar and a long line fit into
_ERRORS_SHOWN = 5
_LONGEST_LINE = 200
_TOLD_BELOW = 60  # as much of an error as tells which one it is

# How a run ends.
COMPLETED, FAILED, INTERRUPTED = "completed", "failed", "interrupted"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The state of a run at one moment. An item or byte counts as done once its mini-batch is final.

    Attributes:
        mini_batches_planned: Known so far.
        mini_batches_succeeded: Committed.
        mini_batches_failed: Failed for good.
        mini_batches_partly: How many of those were failed only in part: the rest of their items has results.
        plan_complete: No further mini-batch will be found.
        items_succeeded: Items with a result.
        items_failed: Items that failed for good.
        items_total: Items of the whole input, None while unknown.
        bytes_done: Input bytes of the final mini-batches.
        bytes_total: Size of the whole input in bytes, known from the start for local files, None otherwise.
        elapsed_s: Seconds since this start of the run.
        workers: Workers alive.
        gpu_percent: Use of each GPU as last measured, empty where there is none or no measure of it.
        unit: What an item is, `rows` or `files`.
        items_before: Items among the done ones that an earlier start of the run finished.
        bytes_before: The same in bytes.
    """

    mini_batches_planned: int = 0
    mini_batches_succeeded: int = 0
    mini_batches_failed: int = 0
    mini_batches_partly: int = 0
    plan_complete: bool = False
    items_succeeded: int = 0
    items_failed: int = 0
    items_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    elapsed_s: float = 0.0
    workers: int = 0
    gpu_percent: tuple[float, ...] = ()
    unit: str = "rows"
    items_before: int = 0
    bytes_before: int = 0

    @property
    def items_done(self) -> int:
        """Items that are final, succeeded or failed."""
        return self.items_succeeded + self.items_failed

    @property
    def mini_batches_done(self) -> int:
        """Mini-batches that are final, succeeded or failed."""
        return self.mini_batches_succeeded + self.mini_batches_failed


class Rates(NamedTuple):
    """Averages over this start of the run: items per second and bytes per second."""

    items: float
    bytes: float


def rates(snapshot: Snapshot) -> Rates:
    """The speed so far, without what an earlier start finished; zero while no time has passed."""
    if snapshot.elapsed_s <= 0:
        return Rates(0.0, 0.0)
    return Rates(
        (snapshot.items_done - snapshot.items_before) / snapshot.elapsed_s,
        (snapshot.bytes_done - snapshot.bytes_before) / snapshot.elapsed_s,
    )


def fraction(snapshot: Snapshot) -> float | None:
    """The part of the input that is done, 0 to 1; None while the size of the input is unknown."""
    if _all_done(snapshot):
        return 1.0
    if snapshot.bytes_total:
        return min(1.0, snapshot.bytes_done / snapshot.bytes_total)
    if snapshot.items_total:
        return min(1.0, snapshot.items_done / snapshot.items_total)
    return None


def eta(snapshot: Snapshot) -> float | None:
    """Seconds until the input is done; None while there is nothing to tell it from.

    Bytes are the measure when their total is known, because the sizes of files are known before the plan is;
    items are it otherwise.
    """
    if _all_done(snapshot):
        return 0.0
    speed = rates(snapshot)
    if snapshot.bytes_total:
        return _time_left(snapshot.bytes_total - snapshot.bytes_done, speed.bytes)
    if snapshot.items_total:
        return _time_left(snapshot.items_total - snapshot.items_done, speed.items)
    return None


def _all_done(snapshot: Snapshot) -> bool:
    """Nothing is left to do; there may be bytes that belong to no item, such as headers."""
    return snapshot.plan_complete and 0 < snapshot.mini_batches_planned == snapshot.mini_batches_done


def expected_items(snapshot: Snapshot) -> int | None:
    """All items of the input: the exact number when known, else an estimate to three digits from bytes."""
    if snapshot.items_total is not None:
        return snapshot.items_total
    if not snapshot.bytes_total or not snapshot.bytes_done or not snapshot.items_done:
        return None
    return _three_digits(snapshot.items_done * snapshot.bytes_total // snapshot.bytes_done)


def line(snapshot: Snapshot) -> str:
    """The state as one line, e.g. `12,345 of ~1,000,000 rows  1.2 M rows/s  188 MB/s  0 failed  ETA 0:12`."""
    parts = [_amount(snapshot), f"{quantity(rates(snapshot).items)} {snapshot.unit}/s"]
    if snapshot.bytes_done:
        parts.append(f"{size(rates(snapshot).bytes)}/s")
    parts.append(f"{snapshot.items_failed:,} failed")
    left = eta(snapshot)
    if left is not None:
        parts.append(f"ETA {duration(left)}")
    if snapshot.gpu_percent:
        parts.append(f"GPU {' '.join(f'{percent:.0f}' for percent in snapshot.gpu_percent)} %")
    return "  ".join(parts)


def overview(snapshot: Snapshot) -> str:
    """The state as a text of several lines, for `job_progress_overview.txt`."""
    left = eta(snapshot)
    planned = "" if snapshot.plan_complete else " so far"
    open_ = snapshot.mini_batches_planned - snapshot.mini_batches_done
    return _table(
        [
            ("mini-batches", f"{snapshot.mini_batches_planned:,} scheduled{planned}"),
            ("", f"{snapshot.mini_batches_done:,} processed, {open_:,} remaining"),
            ("", f"{snapshot.mini_batches_succeeded:,} succeeded, {snapshot.mini_batches_failed:,} failed"),
            (snapshot.unit, f"{_amount(snapshot)}, {snapshot.items_failed:,} failed"),
            ("rate", _speed(snapshot)),
            ("workers", f"{snapshot.workers:,}"),
            ("time", duration(snapshot.elapsed_s)),
            ("remaining time", "not known yet" if left is None else duration(left)),
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended.

    Attributes:
        status: `completed`, `failed` or `interrupted`.
        output: The output file, None when there is none (`summary_only`).
        run_dir: The run directory.
        snapshot: The last state.
        output_form: What the output file holds, e.g. `csv, separator ',', header`.
        cause: Why it failed, in one line; empty when it did not.
        script_line: Where in the entry script, e.g. `score.py:12 in run`; empty when it was not there.
        log: The file with the details of the failure.
        errors: Distinct errors with their counts, in order of appearance.
        failed_items: The file of the failed items, None when none failed.
        first_failed: The first of them with its reason, in one line; may be empty.
        advice: What to do next, e.g. the command that resumes the run; may be empty.
    """

    status: str
    output: Path | None
    run_dir: Path
    snapshot: Snapshot
    output_form: str = ""
    cause: str = ""
    script_line: str = ""
    log: Path | None = None
    errors: tuple[tuple[str, int], ...] = ()
    failed_items: Path | None = None
    first_failed: str = ""
    advice: str = ""


def summary(ending: RunSummary) -> str:
    """The closing summary: aligned plain text that fits one screen.

    A failure ends with the cause, the line of the entry script and the log to read, in this order, so that
    they are the last lines on a console.
    """
    snapshot = ending.snapshot
    items = f"{snapshot.items_succeeded:,} succeeded, {snapshot.items_failed:,} failed"
    batches = f"{snapshot.mini_batches_succeeded:,} succeeded, {snapshot.mini_batches_failed:,} failed"
    if snapshot.mini_batches_partly:
        batches += f", {snapshot.mini_batches_partly:,} of them in part"
    return _table(
        [
            ("status", f"{ending.status} after {duration(snapshot.elapsed_s)}"),
            *_output_rows(ending),
            ("run directory", _absolute(ending.run_dir)),
            (snapshot.unit, items),
            ("mini-batches", batches),
            ("rate", _speed(snapshot)),
            *_failed_item_rows(ending),
            *_error_rows(ending.errors, ending.cause),
            *_failure_rows(ending),
        ]
    )


def script_line(traceback: str, script: str) -> str:
    """The deepest line of the entry script in a traceback, e.g. `score.py:12 in run`; empty when none is there.

    Args:
        traceback: Text as the traceback module writes it.
        script: Path of the entry script, whole or its last parts.
    """
    frames = re.findall(r'^ *File "(.+)", line (\d+), in (.+)$', traceback, flags=re.MULTILINE)
    inside = [rest for file, *rest in frames if file == script or file.endswith(f"/{script}")]
    if not inside:
        return ""
    number, function = inside[-1]
    return f"{Path(script).name}:{number} in {function}"


def counted(count: int, what: str) -> str:
    """A number of things, e.g. `1 row` or `2 rows`; `what` is the word for one."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}{'es' if what.endswith('ch') else 's'}"


def quantity(value: float) -> str:
    """A number in three digits with k, M or G, e.g. `1.23 M`."""
    for unit, scale in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if value >= 0.9995 * scale:
            return _digits(value / scale) + unit
    return _digits(value)


def size(count: float) -> str:
    """A number of bytes in decimal units, at least MB, e.g. `188 MB` or `1.25 GB`."""
    for unit, scale in (("TB", 1e12), ("GB", 1e9)):
        if count >= 0.9995 * scale:
            return f"{_digits(count / scale)} {unit}"
    return f"{_digits(count / 1e6)} MB"


def duration(seconds: float) -> str:
    """Seconds as `m:ss`, or `h:mm:ss` from an hour on, rounded to the second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """Shows snapshots on a stream: a bar on a terminal, now and then a line elsewhere.

    A stream that breaks (its reader went away) ends the display, not the run.

    Args:
        stream: Where to show, usually `sys.stderr`.
        interval_s: Least number of seconds between two lines where there is no terminal.
        clock: Gives monotonic seconds.
        figures: Show snapshots at all; without them there are only notes.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        interval_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        figures: bool = True,
    ) -> None:
        self._clock = clock
        self._figures = figures
        self._due = clock()
        self._pending: Snapshot | None = None
        bar = _bar(stream) if figures and stream.isatty() else None
        self._display: _Display | None = bar or _Lines(stream)
        self._interval_s = _BAR_INTERVAL_S if bar else interval_s

    def update(self, snapshot: Snapshot) -> None:
        """Shows the snapshot when the last one is old enough; cheap otherwise."""
        if not self._figures:
            return
        now = self._clock()
        if now < self._due:
            self._pending = snapshot
            return
        self._due = now + self._interval_s
        self._show(snapshot)

    def note(self, text: str) -> None:
        """Shows a line of text without tearing the bar."""
        self._attempt(lambda display: display.note(text))

    def detail(self, text: str) -> None:
        """Shows a line of text that belongs to the figures and is left out with them."""
        if self._figures:
            self.note(text)

    def close(self) -> None:
        """Shows the last snapshot, if it was held back, and ends the display. May be called twice."""
        if self._pending is not None:
            self._show(self._pending)
        self._attempt(lambda display: display.close())
        self._display = None

    def _show(self, snapshot: Snapshot) -> None:
        self._pending = None
        self._attempt(lambda display: display.show(snapshot))

    def _attempt(self, action: Callable[[_Display], None]) -> None:
        if self._display is None:
            return
        try:
            action(self._display)
        except (OSError, ValueError) as error:
            self._display = None
            logger.warning("the progress display ended, its stream cannot be written: %s", error)


class _Display(Protocol):
    def show(self, snapshot: Snapshot) -> None: ...

    def note(self, text: str) -> None: ...

    def close(self) -> None: ...


class _Lines:
    """One line per snapshot."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def show(self, snapshot: Snapshot) -> None:
        self.note(line(snapshot))

    def note(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()


class _Bar:
    """A bar with the line beside it."""

    def __init__(self, bar: RichProgress) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None)

    def show(self, snapshot: Snapshot) -> None:
        done = fraction(snapshot)
        self._bar.start()
        self._bar.update(
            self._task,
            completed=done or 0.0,
            total=None if done is None else 1.0,
            description=line(snapshot),
            refresh=True,
        )

    def note(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._bar.stop()


def _bar(stream: TextIO) -> _Bar | None:
    """A bar, or None on a terminal that cannot move its cursor."""
    # rich takes 80 ms to import, which a run without a terminal need not pay.
    from rich.console import Console  # noqa: PLC0415 - see above
    from rich.progress import BarColumn, TextColumn  # noqa: PLC0415 - see above
    from rich.progress import Progress as RichProgress  # noqa: PLC0415 - see above
    from rich.table import Column  # noqa: PLC0415 - see above

    console = Console(file=stream)
    if console.is_dumb_terminal:
        return None
    text = TextColumn(
        "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    width = _BAR_WIDTH if console.width >= _WIDE else _NARROW_BAR_WIDTH
    return _Bar(
        RichProgress(
            # The text has what the bar leaves: so the bar stays as it is while the text beside it grows. Its colour at
            # the end is one that terminals with few colours show, too.
            BarColumn(bar_width=width, finished_style="green"),
            text,
            console=console,
            expand=True,
            auto_refresh=False,
            # sys.stdout and sys.stderr stay as they are: the inline engine redirects them itself.
            redirect_stdout=False,
            redirect_stderr=False,
        )
    )


def _amount(snapshot: Snapshot) -> str:
    done, total = f"{snapshot.items_done:,}", expected_items(snapshot)
    one = snapshot.unit.removesuffix("s")
    if total is None:
        return counted(snapshot.items_done, one)
    about = "" if snapshot.items_total is not None and snapshot.plan_complete else "~"
    return f"{done} of {about}{counted(total, one)}"


def _speed(snapshot: Snapshot) -> str:
    speed = rates(snapshot)
    items = f"{quantity(speed.items)} {snapshot.unit}/s"
    return f"{items}, {size(speed.bytes)}/s" if snapshot.bytes_done else items


def _output_rows(ending: RunSummary) -> list[tuple[str, str]]:
    if ending.output is None:
        return []
    rows = [("output", _absolute(ending.output))]
    return [*rows, ("", ending.output_form)] if ending.output_form else rows


def _failed_item_rows(ending: RunSummary) -> list[tuple[str, str]]:
    if ending.failed_items is None:
        return []
    rows = [("failed items", _absolute(ending.failed_items))]
    told = not ending.first_failed or any(text in ending.first_failed for text, _ in ending.errors)
    return rows if told else [*rows, ("", f"the first: {_cut(ending.first_failed)}")]


def _error_rows(errors: tuple[tuple[str, int], ...], cause: str) -> list[tuple[str, str]]:
    """Each error with its count; one that the cause has in full is cut here."""
    lengths = [_TOLD_BELOW if text in cause else _LONGEST_LINE for text, _ in errors]
    shown = [f"{n:,} x {_cut(text, longest)}" for (text, n), longest in zip(errors, lengths, strict=True)]
    rows = [("errors" if i == 0 else "", text) for i, text in enumerate(shown)]
    hidden = len(rows) - _ERRORS_SHOWN
    return rows if hidden <= 0 else [*rows[:_ERRORS_SHOWN], ("", f"and {hidden:,} other kinds")]


def _failure_rows(ending: RunSummary) -> list[tuple[str, str]]:
    rows = []
    if ending.advice:
        rows.append(("next", ending.advice))
    if ending.cause:
        rows.append(("cause", _cut(ending.cause, 5 * _LONGEST_LINE)))
    if ending.script_line:
        rows.append(("script", ending.script_line))
    if ending.log is not None:
        rows.append(("log", _absolute(ending.log)))
    return rows


def _table(rows: list[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {text}\n" for name, text in rows)


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _cut(text: str, longest: int = _LONGEST_LINE) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 4]} ..."


def _time_left(amount: int, speed: float) -> float | None:
    if amount <= 0:
        return 0.0
    return amount / speed if speed > 0 else None


def _three_digits(value: int) -> int:
    scale = int(10 ** max(0, len(str(value)) - 3))
    return (value + scale // 2) // scale * scale


def _digits(value: float) -> str:
    """Three significant digits, no exponent: 1.23, 12.3, 123."""
    if value >= 99.95:  # noqa: PLR2004 - where one decimal would round up to 100.0
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}".removesuffix(".00")  # noqa: PLR2004 - as above
