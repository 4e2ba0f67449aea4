"""`batch-score run`, from parsed options to a result."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.cli.options import settings
from batch_score.importing import importing
from batch_score.job.early import early

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.config import ParallelRunConfig, ReaderOptions
    from batch_score.job.request import JobRequest, RunResult


def score(given: Mapping[str, Any], script: Sequence[str]) -> RunResult:
    """Runs the job that the options describe.

    Args:
        given: Options by parameter name, None for what was not given.
        script: The entry script's own arguments.

    Raises:
        UsageError: Found before anything was started.
    """
    config, reader = settings_of(given)
    with early(config) as begun:
        with importing():
            from batch_score.job.run import run_job  # noqa: PLC0415 - while the workers' interpreters start
            from batch_score.progress import Progress  # noqa: PLC0415 - as above

        request = requested(given, script, config, reader)
        return run_job(request, None if given.get("quiet") else Progress(sys.stderr), begun)


def settings_of(given: Mapping[str, Any]) -> tuple[ParallelRunConfig, ReaderOptions]:
    """The settings that the options describe."""
    return settings({**given, "entry_script": given["scorer"]}, given.get("config"))


def requested(
    given: Mapping[str, Any], script: Sequence[str], config: ParallelRunConfig, reader: ReaderOptions
) -> JobRequest:
    """The job that the options describe; the input has been opened and its types settled."""
    from batch_score.dataset.guess import dataset_of  # noqa: PLC0415 - as above
    from batch_score.job.request import JobRequest  # noqa: PLC0415 - as above

    dataset = dataset_of(given["inputs"], reader, given.get("input_type"))
    stamp = time.strftime("%Y%m%d-%H%M%S")
    chosen = given.get("run_dir")
    return JobRequest(
        config=config,
        datasets=(dataset,),
        run_dir=chosen or Path("runs", f"{stamp}-{Path(given['scorer']).stem}"),
        output=given.get("output"),
        arguments=tuple(script),
        numbered=chosen is None,
    )
