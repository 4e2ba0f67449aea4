"""What a pipeline is made of, whether Python code or a YAML file describes it: tasks, and what flows between them.

A task is one step as it will be run: all parameters have their values, and of its arguments only the places of inputs
and outputs are open, because those are known when the step begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, TypeAlias

from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.config import ParallelRunConfig

INPUT, OUTPUT = "inputs", "outputs"
FOLDER, FILE = "folder", "file"
UNSAFE = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Hole:
    """A place in a text for the path or value of an input, or for the path of an output.

    Attributes:
        port: `inputs` or `outputs`.
        name: Of the task's input or output.
    """

    port: str
    name: str


Text: TypeAlias = tuple[str | Hole, ...]
"""A text with holes."""


@dataclass(frozen=True, slots=True)
class Data:
    """Files of this machine: files, folders and globs, as given."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What another step of the pipeline makes: its output of that name."""

    step: str
    output: str


@dataclass(frozen=True, slots=True)
class Value:
    """A number or a text."""

    text: str


Source: TypeAlias = Data | Made | Value


@dataclass(frozen=True, slots=True)
class OutputPort:
    """What a step leaves for others.

    Attributes:
        kind: `folder`, which is made before the step begins, or `file`, whose folder is.
        file_name: Name of the file in a folder named like the output; empty: the file is named like the output.
        copied_to: Folder or file that a copy is put into when the step has completed.
        registered_as: Name of the dataset that is registered then.
    """

    kind: str = FOLDER
    file_name: str = ""
    copied_to: str | None = None
    registered_as: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetPart:
    """How an input becomes a dataset whose mini-batches are scored.

    Attributes:
        input: Name of the task's input.
        kind: `file`, `delimited`, `jsonl` or `parquet`, as in `Origin`.
        options: Reader options that differ from their defaults.
        keep: Columns that `run()` gets, all of them if empty.
        drop: Columns that it does not get.
    """

    input: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptWork:
    """A Python script in a process of its own.

    Attributes:
        script: The file, relative to `source_directory` if that is given.
        source_directory: Code root and working directory; None: the current folder, and only the script is its source.
        arguments: What the script finds on `sys.argv`.
        datasets: Inputs that it gets as datasets.
    """

    script: str
    source_directory: str | None
    arguments: tuple[Text, ...] = ()
    datasets: tuple[DatasetPart, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandWork:
    """A command for the shell.

    Attributes:
        command: The text, in which a path is quoted unless it stands in quotes.
        source_directory: Working directory; None: an empty folder of its own.
        timeout: Seconds it may take, None for as long as it wants.
    """

    command: Text
    source_directory: str | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class ParallelWork:
    """A job.

    Attributes:
        config: Settings, without what the environment of the step adds.
        datasets: What is scored.
        arguments: What the entry script finds on `sys.argv`.
        output: The output that gets the output file; None: `outputs` in the run directory.
    """

    config: ParallelRunConfig
    datasets: tuple[DatasetPart, ...]
    arguments: tuple[Text, ...] = ()
    output: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One step, ready to be run when the steps that it needs have completed.

    Attributes:
        name: Unique in its pipeline.
        work: What is done.
        inputs: By name.
        outputs: By name.
        after: Steps that come first although nothing of theirs is an input.
        environment: Variables for its processes.
        model: File or folder of a model, for AZUREML_MODEL_DIR.
        reuse: The result of an equal step of an earlier run does.
    """

    name: str
    work: ScriptWork | CommandWork | ParallelWork
    inputs: Mapping[str, Source] = field(default_factory=dict)
    outputs: Mapping[str, OutputPort] = field(default_factory=dict)
    after: frozenset[str] = frozenset()
    environment: Mapping[str, str] = field(default_factory=dict)
    model: str | None = None
    reuse: bool = True

    @property
    def needs(self) -> set[str]:
        """The steps that must have completed."""
        return {source.step for source in self.inputs.values() if isinstance(source, Made)} | self.after

    @property
    def folder(self) -> str:
        """Its folder in that of the run."""
        return folder_name(self.name)


def folder_name(name: str) -> str:
    """A name as that of a folder: what is no letter, digit, dot, dash or underscore becomes a dash."""
    return UNSAFE.sub("-", name).strip("-.") or "step"


def filled(text: Text, places: Mapping[Hole, str]) -> str:
    """A text whose holes are filled."""
    return "".join(part if isinstance(part, str) else places[part] for part in text)


def symbolic(text: Text) -> str:
    """A text with the names of its holes, the same wherever the pipeline runs."""
    return "".join(part if isinstance(part, str) else f"\0{part.port}.{part.name}\0" for part in text)


def in_order(tasks: Sequence[Task]) -> TopologicalSorter[str]:
    """The order of tasks, ready to be asked which ones can begin.

    Raises:
        ConfigError: Two have one name or folder, one needs a step that is not there, or they need each other.
    """
    names = {task.name for task in tasks}
    taken: dict[str, str] = {}
    for task in tasks:
        if task.folder in taken:
            raise ConfigError(f"steps {taken[task.folder]!r} and {task.name!r} share a name; give each step its own")
        taken[task.folder] = task.name
        if missing := sorted(task.needs - names):
            raise ConfigError(f"step {task.name!r} needs {missing[0]!r}, which is no step of the pipeline; add it")
        _check_outputs(task, {one.name: one for one in tasks})
    sorter = TopologicalSorter({task.name: task.needs for task in tasks})
    try:
        sorter.prepare()
    except CycleError as error:
        circle = " needs ".join(error.args[1][::-1])
        raise ConfigError(f"the steps wait for each other: {circle}; leave one of these connections out") from error
    return sorter


def _check_outputs(task: Task, tasks: Mapping[str, Task]) -> None:
    for source in task.inputs.values():
        if isinstance(source, Made) and source.output not in tasks[source.step].outputs:
            known = ", ".join(tasks[source.step].outputs) or "none"
            raise ConfigError(
                f"step {task.name!r} wants output {source.output!r} of {source.step!r}, whose outputs are: {known}"
            )
