"""Pipelines as SDK v1 spells them: `azureml.pipeline.core`."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.data import PipelineData
from batch_score.azureml.names import check_names
from batch_score.azureml.pipeline.execution import Execution, Submission, failures
from batch_score.azureml.pipeline.steps import PipelineParameter, Step, tasks_of
from batch_score.azureml.pipeline.task import Made
from batch_score.errors import ConfigError, JobFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batch_score.azureml.pipeline.record import StepRecord

__all__ = [
    "Pipeline",
    "PipelineData",
    "PipelineParameter",
    "PipelineRun",
    "RunDetails",
    "StepOutput",
    "StepRun",
    "StepSequence",
]

# As SDK v1 names the states of runs and of steps.
STATES = {
    "waiting": "NotStarted",
    "running": "Running",
    "completed": "Finished",
    "failed": "Failed",
    "canceled": "Canceled",
}
DEFAULT_NAME = "pipeline"
SUBMISSION = (
    *("experiment_name", "pipeline_parameters", "continue_on_step_failure", "regenerate_outputs"),
    *("parent_run_id", "credential_passthrough", "tags", "description"),
)


class StepSequence:
    """Steps of which each begins when the one before has completed.

    Args:
        steps: The steps.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        for before, after in zip(self.steps, self.steps[1:], strict=False):
            after.run_after(before)


class Pipeline:
    """Steps that are run together.

    Args:
        workspace: Kept.
        steps: Steps, lists of steps and sequences; those whose outputs they need need not be named.
        description: Kept.
        default_source_directory: For steps that have none.

    Raises:
        ConfigError: The steps do not fit together.
    """

    def __init__(
        self,
        workspace: Any = None,
        steps: Any = (),
        description: str | None = None,
        default_datastore: Any = None,
        default_source_directory: str | None = None,
        resolve_closure: bool = True,  # noqa: FBT001, FBT002 - as existing code gives it
    ) -> None:
        del default_datastore, resolve_closure
        self.workspace = workspace
        self.description = description
        self._steps = _with_needed(list(_flat(steps)))
        self._source_directory = default_source_directory

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters of all steps with their default values, by name.

        Raises:
            ConfigError: One name has two default values.
        """
        found: dict[str, Any] = {}
        for parameter in (one for step in self._steps for one in step.parameters()):
            if found.setdefault(parameter.name, parameter.default_value) != parameter.default_value:
                raise ConfigError(f"PipelineParameter {parameter.name!r} has two default values; give it one")
        return found

    def validate(self) -> list[str]:
        """Checks the steps; gives nothing, because what is wrong is an error.

        Raises:
            ConfigError: The steps do not fit together.
        """
        tasks_of(self._steps, self.parameters, self._source_directory)
        return []

    def submit(
        self,
        experiment_name: str | None = None,
        pipeline_parameters: Mapping[str, Any] | None = None,
        continue_on_step_failure: bool = False,  # noqa: FBT001, FBT002 - as existing code gives it
        regenerate_outputs: bool = False,  # noqa: FBT001, FBT002 - as above
        **unused: Any,
    ) -> PipelineRun:
        """Begins to run the pipeline on this machine and returns at once; the run ends before Python does.

        Args:
            experiment_name: The runs are in `runs/<experiment_name>`.
            pipeline_parameters: Values other than the defaults, by name.
            continue_on_step_failure: When a step has failed, steps that do not need it run all the same.
            regenerate_outputs: No result of an earlier run is used.
            unused: `parent_run_id`, `credential_passthrough`, `tags` and `description` have no meaning here.

        Raises:
            UsageError: Something that was found before anything was started.
        """
        check_names(unused, SUBMISSION, "Pipeline.submit", "parameter")
        values = self.parameters
        check_names(pipeline_parameters or {}, values, "pipeline_parameters", "parameter")
        values |= pipeline_parameters or {}
        tasks, notes = tasks_of(self._steps, values, self._source_directory)
        submission = Submission(
            name=experiment_name or DEFAULT_NAME,
            tasks=tuple(tasks),
            parameters={name: str(value) for name, value in values.items()},
            force=bool(regenerate_outputs),
            keep_going=bool(continue_on_step_failure),
        )
        return PipelineRun(submission, notes)

    def publish(self, *_: Any, **_others: Any) -> None:
        """There is no service that a pipeline could be published to.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "a pipeline is published to a service, and here is none; call submit() from a script, and let cron or "
            "another scheduler run that"
        )


def _flat(steps: Any) -> Iterator[Step]:
    if isinstance(steps, Step):
        yield steps
    elif isinstance(steps, StepSequence):
        yield from steps.steps
    elif isinstance(steps, (list, tuple)):
        for one in steps:
            yield from _flat(one)
    else:
        raise ConfigError(f"steps must be steps, lists of them or a StepSequence, got a {type(steps).__name__}")


def _with_needed(steps: list[Step]) -> list[Step]:
    """The steps and those that they need, each once, and after those that it needs."""
    found: dict[Step, None] = {}
    begun: set[Step] = set()

    def take(step: Step) -> None:
        if step not in begun:
            begun.add(step)
            for one in step.needed():
                take(one)
            found[step] = None

    for step in steps:
        take(step)
    if not found:
        raise ConfigError("a pipeline needs at least one step")
    return list(found)


class PipelineRun:
    """A run of a pipeline, which has begun.

    Args:
        submission: What is run.
        notes: What should be known before.

    Attributes:
        id: Of the run.
        folder: The run's folder.
    """

    def __init__(self, submission: Submission, notes: Sequence[str] = ()) -> None:
        self._said = [f"note: {note}" for note in notes]
        self._show = threading.Lock()
        self._shown: int | None = None
        self._execution = Execution(submission, self._say)
        self.id = self._execution.run_id
        self.folder = self._execution.folder
        self._execution.start()

    def __repr__(self) -> str:
        return f"PipelineRun(id={self.id!r}, status={self.get_status()!r}, folder={str(self.folder)!r})"

    def wait_for_completion(
        self,
        show_output: bool = True,  # noqa: FBT001, FBT002 - as existing code gives it
        timeout_seconds: float = threading.TIMEOUT_MAX,
        raise_on_error: bool = True,  # noqa: FBT001, FBT002 - as above
    ) -> str:
        """Waits for the end.

        Args:
            show_output: Print what happens.
            timeout_seconds: How long to wait.
            raise_on_error: A run that failed is an error.

        Returns:
            `Finished`, `Failed` or `Canceled`; `Running` if it has not ended.

        Raises:
            JobFailedError: A step failed; the message says why and where its log is.
            KeyboardInterrupt: The run was interrupted from the keyboard, and has ended.
        """
        if show_output:
            self._show_from_now()
        try:
            self._execution.join(min(timeout_seconds, threading.TIMEOUT_MAX))
        except KeyboardInterrupt:
            self.cancel()
            raise
        if raise_on_error and self.get_status() == STATES["failed"]:
            raise JobFailedError(failures(self._execution.record.steps))
        return self.get_status()

    def cancel(self) -> None:
        """Ends the run: jobs stop where a later run goes on with them, scripts are ended."""
        self._execution.cancel()

    def get_status(self) -> str:
        """`Running`, `Finished`, `Failed` or `Canceled`."""
        return STATES[self._execution.status]

    @property
    def status(self) -> str:
        """As `get_status()`."""
        return self.get_status()

    def get_steps(self) -> list[StepRun]:
        """The steps, in the order in which the pipeline has them."""
        return [StepRun(self._execution, step.name) for step in self._execution.record.steps]

    def get_children(self, *_: Any, **_others: Any) -> Iterator[StepRun]:
        """The steps, the last one first, as SDK v1 has them."""
        return iter(self.get_steps()[::-1])

    def find_step_run(self, name: str) -> list[StepRun]:
        """The steps of that name."""
        return [step for step in self.get_steps() if step.name == name]

    def get_details(self) -> dict[str, Any]:
        """Id, status and folder."""
        return {"runId": self.id, "status": self.get_status(), "folder": str(self.folder)}

    def get_portal_url(self) -> str:
        """The run's folder."""
        return self.folder.as_uri()

    def _say(self, text: str) -> None:
        with self._show:
            self._said.append(text)
            if self._shown is not None:
                sys.stdout.write(f"{text}\n")

    def _show_from_now(self) -> None:
        with self._show:
            for text in self._said[self._shown or 0 :]:
                sys.stdout.write(f"{text}\n")
            self._shown = len(self._said)


class StepRun:
    """A step of a run.

    Args:
        execution: The run.
        name: Of the step.
    """

    def __init__(self, execution: Execution, name: str) -> None:
        self._execution = execution
        self.name = name

    def __repr__(self) -> str:
        return f"StepRun(name={self.name!r}, status={self.get_status()!r})"

    @property
    def _record(self) -> StepRecord:
        return self._execution.record.step(self.name)

    @property
    def id(self) -> str:
        """Of the step in this run."""
        return f"{self._execution.run_id}-{self._record.folder}"

    @property
    def status(self) -> str:
        """As `get_status()`."""
        return self.get_status()

    @property
    def folder(self) -> Path:
        """The step's folder; that of an earlier run if its result was used again."""
        return (self._execution.folder / self._record.folder).resolve()

    @property
    def reused(self) -> bool:
        """The result is that of an earlier run."""
        return self._record.reused_from is not None

    def get_status(self) -> str:
        """`NotStarted`, `Running`, `Finished`, `Failed` or `Canceled`."""
        return STATES[self._record.state]

    def wait_for_completion(self, *_: Any, **_others: Any) -> str:
        """The state; wait for the run of the pipeline to know the last one."""
        return self.get_status()

    def get_output_data(self, name: str) -> StepOutput:
        """An output by its name.

        Raises:
            ConfigError: The step has no such output.
        """
        outputs = self._execution.outputs_of(self.name)
        check_names([name], outputs, f"step {self.name!r}", "output")
        return StepOutput(self._execution.output(Made(self.name, name)), self.id, name)

    def get_outputs(self) -> dict[str, StepOutput]:
        """All outputs by name."""
        return {name: self.get_output_data(name) for name in self._execution.outputs_of(self.name)}

    def get_details(self) -> dict[str, Any]:
        """Id, status, folder, and of a step that failed why."""
        record = self._record
        found = {"runId": self.id, "status": self.get_status(), "folder": str(self.folder), "log": record.log}
        return found | ({"error": record.cause} if record.cause else {})

    def get_details_with_logs(self) -> dict[str, Any]:
        """The same with the text of the log."""
        log = self._record.log
        text = Path(log).read_text(encoding="utf-8", errors="replace") if log and Path(log).is_file() else ""
        return {**self.get_details(), "logFiles": {log: text} if log else {}}


@dataclass(frozen=True)
class StepOutput:
    """What a step has written.

    Attributes:
        path: Where it is.
        run_id: Of the step.
        name: Of the output.
    """

    path: Path
    run_id: str
    name: str

    @property
    def path_on_datastore(self) -> str:
        """Where `download` puts the files, below the folder that it is given."""
        return f"azureml/{self.run_id}/{self.name}"

    def get_port_data_reference(self) -> StepOutput:
        """Itself."""
        return self

    def download(
        self,
        local_path: str | Path,
        overwrite: bool | None = None,  # noqa: FBT001 - as existing code gives it
        show_progress: bool | None = None,  # noqa: FBT001 - as above
    ) -> int:
        """Copies the files into a folder, below `path_on_datastore`; gives how many were copied."""
        import shutil  # noqa: PLC0415 - few need it

        del show_progress
        files = [self.path] if self.path.is_file() else [one for one in self.path.rglob("*") if one.is_file()]
        root = self.path.parent if self.path.is_file() else self.path
        count = 0
        for file in sorted(files):
            target = Path(local_path, self.path_on_datastore, file.relative_to(root))
            if overwrite or not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
                count += 1
        return count

    def __fspath__(self) -> str:
        return os.fspath(self.path)


class RunDetails:
    """Prints what a notebook's widget would show.

    Args:
        run: The run.
    """

    def __init__(self, run: PipelineRun) -> None:
        self._run = run

    def show(self, *_: Any, **_others: Any) -> None:
        """Prints the state of the run and of its steps."""
        states = "".join(f"  {step.name}: {step.get_status()}\n" for step in self._run.get_steps())
        sys.stdout.write(f"{self._run.id}: {self._run.get_status()}\n{states}")
