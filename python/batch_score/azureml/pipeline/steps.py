"""Steps as SDK v1 spells them: `azureml.pipeline.steps`."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score import config as own
from batch_score.azureml.names import check_names
from batch_score.azureml.pipeline.ports import Ports
from batch_score.azureml.pipeline.task import Hole, ParallelWork, ScriptWork, Task
from batch_score.config_file import read_yaml
from batch_score.errors import ConfigError
from batch_score.job.step import checked_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batch_score.azureml.pipeline.task import Text

STEP_PARAMETERS = ("name", "parallel_run_config", "inputs", "output", "side_inputs", "arguments", "allow_reuse")
# What may be a PipelineParameter (the ParallelRunStep contract).
PARAMETRIC = frozenset(
    {
        *("mini_batch_size", "node_count", "process_count_per_node", "logging_level", "partition_keys"),
        *("run_invocation_timeout", "run_max_try"),
    }
)


class PipelineParameter:
    """A value that may be another one each time a pipeline is submitted.

    Args:
        name: Given at submission.
        default_value: A number, a text, a flag, or a dataset.
    """

    def __init__(self, name: str, default_value: Any) -> None:
        self.name = name
        self.default_value = default_value

    def __repr__(self) -> str:
        return f"PipelineParameter(name={self.name!r}, default_value={self.default_value!r})"

    def __str__(self) -> str:
        return str(self.default_value)


def value_of(value: Any, values: Mapping[str, Any]) -> Any:
    """A value, or that of the parameter which it is."""
    if isinstance(value, PipelineParameter):
        return values.get(value.name, value.default_value)
    return value


class ParallelRunConfig:
    """The settings of a `ParallelRunStep`: those of SDK v1, and every other one of `batch_score.ParallelRunConfig`.

    What returns DataFrames is written in the text form whatever the name of the output file, as existing code reads it;
    `append_row_form="auto"` goes by the extension instead.

    Raises:
        ConfigError: A name is unknown, or a value out of range.
    """

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)
        for name, value in given.items():
            if isinstance(value, PipelineParameter) and name not in PARAMETRIC:
                raise ConfigError(f"{name} cannot be a PipelineParameter; those are {', '.join(sorted(PARAMETRIC))}")
        self.resolved({})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParallelRunConfig) and self.resolved({}) == other.resolved({})

    def __hash__(self) -> int:
        return hash(repr(self.resolved({})))

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value is not None)
        return f"ParallelRunConfig({given})"

    @classmethod
    def load_yaml(cls, *arguments: Any, path: str | Path | None = None, workspace: Any = None) -> Self:
        """Reads a file: `load_yaml(path)`, or with a workspace, which is not needed, before it.

        Raises:
            ConfigError: The file cannot be read, or has an unknown key.
        """
        del workspace
        place = path if path is not None else next((one for one in arguments[::-1] if _is_path(one)), None)
        if place is None:
            raise ConfigError("load_yaml needs the path of a file")
        return cls(**read_yaml(Path(place), own.ParallelRunConfig))

    def save_to_yaml(self, path: str | Path) -> None:
        """Writes what `load_yaml` reads; of parameters their default values."""
        self.resolved({}).save_to_yaml(path)

    def parameters(self) -> Iterator[PipelineParameter]:
        """The parameters among the values."""
        return (value for value in vars(self).values() if isinstance(value, PipelineParameter))

    def resolved(self, values: Mapping[str, Any]) -> own.ParallelRunConfig:
        """The settings with the values of parameters.

        Args:
            values: By name of the parameter; one that is missing has its default value.

        Raises:
            ConfigError: A name is unknown, or a value out of range.
        """
        given = {name: value_of(value, values) for name, value in vars(self).items()}
        known = [field.name for field in fields(own.ParallelRunConfig)]
        check_names(given, known, "ParallelRunConfig", "parameter")
        found = {name: value for name, value in given.items() if value is not None}
        found.setdefault("append_row_form", "txt")
        found["node_count"] = min(1, int(found.get("node_count", 1)))  # the note says so
        for name in ("environment", "compute_target"):
            if name in found and not isinstance(found[name], str):
                found[name] = str(getattr(found[name], "name", found[name]))
        return own.ParallelRunConfig(**found)

    def notes(self, values: Mapping[str, Any]) -> Iterator[str]:
        """What is other here than where the settings were written for."""
        nodes = value_of(getattr(self, "node_count", 1), values)
        if nodes is not None and int(nodes) > 1:
            yield f"node_count is {nodes}, but this machine is the one node"
        differences = getattr(getattr(self, "environment", None), "differences", None)
        if callable(differences):
            yield from (f"environment: {text}" for text in differences())

    @property
    def variables(self) -> dict[str, str]:
        """The variables that the environment sets."""
        return _variables_of(getattr(self, "environment", None))


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _variables_of(environment: Any) -> dict[str, str]:
    found = getattr(environment, "environment_variables", None)
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


class Step(ABC):
    """What all steps have.

    Args:
        name: In the pipeline.
        allow_reuse: The result of an equal step of an earlier run does.

    Attributes:
        name: In the pipeline; of several of one name all but the first get a number.
        source_directory: Its code root, None when it has only a script.
    """

    source_directory: str | None

    def __init__(self, name: str, *, allow_reuse: bool) -> None:
        self.name = name
        self._reuse = allow_reuse
        self._after: list[Step] = []
        self._ports = Ports(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def run_after(self, step: Step) -> None:
        """Begins only when another step has completed."""
        self._after.append(step)

    def needed(self) -> list[Step]:
        """The steps that come before."""
        return [*self._ports.producers(), *self._after]

    def parameters(self) -> Iterator[PipelineParameter]:
        """The parameters that the step uses."""
        return self._ports.parameters()

    def notes(self, values: Mapping[str, Any]) -> Iterator[str]:  # noqa: ARG002 - some steps look at them
        """What should be known before the pipeline begins."""
        return iter(())

    @abstractmethod
    def task(self, values: Mapping[str, Any], names: Mapping[Step, str]) -> Task:
        """The step with the values of parameters, and the names of the pipeline's steps."""

    def _task(self, work: Any, values: Mapping[str, Any], names: Mapping[Step, str]) -> Task:
        return Task(
            name=names[self],
            work=work,
            inputs=self._ports.sources(values, names),
            outputs=self._ports.outputs(),
            after=frozenset(names[step] for step in self._after),
            reuse=self._reuse,
        )


class PythonScriptStep(Step):
    """A step that runs a Python script.

    Args:
        script_name: The file, relative to `source_directory`.
        name: By default `script_name`.
        arguments: What the script finds on `sys.argv`.
        compute_target: Kept: the script runs on this machine.
        runconfig: Of it only the variables of its environment are used.
        inputs: What it reads; also found in its arguments.
        outputs: What it writes; also found in its arguments.
        params: Variables `AML_PARAMETER_<name>` of the script.
        source_directory: Working directory; all files below it count as source of the step.
        allow_reuse: The result of an equal step of an earlier run does.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as existing code gives them
        self,
        script_name: str,
        name: str | None = None,
        arguments: Sequence[Any] | None = None,
        compute_target: Any = None,
        runconfig: Any = None,
        runconfig_pipeline_params: Any = None,
        inputs: Sequence[Any] | None = None,
        outputs: Sequence[Any] | None = None,
        params: Mapping[str, Any] | None = None,
        source_directory: str | None = None,
        allow_reuse: bool = True,  # noqa: FBT001, FBT002 - as above
        version: str | None = None,
        hash_paths: Any = None,
    ) -> None:
        del compute_target, runconfig_pipeline_params, version, hash_paths
        super().__init__(name or script_name, allow_reuse=bool(allow_reuse))
        self.script_name = script_name
        self.source_directory = _absolute(source_directory)
        self._params = dict(params or {})
        self._variables = _variables_of(getattr(runconfig, "environment", None))
        self._ports.add_outputs(outputs or ())
        self._ports.add_inputs(inputs or ())
        self._arguments = [self._ports.argument(one) for one in arguments or ()]

    def parameters(self) -> Iterator[PipelineParameter]:
        """The parameters among arguments, inputs and `params`."""
        yield from super().parameters()
        yield from (value for value in self._params.values() if isinstance(value, PipelineParameter))

    def task(self, values: Mapping[str, Any], names: Mapping[Step, str]) -> Task:
        """See `Step.task`."""
        script = self.script_name if self.source_directory else str(Path(self.script_name).absolute())
        work = ScriptWork(
            script=script,
            source_directory=self.source_directory,
            arguments=_texts(self._arguments, values),
            datasets=tuple(self._ports.parts(values)),
        )
        params = {f"AML_PARAMETER_{name}": str(value_of(value, values)) for name, value in self._params.items()}
        return replace(self._task(work, values, names), environment={**self._variables, **params})


class ParallelRunStep(Step):
    """A step that scores datasets.

    Args:
        name: 3 to 32 lower-case letters, digits and dashes; begins with a letter.
        parallel_run_config: Settings.
        inputs: What is scored: datasets, or outputs of other steps, all tables or all files.
        output: The folder of the output file.
        side_inputs: Files that each worker can read, by paths in the arguments.
        arguments: What the entry script finds on `sys.argv`.
        allow_reuse: The result of an equal step of an earlier run does.

    Raises:
        ConfigError: The name cannot be used, or there is no input.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - as existing code gives them
        self,
        name: str,
        parallel_run_config: ParallelRunConfig,
        inputs: Any,
        output: Any = None,
        side_inputs: Sequence[Any] | None = None,
        arguments: Sequence[Any] | None = None,
        allow_reuse: bool = True,  # noqa: FBT001, FBT002 - as above
        **unknown: Any,
    ) -> None:
        check_names(unknown, STEP_PARAMETERS, f"ParallelRunStep {name!r}", "parameter")
        super().__init__(checked_name(name), allow_reuse=bool(allow_reuse))
        scored = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        if not scored:
            raise ConfigError(f"step {name!r} has no inputs; give at least one dataset")
        self._config = parallel_run_config
        self._output = self._ports.add_outputs([output])[0] if output is not None else None
        self._scored = self._ports.add_inputs(scored)
        self._ports.add_inputs(side_inputs or ())
        self._arguments = [self._ports.argument(one) for one in arguments or ()]

    @property
    def source_directory(self) -> str | None:  # type: ignore[override] # the settings may still be changed
        """The code root of the settings."""
        return _absolute(getattr(self._config, "source_directory", None))

    def parameters(self) -> Iterator[PipelineParameter]:
        """The parameters among arguments, inputs and settings."""
        yield from super().parameters()
        yield from self._config.parameters()

    def notes(self, values: Mapping[str, Any]) -> Iterator[str]:
        """What of the settings is other here."""
        return self._config.notes(values)

    def task(self, values: Mapping[str, Any], names: Mapping[Step, str]) -> Task:
        """See `Step.task`."""
        config = self._config.resolved(values)
        root = self.source_directory
        script = config.entry_script
        if root is None and script and Path(script).is_file():
            script = str(Path(script).absolute())
        parts = {part.input: part for part in self._ports.parts(values, whatever=True)}
        work = ParallelWork(
            config=replace(config, source_directory=root, entry_script=script),
            datasets=tuple(parts[name] for name in self._scored),
            arguments=_texts(self._arguments, values),
            output=self._output,
        )
        return replace(self._task(work, values, names), environment=self._config.variables)


def _absolute(path: str | os.PathLike[str] | None) -> str | None:
    return None if path is None else str(Path(path).absolute())


def _texts(arguments: Sequence[Any], values: Mapping[str, Any]) -> tuple[Text, ...]:
    return tuple((one,) if isinstance(one, Hole) else (str(value_of(one, values)),) for one in arguments)


def tasks_of(
    steps: Sequence[Step], values: Mapping[str, Any], source_directory: str | None = None
) -> tuple[list[Task], list[str]]:
    """The tasks of steps, and what should be known before they begin.

    Args:
        steps: Each once.
        values: Of parameters, by name.
        source_directory: For script steps that have none.

    Raises:
        ConfigError: A value is out of range, or an input is of no known kind.
    """
    names: dict[Step, str] = {}
    for step in steps:
        if source_directory is not None and isinstance(step, PythonScriptStep) and step.source_directory is None:
            step.source_directory = _absolute(source_directory)
        count = 1
        name = step.name
        while name in names.values():
            count += 1
            name = f"{step.name}-{count}"
        names[step] = name
    notes = [f"step {names[step]}: {text}" for step in steps for text in step.notes(values)]
    return [step.task(values, names) for step in steps], [*notes, *_shared(names)]


def _shared(names: Mapping[Step, str]) -> Iterator[str]:
    """Says which steps share their source."""
    folders: dict[str, list[str]] = {}
    for step, name in names.items():
        if step.source_directory is not None:
            folders.setdefault(step.source_directory, []).append(name)
    for folder, sharing in folders.items():
        if len(sharing) > 1:
            yield f"steps {', '.join(sharing)} share {folder}: a change in it runs all of them again"


__all__ = ["ParallelRunConfig", "ParallelRunStep", "PipelineParameter", "PythonScriptStep"]
