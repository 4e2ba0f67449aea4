"""`batch-score resume`, from a run directory to a result."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from batch_score.cli.options import told
from batch_score.errors import ConfigError, InputError
from batch_score.job.record.reading import Recorded
from batch_score.job.reopen import recorded_result, reopened
from batch_score.job.run import run_job
from batch_score.job.session import remove_left
from batch_score.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batch_score.job.request import RunResult


def resume_run(
    run_dir: Path, given: Mapping[str, Any], script: Sequence[str], *, force: bool, quiet: bool
) -> RunResult:
    """Goes on with the run in a run directory, in the folder where it was started.

    Args:
        run_dir: The run directory.
        given: Settings by parameter name, None for what is as recorded.
        script: What followed `--`, which only a new run takes.
        force: Go on also when what the run depends on has changed.
        quiet: Show no progress.

    Returns:
        How the run ended; for one that was complete already its recorded result.

    Raises:
        UsageError: Found before anything was started.
    """
    if script:
        raise ConfigError("a resumed run keeps the arguments of its entry script; leave out -- and what follows")
    record = Recorded.read(run_dir)
    if record.completed:
        remove_left(record.run_dir, record.output, record.run_id)  # of a session that was killed at its very end
        return recorded_result(record)
    folder = str(record.content["working_directory"])
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"the run was started in {folder}, which cannot be entered ({error.strerror}); its inputs are looked for "
            "from there, so put it back or start a new run"
        ) from error
    request = reopened(record, told(given), force=force)
    return run_job(request, None if quiet else Progress(sys.stderr))
