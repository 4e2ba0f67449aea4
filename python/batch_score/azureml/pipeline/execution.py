"""Running a pipeline: each step when what it needs has completed, independent ones beside each other."""

from __future__ import annotations

import os
import threading
import time
import traceback
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.azureml.pipeline.children import Children
from batch_score.azureml.pipeline.key import changes, check_here, key_of, parts_of
from batch_score.azureml.pipeline.place import copy_outputs, make_outputs, output_path
from batch_score.azureml.pipeline.record import (
    CANCELED,
    COMPLETED,
    FAILED,
    RUNNING,
    Earlier,
    EarlierRuns,
    PipelineRecord,
    StepRecord,
    new_folder,
    now,
    outputs_digest,
)
from batch_score.azureml.pipeline.task import Made, ParallelWork, folder_name, in_order
from batch_score.azureml.pipeline.work import Done, Site, carry_out
from batch_score.errors import BatchScoreError
from batch_score.job.layout import RUN_RECORD
from batch_score.telemetry.process import telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from batch_score.azureml.pipeline.task import Task

RUNS = "runs"
# Steps beside each other, unless there are more cores: hundreds of processes at once would be in each other's way.
AT_ONCE = 8


@dataclass(frozen=True)
class Submission:
    """What is to be run.

    Attributes:
        name: Of the pipeline; its runs are in a folder of that name.
        tasks: Its steps.
        parameters: Values by name, to be written down.
        outputs: Outputs of the pipeline by name, and which step makes them.
        force: No result of an earlier run is used.
        keep_going: When a step has failed, steps that do not need it run all the same.
        runs: The folder of all pipelines' folders.
    """

    name: str
    tasks: tuple[Task, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, Made] = field(default_factory=dict)
    force: bool = False
    keep_going: bool = False
    runs: Path = Path(RUNS)


class Execution:
    """One run of a pipeline.

    Args:
        submission: What is run; its names and connections are checked here, and the run's folder is made.
        report: Gets a line about each thing that happens; may be called from several threads.

    Raises:
        UsageError: The steps do not fit together, or a file of theirs is not there.
        OutputError: The folder cannot be made.
    """

    def __init__(self, submission: Submission, report: Callable[[str], None]) -> None:
        self._order = in_order(submission.tasks)
        for task in submission.tasks:
            check_here(task)
        self._submission = submission
        self._tasks = {task.name: task for task in submission.tasks}
        self._report = report
        self._children = Children()
        self._canceled = threading.Event()
        pipeline = (submission.runs / folder_name(submission.name)).absolute()
        self.folder = new_folder(pipeline)
        self.run_id = f"{pipeline.name}-{self.folder.name}"
        steps = [StepRecord(task.name, _kind(task), folder=task.folder) for task in submission.tasks]
        self.record = PipelineRecord(self.folder, submission.name, submission.parameters, steps, self.run_id)
        self._earlier = EarlierRuns(pipeline, self.folder)
        self.status = RUNNING
        self._carrier: dict[str, str] = {}
        self._ended_event = threading.Event()

    def start(self) -> None:
        """Begins to run all steps, in a thread that Python waits for."""
        threading.Thread(target=self._run, name=self.run_id).start()

    def join(self, timeout: float | None = None) -> None:
        """Waits for the end of what `start` began, at most `timeout` seconds."""
        # Not the thread's own `join`, which an exception of a signal handler makes believe that the thread has ended.
        self._ended_event.wait(timeout)

    def _run(self) -> None:
        try:
            self.run()
        except Exception as error:  # noqa: BLE001 - such as a full disk: whoever waits must learn of the end
            self.status = FAILED
            self._report(f"pipeline {self._submission.name}: {FAILED}: {error}")
        finally:
            self._ended_event.set()

    def run(self) -> str:
        """Runs all steps; gives `completed`, `failed` or `canceled`."""
        self._report(f"pipeline {self._submission.name}: run {self.folder}")
        with telemetry(os.environ, process="pipeline", scripts=False) as sender:
            sender.begin(self._submission.name, {"run": self.run_id, "steps": len(self._tasks)}, kind="pipeline")
            self._carrier = sender.carrier
            try:
                self._run_steps()
                self._ended()
            finally:
                cause = "" if self.status == COMPLETED else failures(self.record.steps) or self.status
                sender.end(self.status, cause, {})
        return self.status

    def _run_steps(self) -> None:
        with ThreadPoolExecutor(max(AT_ONCE, os.cpu_count() or 1), thread_name_prefix="step") as pool:
            running: dict[Future[None], str] = {}
            while self._order.is_active():
                for name in self._order.get_ready():
                    if self._may_begin(name):
                        running[pool.submit(self._step, self._tasks[name])] = name
                    else:
                        self.record.change(name, state=CANCELED)
                        self._order.done(name)
                ended, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in ended:
                    self._order.done(running.pop(future))
                    future.result()

    def cancel(self) -> None:
        """Ends what runs and waits for its end; jobs stop where they can be gone on with.

        Raises:
            KeyboardInterrupt: Once more; then everything is ended at once.
        """
        self._canceled.set()
        try:
            self._children.stop()
            self.join()
        except KeyboardInterrupt:
            self._children.kill()
            raise

    def output(self, made: Made) -> Path:
        """Where an output of a step is; it may not be there yet."""
        port = self._tasks[made.step].outputs[made.output]
        return (self.folder / self._tasks[made.step].folder).resolve() / output_path(made.output, port)

    def outputs_of(self, name: str) -> list[str]:
        """The names of a step's outputs."""
        return list(self._tasks[name].outputs)

    def _may_begin(self, name: str) -> bool:
        if self._canceled.is_set():
            return False
        states = {step.name: step.state for step in self.record.steps}
        if any(states[needed] != COMPLETED for needed in self._tasks[name].needs):
            return False
        return self._submission.keep_going or FAILED not in states.values()

    def _ended(self) -> None:
        states = {step.state for step in self.record.steps}
        self.status = CANCELED if self._canceled.is_set() else FAILED if FAILED in states else COMPLETED
        self.record.end(self.status, self.outputs)
        self._report(f"pipeline {self._submission.name}: {self.status}")

    @property
    def outputs(self) -> dict[str, str]:
        """Where the outputs of the pipeline are, by name; they may not be there yet."""
        return {name: str(self.output(made)) for name, made in self._submission.outputs.items()}

    def _step(self, task: Task) -> None:
        """Runs a step, or takes the result of an earlier run; whatever goes wrong is the step's failure."""
        began = time.monotonic()
        try:
            self._carried_out(task)
        except (BatchScoreError, OSError) as error:
            self._failed(task, Done(cause=str(error)), began)
        except Exception as error:  # noqa: BLE001 - a fault of our own is a failed step with a log, not a traceback
            log = self.folder / f"{task.folder}-internal-error.txt"
            log.write_text(traceback.format_exc(), encoding="utf-8")
            cause = f"internal error, please report it: {type(error).__name__}: {error}"
            self._failed(task, Done(cause=cause, log=str(log)), began)

    def _carried_out(self, task: Task) -> None:
        began = time.monotonic()
        parts = parts_of(task, {name: self.record.step(name).id for name in task.needs})
        key = key_of(parts)
        earlier = self._usable(task, key)
        if earlier is not None:
            self._reuse(task, earlier, parts)
            return
        why = self._why(task, key, parts)
        self._report(f"step {task.name}: started{why}")
        self.record.change(task.name, state=RUNNING, id=uuid.uuid4().hex, key=key, parts=parts, started=now())
        folder = self.folder / task.folder
        folder.mkdir()
        make_outputs(task, folder)
        done = carry_out(task, self._site(task, key, folder), self._children)
        if done.folder is not None and done.folder != folder:  # an earlier attempt was gone on with
            self._link(task, done.folder)
            folder = done.folder
        if done.cause:
            self._failed(task, done, began)
            return
        copy_outputs(task, folder)
        elapsed = time.monotonic() - began
        self.record.change(
            task.name, state=COMPLETED, elapsed_s=round(elapsed, 3), log=done.log, outputs=_outputs(task, folder)
        )
        self._report(f"step {task.name}: completed in {elapsed:.1f} s" + (f", {done.said}" if done.said else ""))

    def _site(self, task: Task, key: str, folder: Path) -> Site:
        made = [source for source in task.inputs.values() if isinstance(source, Made)]
        return Site(
            folder=folder,
            run=self.folder,
            run_id=f"{self.run_id}-{task.folder}",
            root_id=self.run_id,
            experiment=self.folder.parent.name,
            made={source: self.output(source) for source in made},
            report=lambda line: self._report(f"step {task.name}: {line}"),
            unfinished=self._unfinished(task, key),
            carrier=self._carrier,
        )

    def _usable(self, task: Task, key: str) -> Earlier | None:
        """The newest run of an equal step that has completed and whose outputs are as it left them."""
        if self._submission.force or not task.reuse:
            return None
        equal = (one for one in self._earlier.of(task.name) if one.step.key == key and one.step.state == COMPLETED)
        return next((one for one in equal if one.intact()), None)

    def _unfinished(self, task: Task, key: str) -> tuple[Path, ...]:
        """Runs of an equal job that have not ended."""
        if self._submission.force or not task.reuse or not isinstance(task.work, ParallelWork):
            return ()
        folders = [
            one.folder
            for one in self._earlier.of(task.name)
            if one.step.key == key and one.step.state != COMPLETED and (one.folder / RUN_RECORD).is_file()
        ]
        return tuple(dict.fromkeys(folders[:1]))

    def _why(self, task: Task, key: str, parts: Mapping[str, str]) -> str:
        """What is not as it was in the last run of the step, for whoever expected it to be used again."""
        last = next(self._earlier.of(task.name), None)
        if last is None or self._submission.force or not task.reuse:
            return ""
        if last.step.key != key:
            return f", because other than in its last run: {', '.join(changes(last.step.parts, parts))}"
        return ", because its outputs were changed" if last.step.state == COMPLETED else ""

    def _reuse(self, task: Task, earlier: Earlier, parts: Mapping[str, str]) -> None:
        step = earlier.step
        self._link(task, earlier.folder)
        copy_outputs(task, earlier.folder)
        self.record.change(
            task.name,
            state=COMPLETED,
            id=step.id,
            key=step.key,
            parts=parts,
            reused_from=str(earlier.folder),
            outputs=step.outputs,
            log=step.log,
        )
        self._report(f"step {task.name}: reused from {earlier.folder}")

    def _link(self, task: Task, folder: Path) -> None:
        """Lets the step's folder in this run lead to the one that has the result."""
        link = self.folder / task.folder
        if link.is_dir() and not link.is_symlink():
            for path in sorted(link.rglob("*"), reverse=True):
                path.rmdir()
            link.rmdir()
        link.symlink_to(os.path.relpath(folder, self.folder))

    def _failed(self, task: Task, done: Done, began: float) -> None:
        state = CANCELED if self._canceled.is_set() else FAILED
        elapsed = round(time.monotonic() - began, 3)
        self.record.change(task.name, state=state, cause=done.cause, log=done.log, elapsed_s=elapsed)
        where = f"; log {done.log}" if done.log else ""
        first, *rest = done.cause.split("\n")
        self._report("\n".join([f"step {task.name}: {state}: {first}{where}", *rest]))


def _outputs(task: Task, folder: Path) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for name, port in task.outputs.items():
        path = output_path(name, port)
        found[name] = (path, outputs_digest(folder / path))
    return found


def _kind(task: Task) -> str:
    return type(task.work).__name__.removesuffix("Work").lower()


def failures(steps: Sequence[StepRecord]) -> str:
    """The steps that failed, each with its cause and where to read on."""
    failed = [step for step in steps if step.state == FAILED]
    return "; ".join(
        f"step {step.name!r} failed: {step.cause}" + (f"; log {step.log}" if step.log else "") for step in failed
    )
