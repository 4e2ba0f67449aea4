"""Batch deployments: a scoring script, a model, and settings; the files to score come with the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.document import ELSEWHERE, Keys, told
from batch_score.azureml.jobs.model import model_path
from batch_score.azureml.jobs.steps import RETRY, TOLD, retried, variables
from batch_score.azureml.pipeline.task import Data, DatasetPart, OutputPort, ParallelWork, Task
from batch_score.config import ParallelRunConfig
from batch_score.dataset.origin import FILE
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.azureml.jobs.document import Document

# By our names; they stand under `settings`, or at the root in the older form.
SETTINGS = {
    "mini_batch_size": "mini_batch_size",
    "output_action": "output_action",
    "output_file_name": "append_row_file_name",
    "max_concurrency_per_instance": "process_count_per_node",
    "error_threshold": "error_threshold",
    "logging_level": "logging_level",
}
NAMED = (*SETTINGS, "retry_settings", "environment_variables")
ROOT = Keys.of_job(
    (*NAMED, "settings", "model", "code_configuration"),
    (*ELSEWHERE, "environment", "resources", "endpoint_name", "job_definition", "default"),
)
CODE = Keys.of(("code", "scoring_script"))
# What a batch deployment has where it says nothing: half a minute, and three retries.
DEFAULTS = {
    "append_row_file_name": "predictions.csv",
    "append_row_form": "txt",
    "run_invocation_timeout": 30,
    "run_max_try": 4,
}
INPUT, OUTPUT = "data", "score"


def is_deployment(content: Mapping[str, Any]) -> bool:
    """The file describes a batch deployment."""
    schema = str(content.get("$schema", "")).lower()
    return "code_configuration" in content or "endpoint_name" in content or "batchdeployment" in schema


def deployment_task(document: Document, content: Mapping[str, Any], inputs: Sequence[str]) -> Task:
    """The one step that a call of a batch deployment is.

    Args:
        document: The file.
        content: What it says.
        inputs: Files, folders and globs to score.

    Raises:
        UsageError: A key is unknown, a value out of range, or nothing is given to score.
    """
    if content.get("type") == "pipeline" or "component" in content:
        raise ConfigError(
            f"{document.path}: deployments of pipeline components are not run by this version; give a file of type "
            "pipeline whose job is that component"
        )
    part = document.check(content, ROOT)
    settings = document.check(part.get("settings"), Keys.of(NAMED), "settings")
    if not inputs:
        raise ConfigError(f"{document.path}: a batch deployment scores what is given: add files, folders or globs")
    if not part.get("code_configuration"):
        raise ConfigError(
            f"{document.path}: code_configuration is missing; MLflow models without a scoring script are not scored by "
            "this version, so write one that loads the model"
        )
    code = document.check(part["code_configuration"], CODE, "code_configuration")
    if not code.get("scoring_script"):
        raise ConfigError(f"{document.path}: code_configuration.scoring_script is missing; name the script")
    given = {**{name: part[name] for name in NAMED if name in part}, **settings}
    config = _config(document, code, given)
    environment = variables(document, given.get("environment_variables"), "environment_variables")
    model = part.get("model")
    return Task(
        name="score",
        work=ParallelWork(config, (DatasetPart(INPUT, FILE),), output=OUTPUT),
        inputs={INPUT: Data(tuple(inputs))},
        outputs={OUTPUT: OutputPort()},
        environment=environment,
        model=None if model is None else model_path(document, model, "model"),
    )


def _config(document: Document, code: Mapping[str, Any], given: Mapping[str, Any]) -> ParallelRunConfig:
    """The settings of the job: of the script, and those that are given."""
    retries = retried(document.check(given.get("retry_settings"), RETRY, "retry_settings"), str(document.path))
    found = {ours: given[theirs] for theirs, ours in SETTINGS.items() if given.get(theirs) is not None}
    root = document.local(code.get("code") or ".", "code_configuration.code")
    try:
        return ParallelRunConfig(
            entry_script=str(code["scoring_script"]), source_directory=root, **{**DEFAULTS, **found, **retries}
        )
    except ConfigError as error:
        raise ConfigError(f"{document.path}: {told(error, {**TOLD, **SETTINGS})}") from error
