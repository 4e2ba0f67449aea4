"""`batch-score pipeline`, from a file to what became of its steps."""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.pipeline import load_pipeline
from batch_score.azureml.pipeline.execution import Execution
from batch_score.azureml.pipeline.record import CANCELED, COMPLETED, FAILED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

INTERRUPTED, TERMINATED = 130, 143


class Terminated(BaseException):
    """The system asked this process to end."""


def run_pipeline(
    file: Path, inputs: Sequence[str], overrides: Sequence[str], *, runs: Path, force: bool, quiet: bool
) -> tuple[dict[str, Any], int]:
    """Runs the pipeline or batch deployment of a file to its end.

    Args:
        file: The YAML file.
        inputs: What a batch deployment scores.
        overrides: `a.b=value` each.
        runs: The folder of all runs.
        force: No result of an earlier run is used.
        quiet: Say nothing meanwhile but notes.

    Returns:
        What became of it, as `--json` prints it, and the exit code.

    Raises:
        UsageError: Found before anything was started.
    """
    loaded = load_pipeline(file, overrides, inputs)
    submission = replace(loaded.submission, runs=runs, force=loaded.submission.force or force)
    execution = Execution(submission, _nothing if quiet else _say)
    for note in loaded.notes:
        _say(f"note: {note}")
    before = signal.signal(signal.SIGTERM, _terminated)
    code = None
    try:
        execution.start()
        execution.join()
    except (KeyboardInterrupt, Terminated) as stop:
        code = INTERRUPTED if isinstance(stop, KeyboardInterrupt) else TERMINATED
        execution.cancel()
    finally:
        signal.signal(signal.SIGTERM, before)
    return _result(execution), {COMPLETED: 0, FAILED: 1, CANCELED: code or 1}[execution.status]


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _nothing(_text: str) -> None:
    """Says nothing."""


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _result(execution: Execution) -> dict[str, Any]:
    steps = [
        {
            "name": step.name,
            "status": step.state,
            "reused": step.reused_from is not None,
            "folder": str((execution.folder / step.folder).resolve()),
            "elapsed_s": step.elapsed_s,
            **({"cause": step.cause, "log": step.log} if step.cause else {}),
        }
        for step in execution.record.steps
    ]
    return {
        "status": execution.status,
        "run_dir": str(execution.folder),
        "outputs": execution.outputs if execution.status == COMPLETED else {},
        "steps": steps,
    }


def summary(result: dict[str, Any]) -> str:
    """What became of a pipeline, in a few lines."""
    lines = [f"{result['status']}: {result['run_dir']}"]
    lines += [f"output {name}: {path}" for name, path in result["outputs"].items()]
    for step in result["steps"]:
        if "cause" in step and step["status"] == FAILED:
            lines.append(f"step {step['name']} failed: {step['cause']}")
            lines += [f"log {step['log']}"] if step["log"] else []
    return "\n".join(lines)
