"""`pipeline_run.json`: what a run of a pipeline has done, and where an earlier run has what a new one needs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score.azureml.pipeline.key import DIGITS, files_below
from batch_score.errors import OutputError
from batch_score.job.layout import PIPELINE_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FORMAT = 1
WAITING, RUNNING, COMPLETED, FAILED, CANCELED = "waiting", "running", "completed", "failed", "canceled"
ENDED = (COMPLETED, FAILED, CANCELED)


@dataclass(frozen=True)
class StepRecord:
    """What became of a step.

    Attributes:
        name: The step.
        kind: `script`, `command` or `parallel`.
        state: `waiting`, `running`, `completed`, `failed` or `canceled`.
        id: Of the run of the step that made the result; steps that need it depend on it.
        key: What the result depends on, as one hash.
        parts: The same in parts.
        folder: The step's folder, relative to that of the run; of a reused step a link to the earlier one's.
        reused_from: That folder, absolute; None when the step ran.
        outputs: Path of each output, relative to `folder`, and a hash over its files (path, size, time).
        started: When it began, as ISO text.
        elapsed_s: Seconds it took.
        cause: Why it failed.
        log: Where to read on.
    """

    name: str
    kind: str
    state: str = WAITING
    id: str = ""
    key: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""
    reused_from: str | None = None
    outputs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    started: str | None = None
    elapsed_s: float = 0.0
    cause: str = ""
    log: str | None = None

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `asdict` gave; raises TypeError or ValueError for something else."""
        outputs = {name: (str(path), str(digest)) for name, (path, digest) in content.get("outputs", {}).items()}
        return cls(**{**content, "outputs": outputs})


@dataclass(frozen=True)
class Earlier:
    """A step of an earlier run.

    Attributes:
        step: What is written of it.
        folder: Its folder, absolute, links followed.
    """

    step: StepRecord
    folder: Path

    def intact(self) -> bool:
        """Its outputs are there and no file of them was changed."""
        try:
            return all(self.folder.joinpath(path).exists() for path, _ in self.step.outputs.values()) and all(
                outputs_digest(self.folder / path) == digest for path, digest in self.step.outputs.values()
            )
        except (OSError, OutputError):
            return False


def outputs_digest(path: Path) -> str:
    """A hash over the files of an output, as they are on the disk: names below it, sizes, times."""
    if not path.exists():
        return ""
    text = "".join(_line(Path(name), path) for name in files_below(str(path)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]


def _line(file: Path, root: Path) -> str:
    state = file.stat()
    return f"{file.relative_to(root)}\0{state.st_size}\0{state.st_mtime_ns}\0"


class PipelineRecord:
    """The record of a run while it runs. Steps may be changed from several threads.

    Args:
        folder: The run's folder, which is there and this run's alone.
        name: The pipeline.
        parameters: Their values, as text.
        steps: In the order in which they were described.
    """

    def __init__(
        self, folder: Path, name: str, parameters: Mapping[str, str], steps: Sequence[StepRecord], run_id: str
    ) -> None:
        self.folder = folder
        self._steps = {step.name: step for step in steps}
        self._lock = threading.Lock()
        self._content: dict[str, Any] = {
            "format": FORMAT,
            "pipeline": name,
            "run_id": run_id,
            "status": RUNNING,
            "started": now(),
            "parameters": dict(parameters),
        }

    def step(self, name: str) -> StepRecord:
        """What is known of a step."""
        with self._lock:
            return self._steps[name]

    @property
    def steps(self) -> list[StepRecord]:
        """All steps, in the order in which they were described."""
        with self._lock:
            return list(self._steps.values())

    def change(self, name: str, **changes: Any) -> StepRecord:
        """Writes down what became of a step."""
        with self._lock:
            self._steps[name] = step = replace(self._steps[name], **changes)
            self._write()
        return step

    def end(self, status: str, outputs: Mapping[str, str]) -> None:
        """Writes down how the run ended, and where the outputs of the pipeline are."""
        with self._lock:
            self._content |= {"status": status, "ended": now(), "outputs": dict(outputs)}
            self._write()

    def _write(self) -> None:
        content = {**self._content, "steps": [asdict(step) for step in self._steps.values()]}
        path = self.folder / PIPELINE_RECORD
        draft = path.with_name(f".{PIPELINE_RECORD}.{os.getpid()}")
        draft.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        draft.replace(path)


def now() -> str:
    """This moment as ISO text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_folder(pipeline: Path) -> Path:
    """A folder for a new run, named by the time; no other run has it.

    Raises:
        OutputError: It cannot be made.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        folder = pipeline / (stamp if number == 1 else f"{stamp}-{number}")
        try:
            pipeline.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise OutputError(f"{folder}: {error.strerror}; give a folder for runs that can be written") from error
        else:
            return folder


class EarlierRuns:
    """The runs of a pipeline before this one, the newest first; each is read at most once.

    Args:
        pipeline: The folder of the pipeline.
        but: The folder of this run.
    """

    def __init__(self, pipeline: Path, but: Path) -> None:
        self._pipeline = pipeline
        self._but = but.name
        self._lock = threading.Lock()
        self._read: list[list[Earlier]] = []
        self._rest = self._runs()

    def of(self, name: str) -> Iterator[Earlier]:
        """The runs of a step that began, the newest first."""
        position = 0
        while True:
            with self._lock:
                if position == len(self._read):
                    steps = next(self._rest, None)
                    if steps is None:
                        return
                    self._read.append(steps)
                found = [one for one in self._read[position] if one.step.name == name and one.step.key]
            yield from found
            position += 1

    def _runs(self) -> Iterator[list[Earlier]]:
        for path in sorted(self._pipeline.glob(f"*/{PIPELINE_RECORD}"), key=_age, reverse=True):
            if path.parent.name != self._but:
                yield _steps(path)


def _age(path: Path) -> list[int]:
    """Sorts folders by time and number."""
    return [int(digits) for digits in re.findall(r"\d+", path.parent.name)]


def _steps(path: Path) -> list[Earlier]:
    """The steps of an earlier run; none if its record cannot be read, or is of another format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            return []
        steps = [StepRecord.from_json(one) for one in content["steps"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    return [Earlier(step, path.parent.joinpath(step.folder).resolve()) for step in steps]
