"""The inputs and outputs of a step of SDK v1, as they are named in its arguments and lists."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.data import DatasetConsumptionConfig, OutputFileDatasetConfig, PipelineData, PipelineOutput
from batch_score.azureml.pipeline.task import INPUT, OUTPUT, Data, DatasetPart, Hole, Made, OutputPort, Value
from batch_score.dataset.files import FileDataset
from batch_score.dataset.origin import FILE
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batch_score.azureml.pipeline.steps import PipelineParameter, Step
    from batch_score.azureml.pipeline.task import Source

Written = (OutputFileDatasetConfig, PipelineData)


class Ports:
    """What flows into a step and out of it.

    Args:
        step: The step.
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._inputs: dict[str, Any] = {}
        self._outputs: dict[str, Any] = {}
        self._arguments: list[Any] = []

    def add_outputs(self, outputs: Sequence[Any]) -> list[str]:
        """Takes what the step writes; gives the names.

        Raises:
            ConfigError: One is nothing that can be written, or another step writes it.
        """
        return [self._add_output(one) for one in outputs]

    def _add_output(self, output: Any) -> str:
        if not isinstance(output, Written):
            raise ConfigError(
                f"step {self._step.name!r}: an output is an OutputFileDatasetConfig or a PipelineData, not a "
                f"{type(output).__name__}"
            )
        # A step that is made once more, as when a cell of a notebook is run again, takes the place of the first one.
        if output.producer not in (None, self._step) and output.producer.name != self._step.name:
            raise ConfigError(
                f"output {output.name!r} is written by step {output.producer.name!r} and by {self._step.name!r}; "
                "give each step an output of its own"
            )
        known = next((name for name, one in self._outputs.items() if one is output), None)
        if known is not None:
            return known
        name = output.name or f"output{len(self._outputs) + 1}"
        if name in self._outputs:
            raise ConfigError(f"step {self._step.name!r} has two outputs {name!r}; give each its own name")
        output.name, output.producer = name, self._step
        self._outputs[name] = output
        return name

    def add_inputs(self, inputs: Sequence[Any]) -> list[str]:
        """Takes what the step reads; gives the names.

        Raises:
            ConfigError: One is nothing that can be read, or two have one name.
        """
        return [self._add_input(one) for one in inputs]

    def _add_input(self, given: Any) -> str:
        name, data = _unwrapped(given)
        if not _is_data(data):
            raise ConfigError(
                f"step {self._step.name!r}: an input is a dataset or an output of another step, not a "
                f"{type(data).__name__}"
            )
        known = next((known for known, one in self._inputs.items() if _unwrapped(one)[1] is data), None)
        if known is not None and name in ("", known):
            return known
        name = name or f"input{len(self._inputs) + 1}"
        if name in self._inputs:
            raise ConfigError(f"step {self._step.name!r} has two inputs {name!r}; give each its own name")
        self._inputs[name] = given
        return name

    def argument(self, value: Any) -> Any:
        """An argument: a hole for what is read or written, which thereby is an input or output; else the value."""
        if isinstance(value, Written):
            if any(_unwrapped(one)[1] is value for one in self._inputs.values()):
                return Hole(INPUT, self._add_input(value))
            if value.producer is None or value.producer.name == self._step.name:
                return Hole(OUTPUT, self._add_output(value))
            return Hole(INPUT, self._add_input(value))
        if isinstance(value, (DatasetConsumptionConfig, PipelineOutput, FileDataset, TabularDataset)):
            return Hole(INPUT, self._add_input(value))
        self._arguments.append(value)
        return value

    def producers(self) -> list[Step]:
        """The steps whose outputs are read.

        Raises:
            ConfigError: An output is read that no step writes.
        """
        found = []
        for given in self._inputs.values():
            data = _unwrapped(given)[1]
            written = data.source if isinstance(data, PipelineOutput) else data
            if isinstance(written, Written):
                if written.producer is None:
                    raise ConfigError(
                        f"step {self._step.name!r} reads {written.name!r}, which no step writes; name it among the "
                        "outputs or arguments of the step that does"
                    )
                found.append(written.producer)
        return found

    def parameters(self) -> Iterator[PipelineParameter]:
        """The parameters among arguments and inputs."""
        for value in (*self._arguments, *(_dataset_of(one) for one in self._inputs.values())):
            if _is_parameter(value):
                yield value

    def sources(self, values: Mapping[str, Any], names: Mapping[Step, str]) -> dict[str, Source]:
        """Where each input comes from."""
        found: dict[str, Source] = {}
        for name, given in self._inputs.items():
            data = _value(given, values)
            written = data.source if isinstance(data, PipelineOutput) else data
            if isinstance(written, Written):
                found[name] = Made(names[written.producer], written.name)
            else:
                found[name] = _source(data)
        return found

    def parts(self, values: Mapping[str, Any], *, whatever: bool = False) -> Iterator[DatasetPart]:
        """The inputs that are datasets, and how they are read; with `whatever` also files that get a path."""
        for name, given in self._inputs.items():
            data = _value(given, values)
            if isinstance(data, (OutputFileDatasetConfig, PipelineOutput)):
                yield DatasetPart(name, data.kind, dict(data.options))
            elif isinstance(data, PipelineData):
                yield DatasetPart(name, FILE)
            elif whatever or isinstance(data, TabularDataset):
                yield _part(name, data)

    def outputs(self) -> dict[str, OutputPort]:
        """What the step leaves."""
        return {name: _port(self._step.name, one) for name, one in self._outputs.items()}


def _unwrapped(given: Any) -> tuple[str, Any]:
    """Name and data of an input; what is written keeps its own name."""
    if isinstance(given, DatasetConsumptionConfig):
        return given.name, given.dataset
    return (given.name if isinstance(given, (PipelineData, PipelineOutput)) else ""), given


def _dataset_of(given: Any) -> Any:
    return _unwrapped(given)[1]


def _is_parameter(value: Any) -> bool:
    return hasattr(value, "default_value") and hasattr(value, "name")


def _value(given: Any, values: Mapping[str, Any]) -> Any:
    data = _dataset_of(given)
    return _dataset_of(values.get(data.name, data.default_value)) if _is_parameter(data) else data


def _is_data(data: Any) -> bool:
    return isinstance(data, (FileDataset, TabularDataset, PipelineOutput, *Written)) or _is_parameter(data)


def _source(data: Any) -> Source:
    """Where a dataset's files are; a path as text stands for itself."""
    if isinstance(data, (str, os.PathLike)):
        return Data((str(Path(data).absolute()),))
    if not isinstance(data, (FileDataset, TabularDataset)):
        return Value(str(data))
    if data.origin is None:
        raise ConfigError("a dataset that was put together by hand cannot be an input; make it by a factory of Dataset")
    return Data(tuple(str(Path(one).absolute()) for one in data.origin.inputs))


def _part(name: str, data: Any) -> DatasetPart:
    if isinstance(data, (str, os.PathLike)):
        return DatasetPart(name, FILE)
    origin = data.origin
    keep = tuple(data.schema.names) if getattr(data, "narrowed", False) else ()
    return DatasetPart(name, origin.kind, plain(origin.options), keep)


def _port(step: str, output: Any) -> OutputPort:
    if not isinstance(output, OutputFileDatasetConfig):
        return OutputPort()
    place = output.destination
    if isinstance(place, (tuple, list)):
        store, *path = place
        place = Path(getattr(store, "folder", str(store)), *path)
    if place is None or not str(place):
        return OutputPort(registered_as=output.registered_as)
    text = str(Path(place).absolute()).replace("{output-name}", output.name).replace("{run-id}", step)
    return OutputPort(copied_to=text, registered_as=output.registered_as)
