"""What is asked of a job, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch_score.summary import summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batch_score.config import ParallelRunConfig
    from batch_score.dataset.base import Dataset
    from batch_score.job.record.reading import Recorded
    from batch_score.job.totals import Totals
    from batch_score.summary import RunSummary


@dataclass(frozen=True)
class Resumption:
    """An earlier run that a job goes on with.

    Attributes:
        record: What its `run.json` says.
        force: Go on also when what the run depends on has changed.
        flags: Runtime flags among the arguments still count; not when the recorded settings have them already and
            others may have been given since.
    """

    record: Recorded
    force: bool = False
    flags: bool = True


@dataclass(frozen=True)
class JobRequest:
    """A job as the user describes it.

    Attributes:
        config: Settings; `entry_script` names the scorer.
        datasets: Inputs of one kind.
        run_dir: The run directory; must not be there yet, or be empty, unless its run is resumed.
        numbered: `run_dir` was not chosen by the user: if it is taken, `-2`, `-3` … is added.
        output: Folder of the output file, None for `outputs` in the run directory.
        arguments: The entry script's own arguments.
        resumes: The run in `run_dir` to go on with, None for a new one.
    """

    config: ParallelRunConfig
    datasets: tuple[Dataset, ...]
    run_dir: Path
    output: Path | None = None
    arguments: tuple[object, ...] = ()
    numbered: bool = False
    resumes: Resumption | None = None


def free_folder(wanted: Path) -> Path:
    """`wanted`, or `wanted-2`, `wanted-3` … if it is there already."""
    number, folder = 1, wanted
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


@dataclass(frozen=True)
class RunResult:
    """How a job ended.

    Attributes:
        status: `completed`, `failed` or `interrupted`.
        exit_code: What the command line ends with.
        run_dir: The run directory.
        output: The output file, None for `summary_only`.
        elapsed_s: Seconds from start to end.
        totals: Final states of mini-batches and items.
        items: Items of the input as far as it was planned.
        ending: The same with causes, for the closing summary.
        ended_before: Mini-batches that had ended before the run was resumed.
        reused: Nothing was run: this is the result of an earlier run with the same input and settings.
        times: Where the time of each worker went, as in `run.json`.
        notes: What should be known of settings, devices, the model or the input, in order of appearance.
    """

    status: str
    exit_code: int
    run_dir: Path
    output: Path | None
    elapsed_s: float
    totals: Totals
    items: int
    ending: RunSummary
    ended_before: int = 0
    reused: bool = False
    times: Sequence[Mapping[str, Any]] = ()
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The one JSON object of `batch-score run --json`."""
        totals, ending = self.totals, self.ending
        return {
            "status": self.status,
            "run_dir": str(self.run_dir),
            "output": None if self.output is None else str(self.output),
            "elapsed_s": round(self.elapsed_s, 3),
            "mini_batches": {
                "total": ending.snapshot.mini_batches_planned,
                "succeeded": totals.mini_batches_succeeded,
                "failed": totals.mini_batches_failed,
            },
            "items": {"total": self.items, "succeeded": totals.items_succeeded, "failed": totals.items_failed},
            "bytes_read": totals.bytes_read,
            "bytes_written": totals.bytes_written,
            "failed_items": None if ending.failed_items is None else str(ending.failed_items),
            "cause": ending.cause,
            "log": None if ending.log is None else str(ending.log),
        }

    def __str__(self) -> str:
        return summary(self.ending)
