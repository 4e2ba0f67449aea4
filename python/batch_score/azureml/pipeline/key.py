"""What a step's result depends on, in named parts: when all of them are as they were, an earlier result does.

Files count by path and content up to a bound, beyond it by path, size and time of modification; what another step made
counts by the run of that step. So an unchanged pipeline is recognised without opening a single table.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score import _native
from batch_score.azureml.pipeline.task import CommandWork, Data, Made, ParallelWork, ScriptWork, symbolic
from batch_score.config import ReaderOptions, mini_batch_files
from batch_score.dataset.origin import FILE
from batch_score.errors import ConfigError, InputError, ScorerError
from batch_score.job.record.sources import content_hash, source_states
from batch_score.job.record.versions import versions
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.azureml.pipeline.task import Source, Task
    from batch_score.config import ParallelRunConfig

# Data up to this size in all is read to tell whether it is the same.
LARGEST = 64 << 20
DIGITS = 32
# What decides how fast a job is and what is written about it, but no row of its output.
WITHOUT_EFFECT = frozenset(
    {
        *("process_count_per_node", "processes_per_gpu", "gpus", "gpu_names", "node_count", "compute_target"),
        *(
            "reader_threads",
            "profiling_module",
            "logging_level",
            "resource_monitor_interval",
            "gpu_monitor_interval",
            "description",
        ),
        *("task_overhead_timeout", "progress_update_timeout", "first_task_creation_timeout"),
    }
)


def check_here(task: Task) -> None:
    """Looks whether the files that a task names are there, and its settings are those of its datasets.

    Raises:
        InputError: Data or the model is not.
        ConfigError: The code root is not; or a setting cannot be that of a dataset of its kind.
        ScorerError: The script is not.
    """
    if isinstance(task.work, ParallelWork):
        _check_settings(task.name, task.work)
    paths = [path for source in task.inputs.values() if isinstance(source, Data) for path in source.paths]
    for path in [*paths, *([] if task.model is None else [task.model])]:
        if not Path(path).exists():
            files_below(path)
    name, root = _code(task.work)
    script = _script(name, root)
    if name.endswith((".py", ".onnx")) and not script.is_file():
        raise ScorerError(f"step {task.name!r}: script {script}: no such file; give its path in its code folder")


def _check_settings(name: str, work: ParallelWork) -> None:
    if not work.config.entry_script:
        raise ConfigError(f"step {name!r} has no entry_script; name the script")
    try:
        for part in work.datasets:
            ReaderOptions(**part.options)
            if part.kind == FILE:
                mini_batch_files(work.config.mini_batch_size)
    except ConfigError as error:
        raise ConfigError(f"step {name!r}: {error}") from error


def parts_of(task: Task, made: Mapping[str, str]) -> dict[str, str]:
    """What the result of a task depends on.

    Args:
        task: The step.
        made: The id of each step that it needs: other runs of these have other ids.

    Returns:
        A hash by name: `settings`, `source`, `versions`, and `input NAME` for each input.

    Raises:
        UsageError: A file of the step is not there.
    """
    found = {f"input {name}": _digest(_state(source, made)) for name, source in sorted(task.inputs.items())}
    return {
        "settings": _digest(_settings(task)),
        "source": _digest(_source(task)),
        "versions": _digest(versions()),
        **found,
    }


def key_of(parts: Mapping[str, str]) -> str:
    """One hash of all parts."""
    return _digest(dict(parts))


def changes(was: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """The names of the parts that are not as they were."""
    return [name for name in dict.fromkeys([*was, *now]) if was.get(name) != now.get(name)]


def listing_digest(paths: Sequence[str]) -> str:
    """A hash over the files below some paths: by content if all are small, else by size and time of modification.

    Args:
        paths: Files, folders and globs; hidden files do not count.

    Raises:
        InputError: A path is not there.
        OSError: A file cannot be read.
    """
    found = [(name, Path(name).stat()) for path in paths for name in files_below(path)]
    by_content = sum(state.st_size for _, state in found) <= LARGEST
    return _digest(
        [
            (name, content_hash(Path(name))) if by_content else (name, state.st_size, state.st_mtime_ns)
            for name, state in found
            if stat.S_ISREG(state.st_mode)
        ]
    )


def files_below(path: str) -> list[str]:
    """The files below a folder in a stable order, hidden ones left out; a file itself; what a glob matches."""
    if not Path(path).is_dir():
        return _listed(path)
    found = []
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [f"{folder}/{name}" for name in sorted(files) if not name.startswith(".")]
    return found


def _listed(path: str) -> list[str]:
    """A file, or those of a glob; an error says which path is missing."""
    if "://" in path:
        raise InputError(f"{path}: this version reads files of this machine only; download it and give the local path")
    listing = _native.FileList((path,))
    found: list[str] = []
    while more := listing.next_batch(4096):
        found += more
    return found


def _state(source: Source, made: Mapping[str, str]) -> Any:
    if isinstance(source, Data):
        return ["data", source.paths, listing_digest(source.paths)]
    if isinstance(source, Made):
        return ["made", made[source.step], source.output]
    return ["value", source.text]


def _settings(task: Task) -> Any:
    work = task.work
    return {
        "kind": type(work).__name__,
        "outputs": {name: [port.kind, port.file_name, port.copied_to] for name, port in task.outputs.items()},
        "environment": dict(task.environment),
        "work": _of_work(work),
    }


def _of_work(work: ScriptWork | CommandWork | ParallelWork) -> Any:
    if isinstance(work, CommandWork):
        return symbolic(work.command)
    arguments = [symbolic(text) for text in work.arguments]
    datasets = [[part.input, part.kind, dict(part.options), part.keep, part.drop] for part in work.datasets]
    if isinstance(work, ScriptWork):
        return [work.script, arguments, datasets]
    return [job_settings(work.config), datasets, arguments, work.output]


def job_settings(config: ParallelRunConfig) -> dict[str, Any]:
    """The settings of a job that its output depends on."""
    return {name: value for name, value in plain(config).items() if name not in WITHOUT_EFFECT}


def _source(task: Task) -> Any:
    """The states of the files that belong to the script, and of the model."""
    model = None if task.model is None else _model(task.model)
    name, root = _code(task.work)
    script = _script(name, root)
    if not name and root is None:
        return [model]
    return [model, str(content_hash(script)), source_states(script, root, _apart(task))]


def _model(path: str) -> list[Any]:
    """The state of a model: a folder that holds one file has the listing of the file, but the script finds it apart."""
    return ["folder" if Path(path).is_dir() else "file", Path(path).name, listing_digest([path])]


def _code(work: ScriptWork | CommandWork | ParallelWork) -> tuple[str, str | None]:
    """The script, empty for a command, and the code root."""
    if isinstance(work, CommandWork):
        return "", work.source_directory
    if isinstance(work, ScriptWork):
        return work.script, work.source_directory
    return work.config.entry_script or "", work.config.source_directory


def _script(name: str, root: str | None) -> Path:
    """The file of a script or module; one that is not found is told when the step begins."""
    if root is not None and not Path(root).is_dir():
        raise ConfigError(f"source_directory {root}: no such folder; give the folder that holds the script")
    path = Path(root or ".", name)
    if name and not path.is_file() and not name.endswith((".py", ".onnx")):
        path = Path(root or ".", *name.split(".")).with_suffix(".py")
    return path.absolute()


def _apart(task: Task) -> list[Path]:
    """The data that lies in the code root: it is compared as data."""
    found: list[Path] = []
    for source in task.inputs.values():
        if isinstance(source, Data):
            for path in source.paths:
                paths = [path] if Path(path).exists() else files_below(path)
                found += [Path(one).resolve() for one in paths]
    return found


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=str, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]
