"""What a step starts: a script or a command with a log, or a job, each as a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.pipeline.children import LAST_LINES
from batch_score.azureml.pipeline.place import LINKS, arguments, model_folder, places, quoted, variables
from batch_score.azureml.pipeline.task import INPUT, OUTPUT, CommandWork, Data, Hole, Made, ParallelWork, ScriptWork
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batch_score.azureml.pipeline.children import Child, Children
    from batch_score.azureml.pipeline.task import DatasetPart, Task

# What `-m batch_score.azureml.script` does, but a file of the script's folder named like a module of Python's library
# is not taken for that before the script itself begins.
RUN_SCRIPT = (
    "import sys; sys.flags.safe_path or sys.path.pop(0); from batch_score.azureml.script import main; "
    'sys.path.insert(0, ""); main(sys.argv[1:])'
)
RUN_JOB = "batch_score.azureml.pipeline.job_process"
DRIVER_LOG = "logs/70_driver_log.txt"
# `python script.py` in a command is this interpreter, and the script finds the names of azureml.core.
PYTHON = """\
#!/bin/sh
if [ "$1" = -u ]; then shift; export PYTHONUNBUFFERED=1; fi
case "$1" in
  *.py) exec {python} -c '{start}' "$@" ;;
  *) exec {python} "$@" ;;
esac
"""


@dataclass(frozen=True)
class Site:
    """Where a step runs.

    Attributes:
        folder: Of the step, absolute.
        run: Of the run of the pipeline.
        run_id: Of the step.
        root_id: Of the run of the pipeline.
        experiment: Name of the pipeline's folder.
        made: Where the outputs of other steps are.
        report: Gets the lines that a job writes about its progress.
        unfinished: Folders of earlier, unfinished runs of the same step, which a job goes on with.
        carrier: Variables by which what the step tells is known to be part of the pipeline.
    """

    folder: Path
    run: Path
    run_id: str
    root_id: str
    experiment: str
    made: Mapping[Made, Path]
    report: Callable[[str], None]
    unfinished: tuple[Path, ...] = ()
    carrier: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """How the work of a step ended.

    Attributes:
        cause: Why it failed, empty when it completed.
        log: Where to read on.
        said: What it came to, in a few words.
        folder: Where the result is, if not in the step's own folder.
    """

    cause: str = ""
    log: str | None = None
    said: str = ""
    folder: Path | None = None


def carry_out(task: Task, site: Site, children: Children) -> Done:
    """Does the work of a step and waits for its end.

    Raises:
        UsageError: Something it needs is not there.
        OSError: A file cannot be written, or a process not started.
    """
    work = task.work
    if isinstance(work, ParallelWork):
        return _job(task, work, site, children)
    if isinstance(work, ScriptWork):
        found = places(task, site.folder, site.made, site.run)
        argv = [sys.executable, "-c", RUN_SCRIPT, work.script, *arguments(work.arguments, found)]
        return _process(task, site, children, argv, work.source_directory or ".")
    return _command(task, work, site, children)


def _command(task: Task, work: CommandWork, site: Site, children: Children) -> Done:
    text = quoted(work.command, places(task, site.folder, site.made, site.run))
    with tempfile.TemporaryDirectory(prefix="batch-score-") as scratch:
        commands = Path(scratch, "bin")
        commands.mkdir()
        for name in ("python", "python3"):
            path = commands / name
            path.write_text(PYTHON.format(python=sys.executable, start=RUN_SCRIPT), encoding="utf-8")
            path.chmod(0o755)
        search = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        shell = shutil.which("bash") or "/bin/sh"
        empty = Path(scratch, "code")
        empty.mkdir()
        site_task = replace(task, environment={"PATH": search, **task.environment})
        return _process(site_task, site, children, [shell, "-c", text], work.source_directory or str(empty))


def _process(task: Task, site: Site, children: Children, argv: Sequence[str], folder: str) -> Done:
    """Runs a process with its log; the log begins with the command."""
    log = site.folder / DRIVER_LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    limit = task.work.timeout if isinstance(task.work, CommandWork) else None
    with log.open("wb") as file:
        child = children.start(argv, folder=folder, environment=_environment(task, site), output=file)
        code = child.wait(limit)
    children.ended(child)
    if code == 0:
        return Done(log=str(log))
    return Done(cause=_cause(child, code, limit, log), log=str(log))


def _cause(child: Child, code: int, limit: float | None, log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    last = "".join(f"\n  | {line}" for line in lines[-LAST_LINES:])
    if child.timed_out:
        return f"it took longer than its limit of {limit:g} s; raise limits.timeout{last}"
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"its process {how}{last}"


def _environment(task: Task, site: Site) -> dict[str, str]:
    found = places(task, site.folder, site.made, site.run)
    return {
        **os.environ,
        "PYTHONUNBUFFERED": "1",
        **_identity(site),
        "BATCH_SCORE_RUN_DIR": str(site.folder),
        "BATCH_SCORE_DATASETS": str(_datasets(task, site, found)),
        **variables(found),
        **_model(task, site),
        **task.environment,
    }


def _datasets(task: Task, site: Site, found: Mapping[Hole, str]) -> Path:
    """A file that tells the script's inputs by name: datasets, or paths."""
    parts = task.work.datasets if isinstance(task.work, ScriptWork) else ()
    content: dict[str, Any] = {hole.name: path for hole, path in found.items() if hole.port == INPUT}
    content |= {part.input: _dataset(part, task, site) for part in parts}
    path = site.run / LINKS / f"{task.folder}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return path


def _identity(site: Site) -> dict[str, str]:
    return {
        "AZUREML_RUN_ID": site.run_id,
        "AZUREML_ROOT_RUN_ID": site.root_id,
        "AZUREML_EXPERIMENT_NAME": site.experiment,
        "BATCH_SCORE_PARENT_RUN_DIR": str(site.run),
        **site.carrier,
    }


def _model(task: Task, site: Site) -> dict[str, str]:
    return {} if task.model is None else {"AZUREML_MODEL_DIR": model_folder(task.model, site.run.parent)}


def _job(task: Task, work: ParallelWork, site: Site, children: Children) -> Done:
    """Runs a job in a process of its own, because a job takes signals, logging and the working directory for itself."""
    variables_of_step = {**(work.config.environment_variables or {}), **task.environment, **_model(task, site)}
    config = replace(work.config, environment_variables=variables_of_step)
    asked = {
        "config": {name: value if _is_plain(value) else str(value) for name, value in plain(config).items()},
        "datasets": [_dataset(part, task, site) for part in work.datasets],
        "attempts": [_attempt(task, work, site, folder) for folder in (*site.unfinished, site.folder)],
    }
    given = {**os.environ, **_identity(site)}
    job = children.start_job([sys.executable, "-P", "-m", RUN_JOB], given, site.report)
    answer, errors = job.answer(asked)
    children.ended(job)
    if answer is None:
        return Done(cause=f"its process ended without a result{errors}")
    return Done(
        cause=answer["cause"],
        log=answer["log"],
        said=answer["said"],
        folder=Path(answer["run_dir"]) if answer["run_dir"] else None,
    )


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, list, dict))


def _attempt(task: Task, work: ParallelWork, site: Site, folder: Path) -> dict[str, Any]:
    found = places(task, folder, site.made, site.run)
    output = None
    if work.output is not None:
        path = Path(found[Hole(OUTPUT, work.output)])
        output = str(path.parent if task.outputs[work.output].file_name else path)
    run_id = "-".join(folder.parts[-3:])  # pipeline, run and step: the same when the run is gone on with
    return {"run_dir": str(folder), "output": output, "arguments": arguments(work.arguments, found), "run_id": run_id}


def _dataset(part: DatasetPart, task: Task, site: Site) -> dict[str, Any]:
    source = task.inputs[part.input]
    if isinstance(source, Data):
        paths = list(source.paths)
    else:
        paths = [places(task, site.folder, site.made, site.run)[Hole(INPUT, part.input)]]
    return {
        "kind": part.kind,
        "inputs": paths,
        "options": dict(part.options),
        "keep": list(part.keep),
        "drop": list(part.drop),
    }
