"""How far a run is: figures and text as pure functions, and the display that shows them while it runs."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TextIO

from batch_score.wording import aligned, counted, duration, quantity, rounded, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as RichProgress

_BAR_INTERVAL_S = 0.1
_BAR_WIDTH, _NARROW_BAR_WIDTH = 30, 10
_WIDE = 110  # columns of a terminal that the bar and a long line fit into

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
    return rounded(snapshot.items_done * snapshot.bytes_total // snapshot.bytes_done)


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
    return aligned(
        [
            ("mini-batches", f"{snapshot.mini_batches_planned:,} scheduled{planned}"),
            ("", f"{snapshot.mini_batches_done:,} processed, {open_:,} remaining"),
            ("", f"{snapshot.mini_batches_succeeded:,} succeeded, {snapshot.mini_batches_failed:,} failed"),
            (snapshot.unit, f"{_amount(snapshot)}, {snapshot.items_failed:,} failed"),
            ("rate", speed(snapshot)),
            ("workers", f"{snapshot.workers:,}"),
            ("time", duration(snapshot.elapsed_s)),
            ("remaining time", "not known yet" if left is None else duration(left)),
        ]
    )


def speed(snapshot: Snapshot) -> str:
    """Items and bytes a second, in words."""
    found = rates(snapshot)
    items = f"{quantity(found.items)} {snapshot.unit}/s"
    return f"{items}, {size(found.bytes)}/s" if snapshot.bytes_done else items


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


def _time_left(amount: int, speed: float) -> float | None:
    if amount <= 0:
        return 0.0
    return amount / speed if speed > 0 else None
