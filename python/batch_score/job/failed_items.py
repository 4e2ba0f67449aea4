"""The lines of `failed_items.jsonl`: one JSON object for each item without a result. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batch_score.minibatch import FailedItem, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from batch_score.job.queue import Settled
    from batch_score.job.split import Bad, Scored
    from batch_score.minibatch import MiniBatch, Outcome


def failed_lines(settled: Settled) -> bytes:
    """The lines of one mini-batch in the order of its items; empty when all of them have results."""
    parts = [(one.piece.start, _of_scored(settled, one)) for one in settled.scored]
    described = {item.row: item for item in settled.described}
    parts += [(one.piece.start, _of_bad(settled, one, described)) for one in settled.bad]
    lines = (line for _, part in sorted(parts, key=lambda part: part[0]) for line in part)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")  # a path need not be UTF-8


def _of_scored(settled: Settled, scored: Scored) -> Iterator[dict[str, Any]]:
    """Items that could not be read, and those that `run()` returned nothing for."""
    outcome: Outcome = scored.result[0]
    minibatch, tries = settled.task.minibatch, scored.piece.tries + 1
    for item in outcome.failed_items:
        yield _line(minibatch, item, tries, "")
    unknown = outcome.total - outcome.succeeded - len(outcome.failed_items)
    if unknown > 0:
        message = f"run() returned {outcome.returned} elements for {outcome.total} items; which are missing is unknown"
        nameless = FailedItem(minibatch.source, None, Fault("NotReturned", message))
        yield {**_line(minibatch, nameless, tries, ""), "source": minibatch.source or None, "items": unknown}


def _of_bad(settled: Settled, bad: Bad, described: dict[int | None, FailedItem]) -> Iterator[dict[str, Any]]:
    """Items that failed for good; one that could not even be read has its own reason."""
    minibatch = settled.task.minibatch
    for item in _items(minibatch, range(bad.piece.start, bad.piece.stop), bad.failure.fault):
        known = described.get(item.row, item) if item.row is not None else item
        own = known.fault.error != ""
        yield _line(
            minibatch,
            known if own else FailedItem(item.source, item.row, item.fault, known.key, known.record),
            bad.piece.tries,
            "" if own and known is not item else bad.failure.log,
        )


def _items(minibatch: MiniBatch, positions: Iterable[int], fault: Fault) -> Iterator[FailedItem]:
    """Where the items at `positions` of a mini-batch are."""
    for position in positions:
        if minibatch.files:
            yield FailedItem(minibatch.files[position], None, fault)
        else:
            yield FailedItem(minibatch.source, minibatch.first_row + position, fault)


def _line(minibatch: MiniBatch, item: FailedItem, tries: int, log: str) -> dict[str, Any]:
    return {
        "source": item.source,
        "row": item.row,
        **({} if item.key is None else {"key": item.key}),
        "record": item.record,
        "attempts": tries,
        "error": item.fault.error,
        "message": item.fault.message,
        "log": log or None,
        "mini_batch": minibatch.index,
    }
