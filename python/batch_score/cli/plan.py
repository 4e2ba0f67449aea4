"""`batch-score plan`: how an input would be cut."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TextIO

from batch_score.cli.options import settings
from batch_score.dataset.guess import dataset_of
from batch_score.job.plan import plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.minibatch import MiniBatch

SHOWN = 10


def show_plan(given: Mapping[str, Any], stream: TextIO, *, as_json: bool) -> None:
    """Writes the plan: one JSON object per mini-batch, or the first few and the totals."""
    config, reader = settings(given, None)
    dataset = dataset_of(given["inputs"], reader, given.get("input_type"))
    count = rows = length = longest = 0
    sources: set[str] = set()
    for chunk in plan([dataset], config.mini_batch_size):
        for minibatch in chunk:
            if as_json:
                stream.write(json.dumps(as_object(minibatch), ensure_ascii=False) + "\n")
            elif count < SHOWN:
                stream.write(_line(minibatch) + "\n")
            count, rows, length = count + 1, rows + minibatch.rows, length + minibatch.length
            longest = max(longest, minibatch.length)
            sources.add(minibatch.source)
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
    if minibatch.files:
        return {"index": minibatch.index, "first_row": minibatch.first_row, "files": list(minibatch.files)}
    names = ("index", "source", "offset", "length", "first_row", "rows")
    return {name: getattr(minibatch, name) for name in names}


def _line(minibatch: MiniBatch) -> str:
    if minibatch.files:
        return f"{minibatch.index:>6}  {minibatch.rows:,} files from {minibatch.files[0]}"
    last = minibatch.first_row + minibatch.rows - 1
    where = f"rows {minibatch.first_row:,} to {last:,}, {minibatch.length:,} bytes from byte {minibatch.offset:,}"
    return f"{minibatch.index:>6}  {minibatch.source}  {where}"
