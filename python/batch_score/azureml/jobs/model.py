"""Models as v2 files name them: a path, or the name of a registered one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batch_score.azureml.jobs.document import Keys
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from batch_score.azureml.jobs.document import Document

REGISTRY = "batch_score.azureml.registry"
MODEL = Keys.of_job(("path", "name", "version"), ("flavors", "stage"))


def model_path(document: Document, model: Any, where: str) -> str:
    """The file or folder of a model.

    Args:
        document: The file that names it.
        model: A path, `azureml:NAME:VERSION`, `azureml:NAME@latest`, or a mapping with `path`, or `name` and `version`.
        where: Its key.

    Raises:
        UsageError: It is not here.
    """
    if isinstance(model, dict):
        part = document.check(model, MODEL, where)
        if part.get("path") is not None:
            return model_path(document, part["path"], where)
        if part.get("name") is None:
            raise ConfigError(f"{document.path}: {where} needs a path, or a name and a version")
        version = part.get("version")
        return _registered(f"{part['name']}:{version}" if version is not None else str(part["name"]))
    text = str(model)
    if text.startswith("azureml:") and not text.startswith("azureml://"):
        return _registered(text)
    return document.local(text, where)


def _registered(reference: str) -> str:
    return str(import_module(REGISTRY).Registry().get(reference).path)
