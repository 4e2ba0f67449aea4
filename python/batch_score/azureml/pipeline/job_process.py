"""A job as a process: asked on stdin, answered on stdout. `python -m batch_score.azureml.pipeline.job_process`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.importing import importing

with importing():
    from batch_score.azureml.jobs.inputs import MLTABLE
    from batch_score.azureml.jobs.mltable import read_mltable
    from batch_score.config import ParallelRunConfig, ReaderOptions
    from batch_score.dataset.files import FileDataset
    from batch_score.dataset.origin import FILE, Origin
    from batch_score.dataset.tabular import TabularDataset
    from batch_score.errors import BatchScoreError, ConfigError, UsageError
    from batch_score.job.request import JobRequest
    from batch_score.job.reuse import run_or_reuse
    from batch_score.job.run import run_job
    from batch_score.progress import Progress, line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

    from batch_score.job.request import RunResult


def main() -> int:
    """Reads what is asked, runs the job, writes what became of it as one JSON object; gives the exit code."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # a script in this process may print
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, args=(sys.stdin,), daemon=True).start()
    try:
        result = ran(asked)
    except (BatchScoreError, OSError) as error:
        answer = {"cause": str(error), "log": None, "said": "", "run_dir": None}
        code = 2
    else:
        log = result.ending.log
        answer = {
            "cause": "" if result.exit_code == 0 else result.ending.cause or result.status,
            "log": None if log is None else str(log),
            "said": line(result.ending.snapshot),
            "run_dir": str(result.run_dir),
        }
        code = result.exit_code
    answers.write(json.dumps(answer) + "\n")
    answers.flush()
    return code


def _watch(stream: TextIO) -> None:
    """Stops the job where it can be gone on with when whoever asked for it has gone."""
    stream.read()
    os.kill(os.getpid(), signal.SIGTERM)


def ran(asked: Mapping[str, Any]) -> RunResult:
    """Runs the job, or goes on with an earlier attempt at it.

    Raises:
        UsageError: Found before any worker was started.
    """
    config = ParallelRunConfig(**asked["config"])
    progress = Progress(sys.stderr)
    datasets = tuple(dataset(one, progress) for one in asked["datasets"])
    *unfinished, new = (_request(config, datasets, attempt) for attempt in asked["attempts"])
    for request in unfinished:
        try:
            return run_or_reuse(request, progress)
        except UsageError as error:
            progress.note(f"not gone on with: {error}")
    return run_job(new, progress)


def _request(config: ParallelRunConfig, datasets: tuple[Any, ...], attempt: Mapping[str, Any]) -> JobRequest:
    variables = {"AZUREML_RUN_ID": attempt["run_id"], **(config.environment_variables or {})}
    return JobRequest(
        config=replace(config, environment_variables=variables),
        datasets=datasets,
        run_dir=Path(attempt["run_dir"]),
        output=None if attempt["output"] is None else Path(attempt["output"]),
        arguments=tuple(attempt["arguments"]),
    )


def dataset(asked: Mapping[str, Any], progress: Progress) -> FileDataset | TabularDataset:
    """The dataset of kind, inputs and options, reduced to the columns that are wanted.

    Args:
        asked: Of a `DatasetPart`, with the paths.
        progress: Gets a note of what has no effect.

    Raises:
        InputError: A file is missing or unreadable.
        ConfigError: An option is unknown, or a column is not there.
    """
    if asked["kind"] == MLTABLE:  # it is the step before that has written it
        said = read_mltable(asked["inputs"][0])
        if said.without_effect:
            unused = ", ".join(said.without_effect)
            progress.note(f"{asked['inputs'][0]}: read, but without effect on this machine: {unused}")
        return dataset({**asdict(said), "inputs": said.paths}, progress)
    if asked["kind"] == FILE:
        return FileDataset.from_files(asked["inputs"], **asked["options"])
    table = TabularDataset.opened(Origin(asked["kind"], tuple(asked["inputs"]), ReaderOptions(**asked["options"])))
    names = table.schema.names
    for name in (*asked["keep"], *asked["drop"]):
        if name not in names:
            raise ConfigError(f"column {name!r} is not in the input, whose columns are {', '.join(names)}")
    wanted = [name for name in names if name in (asked["keep"] or names) and name not in asked["drop"]]
    if wanted == names:
        return table
    # Who resumes the job by hand would open all columns, so there is no way to do that.
    return replace(table.keep(wanted), origin=None)


if __name__ == "__main__":
    sys.exit(main())
