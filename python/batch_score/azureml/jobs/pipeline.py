"""A pipeline in a YAML file, or a batch deployment, as something to be run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.deployment import deployment_task, is_deployment
from batch_score.azureml.jobs.document import ELSEWHERE, Keys, read_document
from batch_score.azureml.jobs.inputs import MLTABLE, pipeline_inputs, targets
from batch_score.azureml.jobs.steps import JobReader
from batch_score.azureml.pipeline.execution import Submission
from batch_score.azureml.pipeline.task import Data, Made, ParallelWork, Value
from batch_score.dataset.origin import FILE
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from batch_score.azureml.jobs.document import Document
    from batch_score.azureml.jobs.inputs import Bound
    from batch_score.azureml.pipeline.task import Task

PIPELINE = Keys.of_job(
    ("jobs", "inputs", "outputs", "settings", "experiment_name"), (*ELSEWHERE, "schedule", "creation_context")
)
SETTINGS = Keys.of(
    ("continue_on_step_failure", "force_rerun"), ("default_compute", "default_datastore", "on_init", "on_finalize")
)


@dataclass(frozen=True)
class Loaded:
    """A file as something to be run.

    Attributes:
        submission: What is run.
        notes: What should be known before.
    """

    submission: Submission
    notes: tuple[str, ...]


def load_pipeline(path: Path, overrides: Sequence[str] = (), inputs: Sequence[str] = ()) -> Loaded:
    """Reads a pipeline or a batch deployment.

    Args:
        path: The file.
        overrides: `a.b=value` each, as for `az ml job create --set`.
        inputs: What a batch deployment scores; a pipeline names its inputs itself.

    Raises:
        UsageError: The file cannot be understood, or something that it names is not there.
    """
    document, content = read_document(path, overrides)
    if is_deployment(content):
        return _deployment(document, content, inputs)
    if content.get("type", "pipeline") != "pipeline" or "jobs" not in content:
        raise ConfigError(f"{path}: {_unknown(content)}")
    if inputs:
        raise ConfigError(
            f"{path}: a pipeline names its inputs itself; give another one as `--set inputs.NAME=PATH`, not {inputs[0]}"
        )
    part = document.check(content, PIPELINE)
    settings = document.check(part.get("settings"), SETTINGS, "settings")
    bound = pipeline_inputs(document, part.get("inputs"))
    reader = JobReader(document, bound, targets(document, part.get("outputs"), "outputs"))
    if not isinstance(part["jobs"], dict) or not part["jobs"]:
        raise ConfigError(f"{path}: jobs must name at least one job")
    tasks = [reader.task(str(name), job) for name, job in part["jobs"].items()]
    submission = Submission(
        name=str(part.get("name") or part.get("experiment_name") or path.stem),
        tasks=tuple(_with_kind(task, reader.kinds) for task in tasks),
        parameters={name: shown for name, one in bound.items() if (shown := _shown(one)) is not None},
        outputs=reader.made,
        force=settings.get("force_rerun") is True,
        keep_going=settings.get("continue_on_step_failure") is True,
    )
    notes = [note for one in (document, *reader.documents) for note in one.notes]
    return Loaded(submission, tuple(notes))


def _unknown(content: Mapping[str, Any]) -> str:
    """What to do about a file that is neither a pipeline nor a batch deployment."""
    if "batchendpoint" in str(content.get("$schema", "")).lower():
        return "a batch endpoint says nothing of what is run; give the file of one of its deployments"
    found = f"type is {content['type']!r}" if "type" in content else "there is no type"
    jobs = "" if "jobs" in content else " and there are no jobs"
    return f"{found}{jobs}; give a file of type pipeline with jobs, or a batch deployment with code_configuration"


def _with_kind(task: Task, kinds: Mapping[Made, str]) -> Task:
    """A job whose input is what another step makes: it is of the type that the other step says, if it says none."""
    work = task.work
    if not isinstance(work, ParallelWork) or work.datasets[0].kind:
        return task
    source = task.inputs[work.datasets[0].input]
    kind = MLTABLE if isinstance(source, Made) and kinds.get(source) == MLTABLE else FILE
    return replace(task, work=replace(work, datasets=(replace(work.datasets[0], kind=kind),)))


def _deployment(document: Document, content: dict[str, Any], inputs: Sequence[str]) -> Loaded:
    task = deployment_task(document, content, inputs)
    submission = Submission(
        name=str(content.get("name") or document.path.stem),
        tasks=(task,),
        outputs={name: Made(task.name, name) for name in task.outputs},
    )
    return Loaded(submission, tuple(document.notes))


def _shown(bound: Bound) -> str | None:
    if isinstance(bound.source, Value):
        return bound.source.text
    return ", ".join(bound.source.paths) if isinstance(bound.source, Data) else None
