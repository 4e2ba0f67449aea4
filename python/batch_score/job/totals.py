"""What a job has come to so far, and whether that is too much failure. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import add, attrgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch_score._native import Summary
    from batch_score.config import ParallelRunConfig


@dataclass(frozen=True, slots=True)
class Totals:
    """Final states only: a mini-batch counts once, when it is settled.

    Attributes:
        mini_batches_succeeded: Committed, and no item of them failed, or failed items are ignored.
        mini_batches_failed: All others: those given up or split, and short ones while `error_threshold` is set.
        mini_batches_given_up: Failed in all their tries; nothing of them is in the output.
        items_dropped: Lines left out because the dataset says so; they are no items.
        returned: Elements that `run()` returned in all committed mini-batches.
        bytes_read: Input bytes of all settled mini-batches.
        bytes_written: Bytes appended to the output, without its header.
    """

    mini_batches_succeeded: int = 0
    mini_batches_failed: int = 0
    mini_batches_given_up: int = 0
    items_succeeded: int = 0
    items_failed: int = 0
    items_dropped: int = 0
    returned: int = 0
    bytes_read: int = 0
    bytes_written: int = 0

    @property
    def mini_batches(self) -> int:
        """Settled mini-batches."""
        return self.mini_batches_succeeded + self.mini_batches_failed

    @property
    def mini_batches_partly(self) -> int:
        """Failed mini-batches of which something is in the output: split, or returned short."""
        return self.mini_batches_failed - self.mini_batches_given_up

    @property
    def items(self) -> int:
        """Items of settled mini-batches."""
        return self.items_succeeded + self.items_failed

    @property
    def counters(self) -> dict[tuple[str, str], int]:
        """What grows while the job runs, by name and state."""
        return {
            ("mini_batches", "succeeded"): self.mini_batches_succeeded,
            ("mini_batches", "failed"): self.mini_batches_failed,
            ("items", "succeeded"): self.items_succeeded,
            ("items", "failed"): self.items_failed,
            ("bytes_read", ""): self.bytes_read,
            ("bytes_written", ""): self.bytes_written,
        }

    def plus(self, **amounts: int) -> Totals:
        """These totals and `amounts` more."""
        return Totals(*map(add, _VALUES(self), _VALUES(Totals(**amounts))))


_VALUES = attrgetter(*(field.name for field in fields(Totals)))


def restored(summary: Summary, *, short_return_fails: bool) -> Totals:
    """The totals of a run's earlier sessions, but for what only its plan tells: bytes read, items dropped."""
    short = summary.short if short_return_fails else 0
    return Totals(
        mini_batches_succeeded=summary.committed - short,
        mini_batches_failed=summary.failed + summary.bisected + short,
        mini_batches_given_up=summary.failed,
        items_succeeded=summary.items_succeeded,
        items_failed=summary.items_total - summary.items_succeeded,
        returned=summary.returned,
        bytes_written=summary.end - summary.header,
    )


@dataclass(frozen=True, slots=True)
class Excess:
    """A threshold that is exceeded.

    Attributes:
        option: Its parameter.
        limit: Its value.
        failed: How many have failed.
        what: Of which kind, e.g. `failed items`.
        enough: The least value that what has failed so far does not exceed.
    """

    option: str
    limit: float
    failed: int
    what: str
    enough: int

    def __str__(self) -> str:
        return f"{self.what}: {self.failed:,}, more than {self.option} {self.limit:g} allows"


def excesses(totals: Totals, config: ParallelRunConfig, mini_batches: int | None) -> list[Excess]:
    """All thresholds that are exceeded.

    Args:
        totals: Final states so far.
        config: The thresholds.
        mini_batches: Number of all mini-batches, None while planning goes on.
    """
    items, failed, found = totals.items_failed, totals.mini_batches_failed, []
    if 0 <= config.error_threshold < items:
        found.append(Excess("error_threshold", config.error_threshold, items, "failed items", items))
    allowed = config.tolerated_mini_batches
    if allowed is not None and failed > allowed:
        found.append(Excess("allowed_failed_count", allowed, failed, "failed mini-batches", failed))
    percent = config.allowed_failed_percent
    if percent is not None and mini_batches and 100 * failed > percent * mini_batches:
        what = f"failed mini-batches of {mini_batches}"
        found.append(Excess("allowed_failed_percent", percent, failed, what, -(-100 * failed // mini_batches)))
    return found


def exceeded(totals: Totals, config: ParallelRunConfig, mini_batches: int | None) -> str | None:
    """The first threshold that is exceeded, as a sentence, or None; arguments are those of `excesses`."""
    return next((str(one) for one in excesses(totals, config, mini_batches)), None)


def enough(found: list[Excess]) -> str:
    """The options of the command line under which what has failed so far is not too much."""
    return " ".join(f"--{one.option.replace('_', '-')} {one.enough}" for one in found)
