"""How a run ended, and the closing summary of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.progress import speed
from batch_score.wording import aligned, duration

if TYPE_CHECKING:
    from batch_score.progress import Snapshot

COMPLETED, FAILED, INTERRUPTED = "completed", "failed", "interrupted"

_ERRORS_SHOWN = 5
_LONGEST_LINE = 200
_TOLD_BELOW = 60  # as much of an error as tells which one it is


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
    return aligned(
        [
            ("status", f"{ending.status} after {duration(snapshot.elapsed_s)}"),
            *_output_rows(ending),
            ("run directory", _absolute(ending.run_dir)),
            (snapshot.unit, items),
            ("mini-batches", batches),
            ("rate", speed(snapshot)),
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


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _cut(text: str, longest: int = _LONGEST_LINE) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else f"{flat[: longest - 4]} ..."
