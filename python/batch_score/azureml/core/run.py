"""`azureml.core.Run`: the run that a script belongs to, in a worker, in a pipeline step, or in neither.

Values that are logged land in `metrics.jsonl` of the run directory, tags, states and files in `events.jsonl` and
`uploads/`. A worker may die and its mini-batch be tried again: what was logged by then stays, and is logged again.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid
from collections import defaultdict
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score.azureml.core.experiment import Experiment
from batch_score.azureml.core.workspace import Workspace
from batch_score.azureml.metrics import EVENTS, METRICS, append, now, plain, records
from batch_score.errors import ConfigError, ModelError
from batch_score.telemetry.base import METRIC_LEVEL
from batch_score.telemetry.base import METRICS as VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from batch_score.azureml.core.model import Model

FOLDER, ID = "BATCH_SCORE_RUN_DIR", "AZUREML_RUN_ID"
PARENT_FOLDER, ROOT_ID = "BATCH_SCORE_PARENT_RUN_DIR", "AZUREML_ROOT_RUN_ID"
EXPERIMENT, PROJECT = "AZUREML_EXPERIMENT_NAME", "AZUREML_ARM_PROJECT_NAME"
OFFLINE = "OfflineRun_"
UPLOADS = "uploads"
RUNNING, COMPLETED, FAILED, CANCELED = "Running", "Completed", "Failed", "Canceled"
# As a job's record has them.
STATES = {"completed": COMPLETED, "failed": FAILED, "interrupted": CANCELED}
# Telemetry listens to this logger, on a level below all that log files show.
logger = logging.getLogger(VALUES)


class Run:
    """A run: where its values, tags and files go.

    Args:
        experiment: What it belongs to.
        run_id: Its id.
        outputs: Not used; accepted because existing code gives it.
        folder: The run directory, by default `runs/RUN_ID`. It is made when something is written.
        parent: The run that this one is a child of.
        name: What people call it.
    """

    def __init__(
        self,
        experiment: Experiment | None = None,
        run_id: str | None = None,
        outputs: Any = None,
        *,
        folder: Path | None = None,
        parent: Run | None = None,
        name: str | None = None,
    ) -> None:
        del outputs
        self.id = run_id or str(uuid.uuid4())
        self.name = name or self.id
        self.folder = (Path("runs", self.id) if folder is None else folder).absolute()
        self._experiment = experiment
        self._parent = parent

    @staticmethod
    def get_context(allow_offline: bool = True, **_: Any) -> Run:  # noqa: FBT001, FBT002 - as existing code gives it
        """The run that this process belongs to; where there is none one whose id begins with `OfflineRun_`.

        Raises:
            ConfigError: There is none, and `allow_offline` is false.
        """
        folder = os.environ.get(FOLDER)
        if folder:
            return Run(run_id=os.environ.get(ID) or Path(folder).name, folder=Path(folder), parent=_parent())
        if not allow_offline:
            raise ConfigError(f"this process belongs to no run ({FOLDER} is not set); leave allow_offline at True")
        run_id = _offline_id()
        return _OfflineRun(run_id=run_id, parent=Run(run_id=f"{run_id}_pipeline", folder=Path("runs", run_id)))

    @property
    def experiment(self) -> Experiment:
        """What the run belongs to, and by it the workspace."""
        if self._experiment is None:
            name = os.environ.get(EXPERIMENT) or os.environ.get(PROJECT) or "batch-score"
            self._experiment = Experiment(Workspace(), name)
        return self._experiment

    @property
    def input_datasets(self) -> dict[str, Any]:
        """A pipeline step's named inputs: a dataset for a table, else the path."""
        from batch_score.azureml.data import input_datasets  # noqa: PLC0415 - few scripts ask, and it imports Arrow

        return input_datasets()

    @property
    def parent(self) -> Run | None:
        """The run around this one: a child's is what made it, a job's the pipeline's, a pipeline's None.

        A job that no pipeline started has a parent too, which writes into the same files.
        """
        return self._parent

    @property
    def number(self) -> int:
        """Always 1: runs are not counted here."""
        return 1

    @property
    def display_name(self) -> str:
        """The name."""
        return self.name

    @property
    def type(self) -> str:
        """The kind of run."""
        return "batch-score"

    @property
    def status(self) -> str:
        """As `get_status()`."""
        return self.get_status()

    @property
    def tags(self) -> dict[str, str]:
        """As `get_tags()`."""
        return self.get_tags()

    @property
    def properties(self) -> dict[str, str]:
        """As `get_properties()`."""
        return self.get_properties()

    def __repr__(self) -> str:
        return f"Run(id={self.id!r}, folder={str(self.folder)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.complete() if error is None else self.fail(str(error))

    # --- values

    def log(self, name: str, value: Any, description: str | None = "", step: int | None = None) -> None:
        """Logs one number or text; several under one name make a list."""
        self._metric("scalar", name, value, description, step=step)

    def log_list(self, name: str, value: Sequence[Any], description: str | None = "") -> None:
        """Logs a list of numbers or texts."""
        self._metric("list", name, list(value), description)

    def log_row(self, name: str, description: str | None = None, **columns: Any) -> None:
        """Logs one row of a table; the keywords are its columns."""
        self._metric("row", name, columns, description)

    def log_table(self, name: str, value: Mapping[str, Any], description: str | None = "") -> None:
        """Logs a table as a mapping of column names to lists, or of one row's names to values."""
        self._metric("table", name, dict(value), description)

    def log_image(self, name: str, path: str | Path | None = None, plot: Any = None, description: str = "") -> None:
        """Keeps an image file, or what `plot.savefig` of matplotlib writes, among the run's files.

        Raises:
            ConfigError: Not exactly one of `path` and `plot` is given.
        """
        if (path is None) == (plot is None):
            raise ConfigError(f"log_image({name!r}) needs a path or a plot, one of them")
        target = self._place(f"{name}{Path(path).suffix if path else '.png'}")
        if path is not None:
            _copied(Path(path), target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            plot.savefig(target, format="png")
        self._metric("image", name, str(target.relative_to(self.folder)), description)

    def log_confusion_matrix(self, name: str, value: Any, description: str | None = "") -> None:
        """Logs a confusion matrix as it is given."""
        self._metric("confusion_matrix", name, value, description)

    def log_accuracy_table(self, name: str, value: Any, description: str | None = "") -> None:
        """Logs an accuracy table as it is given."""
        self._metric("accuracy_table", name, value, description)

    def log_predictions(self, name: str, value: Any, description: str | None = "") -> None:
        """Logs predictions as they are given."""
        self._metric("predictions", name, value, description)

    def log_residuals(self, name: str, value: Any, description: str | None = "") -> None:
        """Logs residuals as they are given."""
        self._metric("residuals", name, value, description)

    def _metric(self, kind: str, name: str, value: Any, description: str | None, *, step: int | None = None) -> None:
        record = self._record({"kind": kind, "name": str(name), "value": plain(value)})
        record |= {key: one for key, one in (("description", description), ("step", step)) if one not in (None, "")}
        append(self.folder / METRICS, record)
        logger.log(METRIC_LEVEL, "%s", name, extra={"metric": record})

    def get_metrics(
        self,
        name: str | None = None,
        recursive: bool = False,  # noqa: FBT001, FBT002 - as existing code gives it
        **_: Any,
    ) -> dict[str, Any]:
        """What was logged so far, by any process.

        Args:
            name: Only this one.
            recursive: With what children have logged.

        Returns:
            By name a value, or the list of values where there are several; rows as one table.
        """
        found: dict[str, list[Any]] = defaultdict(list)
        rows: dict[str, dict[str, list[Any]]] = {}
        ids = {self.id, *(child.id for child in self.get_children(recursive=True))} if recursive else {self.id}
        for record in records(self.folder / METRICS):
            if record.get("run") not in ids or name not in (None, record["name"]):
                continue
            if record["kind"] == "row":
                table = rows.setdefault(record["name"], defaultdict(list))
                for column, value in record["value"].items():
                    table[column].append(value)
            else:
                found[record["name"]].append(record["value"])
        tables = {key: {column: _one(values) for column, values in table.items()} for key, table in rows.items()}
        return {key: _one(values) for key, values in found.items()} | tables

    def flush(self, timeout_seconds: int = 300) -> None:
        """Does nothing: what was logged is in the files already."""

    # --- states, tags, children

    def complete(self, _set_status: bool = True) -> None:  # noqa: FBT001, FBT002 - as existing code gives it
        """Notes that the run is over. A job itself goes on until all its mini-batches are."""
        self._event("status", status=COMPLETED)

    def fail(self, error_details: Any = None, error_code: Any = None, **_: Any) -> None:
        """Notes that the run has failed. It is for exceptions and thresholds to make a job fail."""
        self._event("status", status=FAILED, error=plain(error_details), code=plain(error_code))

    def cancel(self) -> None:
        """Notes that the run was given up."""
        self._event("status", status=CANCELED)

    def start(self) -> None:
        """Notes that the run has begun."""
        self._event("status", status=RUNNING)

    def get_status(self) -> str:
        """The state that was noted last; if none was, that of the job whose run directory this is, else `Running`."""
        found = [record["status"] for record in self._events("status")]
        if found or self.folder.name != self.id:
            return str(found[-1]) if found else RUNNING
        try:
            content = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
            return STATES.get(content["status"], RUNNING)
        except (OSError, ValueError, LookupError, TypeError):
            return RUNNING

    def get_details(self) -> dict[str, Any]:
        """Id, state, tags and properties."""
        return {"runId": self.id, "status": self.status, "tags": self.tags, "properties": self.properties}

    def tag(self, key: str, value: Any = None) -> None:
        """Gives the run a tag."""
        self.set_tags({key: value})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Gives the run several tags."""
        self._event("tags", set={str(key): "" if value is None else str(value) for key, value in tags.items()})

    def remove_tags(self, tags: Iterable[str]) -> None:
        """Takes tags away."""
        self._event("tags", removed=[tags] if isinstance(tags, str) else [str(tag) for tag in tags])

    def get_tags(self) -> dict[str, str]:
        """The tags."""
        return self._named("tags")

    def add_properties(self, properties: Mapping[str, Any]) -> None:
        """Adds properties, which stay."""
        self._event("properties", set={str(key): str(value) for key, value in properties.items()})

    def get_properties(self) -> dict[str, str]:
        """The properties."""
        return self._named("properties")

    def _named(self, kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for record in self._events(kind):
            found |= record.get("set", {})
            for key in record.get("removed", ()):
                found.pop(key, None)
        return found

    def child_run(self, name: str | None = None, run_id: str | None = None, outputs: Any = None) -> Run:
        """Begins a run within this one; it writes into the same files under an id of its own."""
        child = Run(
            self._experiment,
            run_id or f"{self.id}_{uuid.uuid4().hex}",
            outputs,
            folder=self.folder,
            parent=self,
            name=name,
        )
        self._event("child", child=child.id, name=child.name)
        return child

    def create_children(
        self, count: int | None = None, tag_key: str | None = None, tag_values: Sequence[Any] = ()
    ) -> list[Run]:
        """Begins several runs within this one, one for each value of a tag or `count` of them."""
        if not tag_values:
            return [self.child_run() for _ in range(count or 0)]
        children = [self.child_run() for _ in tag_values]
        for child, value in zip(children, tag_values, strict=True):
            child.tag(str(tag_key), value)
        return children

    def get_children(
        self,
        recursive: bool = False,  # noqa: FBT001, FBT002 - as existing code gives it
        tags: Any = None,
        **_: Any,
    ) -> Iterator[Run]:
        """The runs within this one, in the order in which they began."""
        for record in list(self._events("child")):
            child = Run(self._experiment, record["child"], folder=self.folder, parent=self, name=record["name"])
            if tags is None or (tags in child.tags if isinstance(tags, str) else tags.items() <= child.tags.items()):
                yield child
            if recursive:
                yield from child.get_children(recursive=True, tags=tags)

    # --- files

    def upload_file(self, name: str, path_or_stream: Any, **_: Any) -> Path:
        """Keeps a copy of a file, or of what a binary stream gives, under `name`; a later one takes its place.

        Raises:
            ConfigError: `name` leads out of the run.
            OSError: The file cannot be read, or not be copied.
        """
        target = self._place(name)
        if hasattr(path_or_stream, "read"):
            with _draft(target) as draft, draft.open("wb") as file:
                shutil.copyfileobj(path_or_stream, file)
        else:
            _copied(Path(path_or_stream), target)
        self._event("file", name=name)
        return target

    def upload_files(self, names: Sequence[str], paths: Sequence[str | Path], **_: Any) -> None:
        """Keeps copies of several files."""
        for name, path in zip(names, paths, strict=True):
            self.upload_file(name, path)

    def upload_folder(self, name: str, path: str | Path, **_: Any) -> Path:
        """Keeps copies of all files of a folder under `name`."""
        root = Path(path)
        if not root.is_dir():
            raise ConfigError(f"upload_folder: {root} is not a folder; give one")
        for file in sorted(one for one in root.rglob("*") if one.is_file()):
            self.upload_file(f"{name}/{file.relative_to(root).as_posix()}", file)
        return self._place(name)

    def get_file_names(self) -> list[str]:
        """The names of the files that were kept."""
        return list(dict.fromkeys(record["name"] for record in self._events("file")))

    def download_file(self, name: str, output_file_path: str | Path | None = None, **_: Any) -> None:
        """Copies a file that was kept; a path that ends with a slash, or a folder, gets it under its own name."""
        source = self._place(name)
        target = Path(output_file_path or source.name)
        if target.is_dir() or str(output_file_path or "").endswith("/"):
            target /= source.name
        _copied(source, target)

    def download_files(self, prefix: str | None = None, output_directory: str | Path | None = None, **_: Any) -> None:
        """Copies all files whose name begins with `prefix` into a folder, under their names."""
        for name in self.get_file_names():
            if name.startswith(prefix or ""):
                _copied(self._place(name), Path(output_directory or ".") / name)

    def register_model(
        self,
        model_name: str,
        model_path: str | Path | None = None,
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        **about: Any,
    ) -> Model:
        """Registers a file or folder of the run: one that was uploaded, or else lies in the current folder.

        Args:
            model_name: The name to register it under.
            model_path: Its name or path, by default `model_name`.
            tags: Names and values.
            properties: The same.
            about: description, model_framework, model_framework_version.

        Raises:
            ModelError: There is no such file or folder.
        """
        from batch_score.azureml.core.model import Model  # noqa: PLC0415 - few runs register one

        wanted = str(model_path or model_name)
        places = [self.folder / UPLOADS / wanted, Path(wanted).absolute(), self.folder / wanted]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            raise ModelError(f"model {model_name}: there is no {wanted}; looked for {', '.join(map(str, places))}")
        return Model.register(self.experiment.workspace, found, model_name, tags, properties, **about)

    def _place(self, name: str) -> Path:
        """Where a file of that name is kept."""
        root = self.folder / UPLOADS
        place = Path(os.path.normpath(root / name))
        if place == root or not place.is_relative_to(root):
            raise ConfigError(f"{name!r} is no name of a file within the run; give one like outputs/scores.csv")
        return place

    def _event(self, kind: str, **content: Any) -> None:
        append(self.folder / EVENTS, self._record({"kind": kind, **content}))

    def _events(self, kind: str) -> Iterator[dict[str, Any]]:
        return (one for one in records(self.folder / EVENTS) if one.get("run") == self.id and one.get("kind") == kind)

    def _record(self, content: dict[str, Any]) -> dict[str, Any]:
        return {"time": now(), "run": self.id, "pid": os.getpid(), **content}


class _OfflineRun(Run):
    """A run of a process that belongs to none; existing scripts ask for this type by this name."""


def _parent() -> Run:
    """The pipeline's run; of a job that no pipeline started one of the same folder."""
    folder = os.environ.get(PARENT_FOLDER) or os.environ[FOLDER]
    own = os.environ.get(ID) or Path(folder).name
    return Run(run_id=os.environ.get(ROOT_ID) or f"{own}_pipeline", folder=Path(folder))


@cache
def _offline_id() -> str:
    """The same all along a process."""
    return f"{OFFLINE}{uuid.uuid4()}"


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else values


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """A file beside `target` that takes its place at the end, so that nobody sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def _copied(source: Path, target: Path) -> None:
    with _draft(target) as draft:
        shutil.copyfile(source, draft)
