"""The lines of `failed_items.jsonl`: one JSON object for each item without a result. Pure, but for reading one back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batch_score.minibatch import FailedItem, Fault, path_text, places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from batch_score.job.queue import Settled
    from batch_score.job.split import Bad, Scored
    from batch_score.minibatch import MiniBatch, Outcome


def failed_lines(settled: Settled) -> bytes:
    """The lines of one mini-batch in the order of its items; empty when all of them have results."""
    minibatch = settled.task.minibatch
    parts = [(one.part.start, _of_scored(minibatch, one)) for one in settled.scored]
    parts += [(one.part.start, _of_bad(minibatch, one, bad_items(settled, one))) for one in settled.bad]
    where = places(minibatch)
    lines = (_placed(line, where) for _, part in sorted(parts, key=lambda part: part[0]) for line in part)
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    return text.encode("utf-8", "backslashreplace")  # a path in a message need not be UTF-8


def first_failed(path: Path) -> str:
    """The first failed item of a run with its reason, e.g. `t.csv, row 1: ValueError: no`; empty if there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            line = json.loads(file.readline())
        source, row = line["source"], line["row"]
        reason = f"{line['error']}: {line['message']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    where = ", ".join([*([source] if source else []), *([] if row is None else [f"row {row:,}"])])
    return f"{where}: {reason}" if where else reason


def bad_items(settled: Settled, bad: Bad) -> list[FailedItem]:
    """The items of a part that failed for good; one that could not even be read has its own reason."""
    minibatch, fault = settled.task.minibatch, bad.failure.fault
    if minibatch.files:
        return [FailedItem(minibatch.files[position], None, fault) for position in bad.part.positions]
    rows = range(minibatch.first_row + bad.part.start, minibatch.first_row + bad.part.stop)
    if settled.described is None or bad.failure.reading:
        return [FailedItem(minibatch.source, row, fault) for row in rows]
    known = {item.row: item for item in settled.described}
    return [_with_fault(known[row], fault) for row in rows if row in known]  # another line was dropped, it is no item


def _with_fault(item: FailedItem, fault: Fault) -> FailedItem:
    return item if item.fault.error else replace(item, fault=fault)


def _of_scored(minibatch: MiniBatch, scored: Scored) -> Iterator[dict[str, Any]]:
    """Items that could not be read, and those that `run()` returned nothing for."""
    outcome: Outcome = scored.result[0]
    tries = scored.part.tries + 1
    for item in outcome.failed_items:
        yield _line(minibatch, item, tries, "")
    nameless = nameless_of(outcome)
    if nameless is not None:
        unknown, fault = nameless
        line = _line(minibatch, FailedItem(minibatch.source, None, fault), tries, "")
        yield {**line, "source": minibatch.source or None, "items": unknown}


def nameless_of(outcome: Outcome) -> tuple[int, Fault] | None:
    """How many items of a try that succeeded failed without a name, and why; None if there are none."""
    unknown = outcome.total - outcome.succeeded - len(outcome.failed_items)
    if unknown <= 0:
        return None
    message = f"run() returned {outcome.returned} elements for {outcome.total} items; which are missing is unknown"
    return unknown, Fault("NotReturned", message)


def _of_bad(minibatch: MiniBatch, bad: Bad, items: Iterable[FailedItem]) -> Iterator[dict[str, Any]]:
    """Items that failed for good, with the file that has the traceback."""
    for item in items:
        yield _line(minibatch, item, bad.part.tries, bad.failure.log if item.fault is bad.failure.fault else "")


def _placed(line: dict[str, Any], where: Callable[[int], tuple[str, int]]) -> dict[str, Any]:
    """A line with the item's own file, where those of several are counted through."""
    if line["row"] is not None:
        line["source"], line["row"] = where(line["row"])
    if line["source"] is not None:
        line["source"] = path_text(line["source"])
    return line


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
