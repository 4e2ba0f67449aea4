"""Whether an earlier run of a step does for the next one: its result is taken, or it is gone on with."""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score import _native
from batch_score.dataset.origin import FILE
from batch_score.errors import InputError, OutputError, UsageError
from batch_score.job.ending import fruitless
from batch_score.job.layout import JOURNAL, RUN_RECORD
from batch_score.job.plan import plan
from batch_score.job.prepare import Prepared, prepare
from batch_score.job.record.fingerprint import enumerated
from batch_score.job.record.reading import Recorded
from batch_score.job.record.versions import versions
from batch_score.job.reopen import recorded_result
from batch_score.job.request import Resumption
from batch_score.job.run import run_job
from batch_score.job.session import changes_since, remove_left
from batch_score.job.totals import Totals, exceeded
from batch_score.summary import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_score.config import ParallelRunConfig
    from batch_score.job.request import JobRequest, RunResult
    from batch_score.progress import Progress

logger = logging.getLogger(__name__)


def run_or_reuse(request: JobRequest, progress: Progress | None = None) -> RunResult:
    """Runs a job, unless an earlier run of the same input, scorer and settings has its result or a part of it.

    Args:
        request: What is asked; of a numbered run directory all numbers are looked at, the newest first.
        progress: Where to show progress; None as in `run_job`.

    Raises:
        UsageError: Found before any worker was started; or `request.run_dir` was chosen and holds another run.
    """
    now: Prepared | None = None
    for record in _earlier_runs(request):
        again = replace(request, run_dir=record.run_dir, numbered=False, resumes=Resumption(record))
        try:
            # Once for all: what is compared is the same for each of them. Of what is not, whether the run directory
            # lies in the input, matters only to one that is gone on with, and that is looked at again then.
            now = now or prepare(again)
            reason = _why_not(record, now, again)
            if reason is None:
                return _reused(record, progress) if record.completed else run_job(again, progress)
        except OutputError as error:  # another process is at it, or its files are not what they were
            reason = str(error)
        if not request.numbered:
            raise UsageError(f"the run in {record.run_dir} cannot be used again: {reason}; give another run_dir")
        logger.info("the run in %s is not used again: %s", record.run_dir, reason)
    return run_job(request, progress)


def _earlier_runs(request: JobRequest) -> list[Recorded]:
    """The runs that may do, the newest first."""
    wanted = request.run_dir.absolute()
    if not request.numbered:
        return [Recorded.read(wanted)] if (wanted / RUN_RECORD).exists() else []
    found: list[tuple[int, Recorded]] = []
    for folder in wanted.parent.glob(f"{wanted.name}*"):
        match = re.fullmatch(rf"{re.escape(wanted.name)}(?:-(\d+))?", folder.name)
        with suppress(OutputError):  # one that cannot be read is none
            if match is not None:
                found.append((int(match[1] or 1), Recorded.read(folder)))
    return [record for _, record in sorted(found, key=lambda pair: -pair[0])]


def _reused(record: Recorded, progress: Progress | None) -> RunResult:
    result = recorded_result(record)
    remove_left(record.run_dir, record.output, record.run_id)  # of a session that was killed at its very end
    text = f"nothing to run: {record.run_dir} has the result of the same input, scorer and settings"
    logger.info("%s", text)
    if progress is not None:
        progress.detail(text)
        progress.close()
    return result


def _why_not(record: Recorded, now: Prepared, request: JobRequest) -> str | None:
    """Why a run does not do, None when it does."""
    changes = [*changes_since(record, now.fingerprint), *_other_differences(record, now, request)]
    if changes:
        return enumerated(changes)
    if not record.completed:
        return _why_not_resumed(record, now.config)
    return _why_not_taken(record, now, request)


def _other_differences(record: Recorded, now: Prepared, request: JobRequest) -> Iterator[str]:
    """What else has changed that results may depend on. `batch-score resume` does not ask: there the user decides."""
    content = record.content
    before, today = content.get("versions", {}), versions()
    for name in sorted(before.keys() | today.keys()):
        if before.get(name) != today.get(name):
            yield f"{name} is {today.get(name, 'not installed')} (was {before.get(name, 'not installed')})"
    settings = content.get("config", {})
    for name in ("environment", "environment_variables"):
        if str(settings.get(name)) != str(getattr(now.given, name)):
            yield f"{name} changed"
    folder = content.get("output_folder")
    was = None if folder is None else Path(content["working_directory"], folder).resolve()
    wanted = None if request.output is None else Path(now.spec.output_dir)
    if was != wanted:
        yield f"the output folder is {_folder(wanted)} (was {_folder(was)})"


def _folder(path: Path | None) -> str:
    return "in the run directory" if path is None else str(path)


def _why_not_resumed(record: Recorded, config: ParallelRunConfig) -> str | None:
    """A run that failed would only fail again when what has failed is over its thresholds, or all there is."""
    content = record.content
    totals = _totals(content)
    if content.get("status") != FAILED or not totals.mini_batches:
        return None
    planned = content.get("mini_batches", {}).get("total")
    over = exceeded(totals, config, planned)
    if over or planned != totals.mini_batches:
        return over
    return fruitless(totals, appends=content.get("output") is not None) or None


def _totals(content: Any) -> Totals:
    """What the last session has left; nothing if it was killed."""
    try:
        return Totals(**content.get("totals", {}))
    except TypeError as error:  # of another version
        raise OutputError(f"the totals of the run are not known ({error})") from error


def _why_not_taken(record: Recorded, now: Prepared, request: JobRequest) -> str | None:
    """Why the result of a completed run does not do, None when it does."""
    totals, config = recorded_result(record).totals, now.config
    if totals.items_failed:
        changed = list(_failing_otherwise(record, config))
        if changed:
            return f"it had failed items, and {enumerated(changed)}"
    over = exceeded(totals, config, totals.mini_batches)
    if over is not None:
        return over
    output = record.output
    if output is not None and (not output.is_file() or output.stat().st_size != record.content.get("output_bytes")):
        return f"its output {output} is gone or was changed"
    return _why_not_these_files(record, now) if request.datasets[0].kind == FILE else None


def _failing_otherwise(record: Recorded, config: ParallelRunConfig) -> Iterator[str]:
    """The settings that decide which items fail, and are other ones now."""
    was = record.config
    if (was.error_threshold >= 0) != (config.error_threshold >= 0):
        yield "error_threshold counts them otherwise"
    for name in ("on_failure", "run_invocation_timeout", "run_max_try", "task_overhead_timeout"):
        before, now = getattr(was, name), getattr(config, name)
        if before != now:
            yield f"{name} is {_shown(now)} (was {_shown(before)})"


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _why_not_these_files(record: Recorded, now: Prepared) -> str | None:
    """Why a completed run has not scored the very files that are there now, None when it has.

    The journal has the paths of each mini-batch in its identity. Contents are not looked into: a file whose inode was
    touched since the run began may have another, also one that was moved here with its old modification time.
    """
    since = datetime.fromisoformat(record.content["started"]).timestamp()
    try:
        records = _native.read_journal(record.run_dir / JOURNAL).records
        known = {one.index: one.identity for one in records if one.kind != "preamble"}
        for chunk in plan(now.datasets, now.config.mini_batch_size):
            for minibatch in chunk:
                if known.pop(minibatch.index, None) != minibatch.identity:
                    return "the files of the input are others now"
                changed = next((name for name in minibatch.files if Path(name).stat().st_ctime >= since), None)
                if changed is not None:
                    return f"input {changed} was changed since"
    except (InputError, OSError) as error:  # the journal, or a file that is listed, is not there any more
        return str(error)
    return "the files of the input are others now" if known else None
