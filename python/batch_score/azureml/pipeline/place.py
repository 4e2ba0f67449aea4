"""Where the inputs and outputs of a step are on the disk."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.azureml.pipeline.key import files_below
from batch_score.azureml.pipeline.task import FILE, INPUT, OUTPUT, Data, Hole, Made, Text, Value, filled
from batch_score.azureml.registered import register
from batch_score.dataset.origin import FILE as FILES
from batch_score.dataset.origin import Origin
from batch_score.errors import InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.azureml.pipeline.task import OutputPort, Task

OUTPUTS = "outputs"
LINKS, MODELS = ".inputs", ".models"
QUOTES = "'\""


def output_path(name: str, port: OutputPort) -> str:
    """Path of an output, relative to the step's folder."""
    return f"{OUTPUTS}/{name}/{port.file_name}" if port.file_name else f"{OUTPUTS}/{name}"


def places(task: Task, folder: Path, made: Mapping[Made, Path], run: Path) -> dict[Hole, str]:
    """The text for each hole of a step's texts.

    Args:
        task: The step.
        folder: Its folder, absolute.
        made: Where the outputs of other steps are.
        run: The folder of the run, where links to inputs of several files are put.
    """
    found = {Hole(OUTPUT, name): str(folder / output_path(name, port)) for name, port in task.outputs.items()}
    for name, source in task.inputs.items():
        if isinstance(source, Value):
            text = source.text
        elif isinstance(source, Made):
            text = str(made[source])
        else:
            text = one_path(source, run / LINKS / task.folder / name)
        found[Hole(INPUT, name)] = text
    return found


def one_path(data: Data, links: Path) -> str:
    """One path for all files of an input: its own if it has one, else a folder of links to them."""
    if len(data.paths) == 1 and Path(data.paths[0]).exists():
        return str(Path(data.paths[0]).absolute())
    files = [Path(name).absolute() for path in data.paths for name in files_below(path)]
    root = Path(os.path.commonpath([file.parent for file in files]))
    for file in files:
        link = links / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(file)
    return str(links)


def make_outputs(task: Task, folder: Path) -> None:
    """Makes the folders that a step writes into.

    Raises:
        OutputError: One cannot be made.
    """
    for name, port in task.outputs.items():
        path = folder / output_path(name, port)
        try:
            (path.parent if port.kind == FILE else path).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}; give a folder for runs that can be written") from error


def copy_outputs(task: Task, folder: Path) -> None:
    """Puts copies of the outputs where the pipeline wants them, and registers those that are to be.

    Raises:
        OutputError: One cannot be written.
    """
    for name, port in task.outputs.items():
        path = folder / output_path(name, port)
        if port.registered_as is not None:
            register(None, port.registered_as, Origin(FILES, (str(path),)), create_new_version=True)
        if port.copied_to is None or not path.exists():
            continue
        target = Path(port.copied_to)
        try:
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            else:
                into = target / path.name if target.is_dir() or port.copied_to.endswith("/") else target
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)
        except OSError as error:
            raise OutputError(f"output {name!r} cannot be copied to {target}: {error}; give another path") from error


def model_folder(model: str, pipeline: Path) -> str:
    """A folder that holds a model, as AZUREML_MODEL_DIR names it: a model that is a folder is a folder inside it.

    Args:
        model: File or folder of the model.
        pipeline: The folder of the pipeline's runs, where the folder is made, the same for each of them.

    Raises:
        InputError: The model is not there.
    """
    path = Path(model).absolute()
    if not path.exists():
        raise InputError(f"model {model}: no such file or folder; give the path of the model")
    folder = pipeline.absolute() / MODELS / hashlib.sha256(str(path).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / path.name
    if not link.is_symlink():
        link.symlink_to(path)
    return str(folder)


def quoted(text: Text, found: Mapping[Hole, str]) -> str:
    """A shell command whose holes are filled: a path is quoted unless the command has put it in quotes already."""
    parts: list[str] = []
    for part in text:
        if isinstance(part, str):
            parts.append(part)
            continue
        value = found[part]
        in_quotes = bool(parts) and parts[-1][-1:] in tuple(QUOTES)
        parts.append(shlex.quote(value) if os.sep in value and not in_quotes else value)
    return "".join(parts)


def variables(found: Mapping[Hole, str]) -> dict[str, str]:
    """The variables by which scripts of both generations find inputs and outputs without arguments."""
    named = {}
    for hole, path in found.items():
        kind = "INPUT" if hole.port == INPUT else "OUTPUT"
        named[f"AZURE_ML_{kind}_{hole.name}"] = named[f"AZUREML_DATAREFERENCE_{hole.name}"] = path
    return named


def arguments(texts: tuple[Text, ...], found: Mapping[Hole, str]) -> list[str]:
    """Arguments whose holes are filled."""
    return [filled(text, found) for text in texts]
