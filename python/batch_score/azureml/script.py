"""`python -m batch_score.azureml.script SCRIPT ARGUMENTS...`: a script as a step of a pipeline has it around it.

The names that scripts import are there, its own folder is on `sys.path`, and it is `__main__`. Where the process
belongs to a run is in its environment: `BATCH_SCORE_RUN_DIR`, `AZUREML_RUN_ID`.
"""

from __future__ import annotations

import logging
import os
import runpy
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.job.script_names import SCRIPT_NAMES
from batch_score.telemetry.process import telemetry
from batch_score.worker.azureml_user import Agent, provided
from batch_score.worker.names import importable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_score.telemetry.base import Telemetry

USAGE = "usage: python -m batch_score.azureml.script SCRIPT [ARGUMENTS...]"


def main(arguments: list[str]) -> None:
    """Runs the script; what it raises, `sys.exit()` too, ends this process as if it had been run by itself."""
    if not arguments:
        sys.exit(USAGE)
    script = Path(arguments[0]).resolve()
    if not script.is_file():
        sys.exit(f"{script}: no such file; {USAGE}")
    sys.argv[:] = [str(script), *arguments[1:]]
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, because of -m
    sys.path.insert(0, str(script.parent))
    told = [logging.getLogger()]
    with (
        provided(_agent()),
        importable(SCRIPT_NAMES),
        telemetry(os.environ, process="script", loggers=told) as sender,
        _step(sender, script),
    ):
        runpy.run_path(str(script), run_name="__main__")


@contextmanager
def _step(sender: Telemetry, script: Path) -> Iterator[None]:
    """Tells of the script as of a step."""
    run = os.environ.get("AZUREML_RUN_ID")
    sender.begin(run or script.stem, {"run": run, "scorer": str(script)})
    cause = ""
    try:
        yield
    except SystemExit as end:
        cause = f"exit code {end.code}" if end.code else ""
        raise
    except BaseException as error:
        cause = f"{type(error).__name__}: {error}"
        raise
    finally:
        sender.end("failed" if cause else "completed", cause, {})


def _agent() -> Agent:
    """What an entry script that is run by itself gets for `EntryScript()`."""
    folder = os.environ.get("BATCH_SCORE_RUN_DIR", ".")
    return Agent(
        logger=logging.getLogger("entry_script"),
        log_dir=str(Path(folder, "logs") if Path(folder, "logs").is_dir() else Path(folder).absolute()),
        agent_name="process000",
        output_dir=os.environ.get("AZUREML_BI_OUTPUT_PATH") or str(Path.cwd()),
        working_dir=str(Path.cwd()),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
