"""Inputs and outputs of pipelines and jobs as v2 files describe and connect them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.document import REMOTE, Keys, plain_path
from batch_score.azureml.jobs.expression import expression_of
from batch_score.azureml.names import check_names
from batch_score.azureml.pipeline.task import FILE, FOLDER, Data, Made, OutputPort, Value
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.azureml.jobs.document import Document
    from batch_score.azureml.pipeline.task import Source

URI_FILE, URI_FOLDER, MLTABLE = "uri_file", "uri_folder", "mltable"
FOLDERS = frozenset({URI_FOLDER, MLTABLE, "custom_model", "mlflow_model", "triton_model"})
VALUES = frozenset({"string", "number", "integer", "boolean"})
INPUT_KEYS = Keys.of(
    ("path", "type", "default", "optional", "value", "description", "mode"),
    ("min", "max", "enum", "datastore", "path_on_compute"),
)
OUTPUT_KEYS = Keys.of(
    ("path", "type", "mode", "description", "name", "version"), ("path_on_compute", "early_available")
)
PARENT = re.compile(r"parent\.(inputs|outputs)\.([\w-]+)")
STEP = re.compile(r"parent\.jobs\.([\w-]+)\.outputs\.([\w-]+)")


@dataclass(frozen=True)
class Bound:
    """An input with what it stands for.

    Attributes:
        source: Where it comes from; None: optional and not given.
        kind: Its type, as files have it; empty: not said.
    """

    source: Source | None
    kind: str = ""


@dataclass(frozen=True)
class Target:
    """An output of a pipeline, or of a job.

    Attributes:
        kind: Its type; empty: not said, which makes it a folder.
        path: Where a copy of it goes, None for nowhere.
        file_name: What the path calls the file in it, if it is one; empty: not said.
    """

    kind: str = ""
    path: str | None = None
    file_name: str = ""

    @property
    def port(self) -> OutputPort:
        """The output of a step."""
        kind = FILE if self.kind == URI_FILE else FOLDER
        return OutputPort(kind, self.file_name if kind == FILE else "", self.path)

    def over(self, other: Target) -> Target:
        """What this one says, and what only the other one does."""
        placed = self if self.path is not None or self.file_name else other
        return Target(self.kind or other.kind, placed.path, placed.file_name)


def pipeline_inputs(document: Document, part: Any) -> dict[str, Bound]:
    """The inputs of a pipeline.

    Raises:
        ConfigError: A key is unknown, or an input has no value.
    """
    found = {}
    for name, given in _mapping(document, part, "inputs").items():
        found[name] = _bound(document, given, f"inputs.{name}", {})
    return found


def job_inputs(
    document: Document, part: Any, component: Any, parent: Mapping[str, Bound], where: str
) -> dict[str, Bound]:
    """The inputs of a job.

    Args:
        document: The file.
        part: What the job says of its inputs.
        component: What its component says of them.
        parent: Inputs of the pipeline.
        where: The job's key.

    Raises:
        ConfigError: A key is unknown, an input has no value, or a name is not one of the component's.
    """
    given, declared = (_mapping(document, one, f"{where}.inputs") for one in (part, component))
    if declared:
        check_names(given, declared, f"{document.path}: {where}", "input")
    found = {}
    for name in dict.fromkeys([*declared, *given]):
        own, place = declared.get(name), f"{where}.inputs.{name}"
        kind = str(own.get("type", "")) if isinstance(own, dict) else ""
        bound = _bound(document, given.get(name, own), place, parent, kind)
        if bound.source is None and name in given and isinstance(own, dict):
            bound = _bound(document, own, place, parent, kind)
        found[name] = bound
    return found


def _mapping(document: Document, part: Any, where: str) -> dict[str, Any]:
    if part is None:
        return {}
    if not isinstance(part, dict):
        raise ConfigError(f"{document.path}: {where} must be 'name: value' lines, found {part!r}")
    return {str(name): value for name, value in part.items()}


def _bound(document: Document, value: Any, where: str, parent: Mapping[str, Bound], declared: str = "") -> Bound:
    """An input; where it does not say its type it is of the declared one, else of that of what it stands for."""
    if not isinstance(value, dict):
        bound = _of_text(document, value, where, parent)
        return Bound(bound.source, declared or bound.kind)
    part = document.check(value, INPUT_KEYS, where)
    kind = str(part.get("type", declared))
    if kind and kind not in FOLDERS | VALUES | {URI_FILE}:
        check_names([kind], FOLDERS | VALUES | {URI_FILE}, f"{document.path}: {where}", "type")
    given = part.get("path", part.get("value", part.get("default")))
    if given is None:
        if part.get("optional"):
            return Bound(None, kind)
        advice = f"give one by `--set {where}=...`" if where.startswith("inputs.") else "give one"
        raise ConfigError(f"{document.path}: {where} has no value; {advice}, or say that it is optional")
    if expression_of(given) is not None:
        bound = _of_text(document, given, where, parent)
        return Bound(bound.source, kind or bound.kind)
    if kind in VALUES:
        return Bound(Value(_text(given)), kind)
    return Bound(Data((document.local(given, where),)), kind)


def _of_text(document: Document, value: Any, where: str, parent: Mapping[str, Bound]) -> Bound:
    expression = expression_of(value)
    if expression is None:
        if value is None:
            raise ConfigError(f"{document.path}: {where} has no value; give one, or say that it is optional")
        return Bound(Value(_text(value)))
    if match := PARENT.fullmatch(expression):
        check_names([match[2]], parent, f"{document.path}: {where}", "input of the pipeline")
        return parent[match[2]]
    if match := STEP.fullmatch(expression):
        return Bound(Made(match[1], match[2]))
    raise ConfigError(
        f"{document.path}: {where}: ${{{{{expression}}}}} cannot be an input; use ${{{{parent.inputs.NAME}}}} or "
        "${{parent.jobs.STEP.outputs.NAME}}"
    )


def _text(value: Any) -> str:
    """A value as a script gets it: flags as Python writes them."""
    return str(value)


def targets(document: Document, part: Any, where: str) -> dict[str, Target]:
    """The outputs of a pipeline or component.

    Raises:
        ConfigError: A key is unknown.
    """
    return {
        name: _target(document, value, f"{where}.{name}") for name, value in _mapping(document, part, where).items()
    }


def _target(document: Document, value: Any, where: str) -> Target:
    if isinstance(value, str) and expression_of(value) is None:
        value = {"path": value}
    part = document.check(value, OUTPUT_KEYS, where)
    kind = str(part.get("type", ""))
    if kind and kind not in FOLDERS | {URI_FILE}:
        check_names([kind], FOLDERS | {URI_FILE}, f"{document.path}: {where}", "type")
    if part.get("path") is None:
        return Target(kind)
    path = plain_path(str(part["path"]))
    name = Path(path).name if Path(path).suffix else ""
    if REMOTE.match(path):  # a place in the cloud: what is left of it is the name of the file
        document.without_effect.add(f"path of {where}")
        return Target(kind, None, name)
    return Target(kind, document.local(path, where), name)


def job_outputs(
    document: Document, part: Any, declared: Mapping[str, Target], parent: Mapping[str, Target], where: str
) -> tuple[dict[str, Target], dict[str, str]]:
    """The outputs of a job, and which output of the pipeline each is, if any.

    Args:
        document: The file.
        part: What the job says of its outputs.
        declared: What its component says of them.
        parent: Outputs of the pipeline.
        where: The job's key.

    Raises:
        ConfigError: A key is unknown, or an expression names no output of the pipeline.
    """
    given = _mapping(document, part, f"{where}.outputs")
    if declared:
        check_names(given, declared, f"{document.path}: {where}", "output")
    found, bound = dict(declared), {}
    for name, value in given.items():
        place = f"{where}.outputs.{name}"
        text = value.get("path") if isinstance(value, dict) else value
        expression = expression_of(text)
        if expression is None:
            found[name] = _target(document, value, place).over(declared.get(name, Target()))
            continue
        match = PARENT.fullmatch(expression)
        if match is None or match[1] != "outputs":
            raise ConfigError(f"{document.path}: {place} must be ${{{{parent.outputs.NAME}}}}, not {text}")
        check_names([match[2]], parent, f"{document.path}: {place}", "output of the pipeline")
        own = _target(document, {**value, "path": None} if isinstance(value, dict) else None, place)
        found[name] = own.over(declared.get(name, Target())).over(parent[match[2]])
        bound[name] = match[2]
    return found, bound
