"""Command and parallel jobs of a pipeline as tasks."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.document import ELSEWHERE, Keys, merged, read_document, told
from batch_score.azureml.jobs.expression import Expressions, expression_of, settled
from batch_score.azureml.jobs.inputs import MLTABLE, job_inputs, job_outputs, targets
from batch_score.azureml.jobs.mltable import read_mltable
from batch_score.azureml.jobs.model import model_path
from batch_score.azureml.names import check_names
from batch_score.azureml.pipeline.task import (
    FILE,
    OUTPUT,
    CommandWork,
    Data,
    DatasetPart,
    Made,
    ParallelWork,
    Task,
    Value,
    symbolic,
)
from batch_score.config import ParallelRunConfig
from batch_score.dataset.origin import FILE as FILES
from batch_score.errors import ConfigError
from batch_score.flags import with_flags
from batch_score.option import coerce

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.azureml.jobs.document import Document
    from batch_score.azureml.jobs.inputs import Bound, Target
    from batch_score.azureml.pipeline.task import OutputPort, Source, Text

SHARED = ("component", "inputs", "outputs", "environment_variables", "is_deterministic", "experiment_name")
MACHINES = (*ELSEWHERE, "environment", "resources", "settings")
COMMAND = Keys.of_job((*SHARED, "command", "code", "limits"), (*MACHINES, "distribution"))
PARALLEL = Keys.of_job(
    (
        *(*SHARED, "input_data", "task", "retry_settings", "mini_batch_size", "mini_batch_error_threshold"),
        *("error_threshold", "logging_level", "max_concurrency_per_instance", "partition_keys"),
    ),
    MACHINES,
)
TASK = Keys.of(("type", "code", "entry_script", "program_arguments", "append_row_to", "model"), ("environment",))
RETRY = Keys.of(("max_retries", "timeout"))
LIMITS = Keys.of(("timeout",))
# Settings of a parallel job by our names.
SETTINGS = {
    "mini_batch_size": "mini_batch_size",
    "mini_batch_error_threshold": "allowed_failed_count",
    "error_threshold": "error_threshold",
    "logging_level": "logging_level",
    "max_concurrency_per_instance": "process_count_per_node",
}
# What may have expressions of numbers and texts.
EXPRESSIVE = (*SETTINGS, "retry_settings", "limits", "environment_variables", "partition_keys")
# As errors name them.
TOLD = {**SETTINGS, "retry_settings.timeout": "run_invocation_timeout"}
UNKNOWN_JOBS = ("sweep", "spark", "automl", "import", "pipeline", "data_transfer")


class JobReader:
    """Makes tasks of the jobs of a pipeline.

    Args:
        document: The file of the pipeline.
        inputs: Inputs of the pipeline.
        outputs: Outputs of the pipeline.

    Attributes:
        made: Which step makes which output of the pipeline.
        kinds: Types of the outputs of steps.
        documents: The files that were read beside the pipeline's.
    """

    def __init__(self, document: Document, inputs: Mapping[str, Bound], outputs: Mapping[str, Target]) -> None:
        self._document = document
        self._inputs = inputs
        self._outputs = outputs
        self.made: dict[str, Made] = {}
        self.kinds: dict[Made, str] = {}
        self.documents: list[Document] = []

    def task(self, name: str, job: Any) -> Task:
        """The task of a job.

        Raises:
            ConfigError: A key is unknown, a value is missing or out of range, or the job is of an unknown kind.
        """
        where = f"jobs.{name}"
        if not isinstance(job, dict):
            raise ConfigError(f"{self._document.path}: {where} must be a job, found {job!r}")
        component = self._component(job.get("component"), where)
        job = _without(merged(_settings(component), job), ("component",))
        kind = str(job.get("type", "command"))
        if kind in UNKNOWN_JOBS:
            raise ConfigError(
                f"{self._document.path}: {where}: jobs of type {kind} are not run by this version; the types are "
                "command and parallel"
            )
        check_names([kind], ("command", "parallel"), f"{self._document.path}: {where}", "type of job")
        job = self._document.check(job, COMMAND if kind == "command" else PARALLEL, where)
        inputs = job_inputs(self._document, job.get("inputs"), component.get("inputs"), self._inputs, where)
        job |= self._settled(job, inputs, where)
        declared = targets(self._document, component.get("outputs"), f"{where}.outputs")
        outputs, bound = job_outputs(self._document, job.get("outputs"), declared, self._outputs, where)
        self.kinds |= {Made(name, own): one.kind for own, one in outputs.items()}
        self.made |= {ours: Made(name, own) for own, ours in bound.items()}
        base = Task(
            name=name,
            work=CommandWork(()),
            inputs={key: one.source for key, one in inputs.items() if one.source is not None},
            outputs={key: one.port for key, one in outputs.items()},
            environment=variables(self._document, job.get("environment_variables"), f"{where}.environment_variables"),
            reuse=job.get("is_deterministic", True) is not False,
        )
        expressions = Expressions(
            base.inputs,
            [key for key, one in inputs.items() if one.source is None],
            outputs,
            f"{self._document.path}: {where}",
        )
        if kind == "command":
            return replace(base, work=self._command(job, expressions, where))
        return self._parallel(base, job, expressions, {key: one.kind for key, one in inputs.items()})

    def _settled(self, job: Mapping[str, Any], inputs: Mapping[str, Bound], where: str) -> dict[str, Any]:
        """The settings of a job with values for their expressions."""
        own, parent = ({name: one.source for name, one in some.items()} for some in (inputs, self._inputs))
        return {
            name: settled(job[name], own, parent, f"{self._document.path}: {where}.{name}")
            for name in EXPRESSIVE
            if name in job
        }

    def _component(self, component: Any, where: str) -> dict[str, Any]:
        """What a component says, its paths made relative to the pipeline's file."""
        if component is None:
            return {}
        if isinstance(component, dict):
            return component
        place = self._document.local(component, f"{where}.component")
        document, content = read_document(Path(place))
        self.documents.append(document)
        return _relocated(content, document, self._document)

    def _command(self, job: Mapping[str, Any], expressions: Expressions, where: str) -> CommandWork:
        if not job.get("command"):
            raise ConfigError(f"{self._document.path}: {where}.command is missing; say what is to be run")
        limits = self._document.check(job.get("limits"), LIMITS, f"{where}.limits")
        timeout = limits.get("timeout")
        if timeout is not None:
            timeout = coerce(f"{self._document.path}: {where}.limits.timeout", timeout, (float,))
            if timeout <= 0:
                raise ConfigError(f"{self._document.path}: {where}.limits.timeout must be above 0, got {timeout:g}")
        code = job.get("code")
        return CommandWork(
            command=expressions.text(str(job["command"]).strip()),
            source_directory=None if code is None else self._document.local(code, f"{where}.code"),
            timeout=timeout,
        )

    def _parallel(self, base: Task, job: Mapping[str, Any], expressions: Expressions, kinds: Mapping[str, str]) -> Task:
        where = f"jobs.{base.name}"
        task = self._document.check(job.get("task"), TASK, f"{where}.task")
        arguments = expressions.arguments(task.get("program_arguments") or "")
        output = self._output(task, expressions, where)
        config = self._config(job, task, where, "summary_only" if output is None else "append_row")
        outputs = dict(base.outputs)
        if output is not None:
            named = base.outputs[output].file_name
            config = replace(config, append_row_file_name=named or config.append_row_file_name)
            outputs[output] = _file_port(base.outputs[output], config, arguments)
        data, inputs = self._data(job, base, expressions, kinds, where)
        model = task.get("model")
        return replace(
            base,
            work=ParallelWork(config, (data,), arguments, output or next(iter(outputs), None)),
            inputs=inputs,
            outputs=outputs,
            model=None if model is None else model_path(self._document, model, f"{where}.task.model"),
        )

    def _output(self, task: Mapping[str, Any], expressions: Expressions, where: str) -> str | None:
        """The output that gets what `run()` returned."""
        wanted = task.get("append_row_to")
        if wanted is None:
            return None
        expression = expression_of(wanted)
        hole = None if expression is None else expressions.hole(expression)
        if hole is None or hole.port != OUTPUT:
            raise ConfigError(
                f"{self._document.path}: {where}.task.append_row_to must be ${{{{outputs.NAME}}}}, not {wanted}"
            )
        return hole.name

    def _config(self, job: Mapping[str, Any], task: Mapping[str, Any], where: str, action: str) -> ParallelRunConfig:
        code = None if task.get("code") is None else self._document.local(task["code"], f"{where}.task.code")
        script = str(task.get("entry_script") or "")
        if not script:
            raise ConfigError(f"{self._document.path}: {where}.task.entry_script is missing; name the script")
        if code is None and script.endswith(".py"):
            script = self._document.local(script, f"{where}.task.entry_script")
        settings = {ours: job[theirs] for theirs, ours in SETTINGS.items() if job.get(theirs) is not None}
        retry = self._document.check(job.get("retry_settings"), RETRY, f"{where}.retry_settings")
        settings |= retried(retry, f"{self._document.path}: {where}")
        if job.get("partition_keys"):
            if settings.pop("mini_batch_size", None) is not None:
                self._document.remarks.append(
                    f"{where}: partition_keys cut the input, so mini_batch_size does not count"
                )
            settings["partition_keys"] = job["partition_keys"]
        try:
            return ParallelRunConfig(
                entry_script=script,
                source_directory=code,
                output_action=action,
                append_row_form="txt",
                **settings,
            )
        except ConfigError as error:
            raise ConfigError(f"{self._document.path}: {where}: {told(error, TOLD)}") from error

    def _data(
        self, job: Mapping[str, Any], base: Task, expressions: Expressions, kinds: Mapping[str, str], where: str
    ) -> tuple[DatasetPart, dict[str, Source]]:
        """The input whose mini-batches are scored."""
        expression = expression_of(job.get("input_data"))
        if expression is None:
            known = ", ".join(base.inputs) or "none"
            raise ConfigError(
                f"{self._document.path}: {where}.input_data must be ${{{{inputs.NAME}}}}; the inputs are {known}"
            )
        name = expressions.hole(expression).name
        source, inputs = base.inputs[name], dict(base.inputs)
        if isinstance(source, Value):
            raise ConfigError(f"{self._document.path}: {where}.input_data: input {name!r} is a value, not data")
        if isinstance(source, Made):  # of which nothing is there yet
            return DatasetPart(name, {"": "", MLTABLE: MLTABLE}.get(kinds[name], FILES)), inputs
        if kinds[name] != MLTABLE:
            return DatasetPart(name, FILES), inputs
        table = read_mltable(source.paths[0])
        self._document.without_effect |= set(table.without_effect)
        scored = f"{name}.paths"
        inputs[scored] = Data(table.paths)
        return DatasetPart(scored, table.kind, dict(table.options), table.keep, table.drop), inputs


def retried(retry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Retry settings by our names: so many retries are one more try.

    Args:
        retry: The settings.
        where: Begins messages.

    Raises:
        ConfigError: The number of retries is no whole number, or below 0.
    """
    found: dict[str, Any] = {}
    if retry.get("max_retries") is not None:
        name = f"{where}: retry_settings.max_retries"
        retries = coerce(name, retry["max_retries"], (int,))
        if retries < 0:
            raise ConfigError(f"{name} must be at least 0, got {retries}")
        found["run_max_try"] = retries + 1
    if retry.get("timeout") is not None:
        found["run_invocation_timeout"] = retry["timeout"]
    return found


def _file_port(port: OutputPort, config: ParallelRunConfig, arguments: tuple[Text, ...]) -> OutputPort:
    """The output that gets the output file; runtime flags among the arguments may name a file."""
    if port.kind != FILE:
        return port
    return replace(port, file_name=with_flags(config, [symbolic(text) for text in arguments]).append_row_file_name)


def variables(document: Document, given: Any, where: str) -> dict[str, str]:
    """Variables of a step.

    Raises:
        ConfigError: They are no mapping.
    """
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise ConfigError(f"{document.path}: {where} must be 'NAME: value' lines, found {given!r}")
    return {str(name): str(value) for name, value in given.items()}


def _settings(component: Mapping[str, Any]) -> dict[str, Any]:
    """What a component settles for the job: not what it says of inputs and outputs, nor what describes it."""
    return _without(
        component, ("inputs", "outputs", "name", "display_name", "version", "description", "tags", "$schema")
    )


def _without(content: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def _relocated(content: dict[str, Any], document: Document, pipeline: Document) -> dict[str, Any]:
    """A component whose code is named from the folder of the pipeline's file."""
    root = pipeline.path.parent

    def moved(path: Any, where: str) -> str:
        return os.path.relpath(document.local(path, where), root)

    found = dict(content)
    if "code" in found:
        found["code"] = moved(found["code"], "code")
    if isinstance(found.get("task"), dict):
        task = dict(found["task"])
        if "code" in task:
            task["code"] = moved(task["code"], "task.code")
        elif str(task.get("entry_script", "")).endswith(".py"):
            task["entry_script"] = moved(task["entry_script"], "task.entry_script")
        found["task"] = task
    return found
