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


def exceeded(totals: Totals, config: ParallelRunConfig, mini_batches: int | None) -> str | None:
    """The first threshold that is exceeded, as a sentence, or None.

    Args:
        totals: Final states so far.
        config: The thresholds.
        mini_batches: Number of all mini-batches, None while planning goes on.
    """
    if 0 <= config.error_threshold < totals.items_failed:
        return _sentence("failed items", totals.items_failed, "error_threshold", config.error_threshold)
    allowed = config.tolerated_mini_batches
    failed = totals.mini_batches_failed
    if allowed is not None and failed > allowed:
        return _sentence("failed mini-batches", failed, "allowed_failed_count", allowed)
    percent = config.allowed_failed_percent
    if percent is not None and mini_batches and 100 * failed > percent * mini_batches:
        return _sentence(f"failed mini-batches of {mini_batches}", failed, "allowed_failed_percent", percent)
    return None


def _sentence(what: str, failed: int, option: str, limit: float) -> str:
    return f"{what}: {failed:,}, more than {option} {limit:g} allows"
