"""`batch-score plan`: how an input would be cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from batch_score.cli.options import settings
from batch_score.dataset.guess import dataset_of
from batch_score.job.plan import grouped, plan
from batch_score.minibatch import path_text
from batch_score.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.minibatch import MiniBatch, Range

SHOWN = 10
RANGE = ("source", "offset", "length", "first_row", "rows")


def show_plan(given: Mapping[str, Any], stream: TextIO, *, as_json: bool) -> None:
    """Writes the plan: one JSON object per mini-batch, or the first few and the totals."""
    config, reader = settings(given, None)
    dataset = dataset_of(given["inputs"], reader, given.get("input_type"))
    count = rows = length = longest = 0
    sources: set[str] = set()
    for chunk in plan(grouped([dataset], config.partition_keys), config.mini_batch_size):
        for minibatch in chunk:
            if as_json:
                stream.write(json.dumps(as_object(minibatch), ensure_ascii=False) + "\n")
            elif count < SHOWN:
                stream.write(_line(minibatch) + "\n")
            count, rows, length = count + 1, rows + minibatch.rows, length + minibatch.length
            longest = max(longest, minibatch.length)
            sources.update([one.source for one in minibatch.ranges] or [minibatch.source])
    if as_json:
        return
    if count > SHOWN:
        stream.write(f"… and {count - SHOWN:,} more; --json prints them all\n")
    if dataset.kind == "file":
        stream.write(f"mini-batches: {count:,}, files: {rows:,}\n")
    else:
        what = f"rows: {rows:,}, files: {len(sources):,}, bytes: {length:,}"
        stream.write(f"mini-batches: {count:,}, {what}, longest mini-batch: {longest:,} bytes\n")


def as_object(minibatch: MiniBatch) -> dict[str, Any]:
    """A mini-batch as `plan --json` prints it."""
    keys = {"partition": {name: str(value) for name, value in minibatch.partition}} if minibatch.partition else {}
    if minibatch.files:
        place = {"first_row": minibatch.first_row, "files": list(map(path_text, minibatch.files))}
    elif minibatch.ranges:
        place = {"length": minibatch.length, "rows": minibatch.rows, "ranges": list(map(_range, minibatch.ranges))}
    else:
        place = _range(minibatch)
    return {"index": minibatch.index, **keys, **place}


def _range(rows: MiniBatch | Range) -> dict[str, Any]:
    return {**{name: getattr(rows, name) for name in RANGE}, "source": path_text(rows.source)}


def _line(minibatch: MiniBatch) -> str:
    keys = "".join(f"{name}={value}  " for name, value in minibatch.partition)
    begin = f"{minibatch.index:>6}  {keys}"
    if minibatch.files:
        return f"{begin}{counted(minibatch.rows, 'file')} from {minibatch.files[0]}"
    if minibatch.ranges:
        files = f"{counted(len(minibatch.ranges), 'file')} from {minibatch.ranges[0].source}"
        return f"{begin}{files}  {counted(minibatch.rows, 'row')}, {minibatch.length:,} bytes"
    last = minibatch.first_row + minibatch.rows - 1
    where = f"rows {minibatch.first_row:,} to {last:,}, {minibatch.length:,} bytes from byte {minibatch.offset:,}"
    return f"{begin}{minibatch.source}  {where}"
