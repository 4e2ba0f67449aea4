"""The files beside an entry script or model that a run depends on, by name and content."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from batch_score.job.layout import JOURNAL, PIPELINE_RECORD, RUN_RECORD
from batch_score.onnx.external import external_files
from batch_score.output.settings import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

# Beyond these a file counts by size and time: a run must not wait for gigabytes that somebody put beside its script.
LARGEST = 64 << 20
IN_ALL = 1 << 30
DIGITS = 32  # of a hash as it is written down: 128 bits

State: TypeAlias = tuple[int, int] | tuple[str]
"""(size, mtime in ns) or (hash,)."""


def source_states(scorer: Path, source_directory: str | None, apart: Collection[Path] = ()) -> dict[str, State]:
    """What tells the content of the files that belong to a scorer; the scorer's own file is not looked for.

    These are `parallel_run_step.settings.json` beside an entry script, the files in which a model keeps its weights,
    and all regular files below `source_directory`, but for hidden files and folders, `__pycache__`, run directories and
    runs of pipelines.

    Args:
        scorer: The file of the entry script or model; one that is not there has nothing beside it.
        source_directory: The code root, None when there is only the scorer.
        apart: Absolute files and folders below `source_directory` that do not count: input and output.

    Returns:
        States by path relative to `source_directory`, or to the scorer's folder without one, in the order of the paths.

    Raises:
        OSError: The model cannot be read.
    """
    root = scorer.parent if source_directory is None else Path(source_directory).resolve()
    files = [] if source_directory is None else list(_below(root, {str(path) for path in apart}))
    if scorer.suffix == ".py":
        files.append(scorer.with_name(FILE_NAME))
    elif scorer.suffix.lower() == ".onnx" and scorer.is_file():
        files += [scorer.parent / name for name in external_files(scorer)]
    return _states({Path(os.path.relpath(file, root)).as_posix(): file for file in files})


def model_states(model_dir: str, apart: Collection[Path] = ()) -> dict[str, State]:
    """What tells the content of the file, or of the files below the folder, that a job's `model_dir` names.

    Args:
        model_dir: As it is given; a version of a registered model has none, for what it has never changes.
        apart: Absolute files and folders that do not count.

    Returns:
        States by path, which begins with `model_dir`.
    """
    path = Path(model_dir)
    if not path.exists():
        return {}
    files = [path] if path.is_file() else list(_below(path.resolve(), {str(one) for one in apart}))
    root = path if path.is_file() else path.resolve()
    return _states({(path / file.relative_to(root)).as_posix(): file for file in files})


def _states(named: Mapping[str, Path]) -> dict[str, State]:
    states, left = {}, IN_ALL
    for name, file in sorted(named.items()):
        state, read = _state(file, min(LARGEST, left))
        left -= read
        if state is not None:
            states[name] = state
    return states


def content_hash(path: Path) -> str:
    """The hash of a file; empty for one that is not there, such as a module that Python finds by itself.

    Raises:
        OSError: It cannot be read.
    """
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:DIGITS]


def _state(path: Path, largest: int) -> tuple[State | None, int]:
    """What tells the content of a file, None for what is no regular file, and how many bytes were read for it."""
    try:
        found = path.stat()
    except OSError:  # a link to nowhere, or it has gone meanwhile
        return None, 0
    if not stat.S_ISREG(found.st_mode):
        return None, 0
    if found.st_size <= largest:
        try:
            return (content_hash(path),), found.st_size
        except OSError:  # what the script cannot read either
            pass
    return (found.st_size, found.st_mtime_ns), 0


def _is_run(files: Collection[str]) -> bool:
    return PIPELINE_RECORD in files or {RUN_RECORD, JOURNAL} <= set(files)


def _below(root: Path, apart: Collection[str]) -> Iterator[Path]:
    """The files below a folder that count; links to folders are followed, each folder is entered once."""
    entered = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        place = Path(folder)
        state = place.stat()
        if (state.st_dev, state.st_ino) in entered or (place != root and _is_run(files)):
            folders.clear()
            continue
        entered.add((state.st_dev, state.st_ino))
        shown = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        folders[:] = sorted(name for name in shown if str(place / name) not in apart)
        for name in files:
            if not name.startswith(".") and str(place / name) not in apart:
                yield place / name
