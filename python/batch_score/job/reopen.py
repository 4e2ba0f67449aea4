"""An earlier run, from what its `run.json` says: as a request to go on with it, or as its result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.dataset.files import FileDataset
from batch_score.dataset.origin import FILE, Origin
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import OutputError
from batch_score.job.failed_items import first_failed
from batch_score.job.layout import FAILED_ITEMS
from batch_score.job.request import JobRequest, Resumption, RunResult
from batch_score.job.totals import Totals
from batch_score.progress import Snapshot
from batch_score.summary import COMPLETED, RunSummary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.dataset.base import Dataset
    from batch_score.job.record.reading import Recorded


def reopened(record: Recorded, settings: Mapping[str, Any], *, force: bool = False) -> JobRequest:
    """The request to go on with a run, its datasets opened again; the current folder must be that of the run.

    Args:
        record: What the run says of itself.
        settings: Settings that are other than recorded.
        force: Go on also when what the run depends on has changed.

    Raises:
        UsageError: An input is not there any more, a setting is out of range, or the record lacks something.
    """
    content = record.content
    try:
        origins = [None if one is None else Origin.from_json(one) for one in content["inputs"]]
        arguments, folder = tuple(content["arguments"]), content["output_folder"]
    except (KeyError, TypeError, AttributeError) as error:
        raise OutputError(f"{record.path} is not the record of a run ({error!r}); start a new run") from error
    return JobRequest(
        config=replace(record.config, **settings),
        datasets=tuple(_dataset(record, origin) for origin in origins),
        run_dir=record.run_dir,
        output=None if folder is None else Path(folder),
        arguments=arguments,
        resumes=Resumption(record, force=force, flags=False),
    )


def _dataset(record: Recorded, origin: Origin | None) -> Dataset:
    if origin is None:
        raise OutputError(
            f"the input of the run in {record.run_dir} was put together in Python, which cannot be repeated from here; "
            "run its ParallelRunStep again"
        )
    if origin.kind == FILE:
        return FileDataset.from_files(origin.inputs, partition_format=origin.options.partition_format)
    return TabularDataset.opened(origin)


def recorded_result(record: Recorded) -> RunResult:
    """The result of a completed run.

    Raises:
        OutputError: The record lacks something.
    """
    content = record.content
    try:
        totals = Totals(**content["totals"])
        failed_items = record.run_dir / FAILED_ITEMS if totals.items_failed else None
        ending = RunSummary(
            status=COMPLETED,
            output=record.output,
            run_dir=record.run_dir,
            snapshot=_last_snapshot(record, totals),
            output_form=content["output_form"],
            failed_items=failed_items,
            first_failed=first_failed(failed_items) if failed_items else "",
        )
        elapsed, items = float(content["elapsed_s"]), int(content["items"]["total"])
    except (KeyError, TypeError, IndexError) as error:
        raise OutputError(f"{record.path} is not the record of a completed run ({error!r}); start a new run") from error
    return RunResult(
        status=COMPLETED,
        exit_code=0,
        run_dir=record.run_dir,
        output=record.output,
        elapsed_s=elapsed,
        totals=totals,
        items=items,
        ending=ending,
        reused=True,
    )


def _last_snapshot(record: Recorded, totals: Totals) -> Snapshot:
    """How far a completed run was at its end; raises KeyError, TypeError or IndexError where its record lacks it."""
    content = record.content
    return Snapshot(
        mini_batches_planned=content["mini_batches"]["total"],
        mini_batches_succeeded=totals.mini_batches_succeeded,
        mini_batches_failed=totals.mini_batches_failed,
        mini_batches_partly=totals.mini_batches_partly,
        plan_complete=True,
        items_succeeded=totals.items_succeeded,
        items_failed=totals.items_failed,
        items_total=content["items"]["total"],
        bytes_done=totals.bytes_read,
        elapsed_s=content["elapsed_s"],
        items_before=content["items_before"],
        bytes_before=content["bytes_before"],
        unit="files" if record.fingerprint.inputs[0].kind == FILE else "rows",
    )
