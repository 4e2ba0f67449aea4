"""`batch-score model`: what the registry of models has, and what goes into it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TextIO

from batch_score.errors import ConfigError
from batch_score.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batch_score.registry import RegisteredModel

SHOWN_DIGITS = 12


def register_model(
    name: str, path: Path, tags: Sequence[str], description: str | None, stream: TextIO, *, as_json: bool
) -> None:
    """Registers a file or folder and says as what."""
    pairs = [tag.partition("=") for tag in tags]
    for key, equals, _ in pairs:
        if not (key and equals):
            raise ConfigError(f"a tag must be NAME=VALUE, got {key!r}")
    given = {key: value for key, _, value in pairs}
    model = Registry().register(name, path, tags=given, description=description)
    if as_json:
        stream.write(_line(model))
    else:
        stream.write(f"registered {model.id}: {_amount(model)}, {model.path}\n")


def list_models(name: str | None, tags: Sequence[str], stream: TextIO, *, as_json: bool) -> None:
    """Lists models, one a line."""
    registry = Registry()
    found = [model for model in registry.models(name) if all(_has(model, tag) for tag in tags)]
    if as_json:
        stream.writelines(map(_line, found))
        return
    if not found:
        of = "" if name is None else f" {name}"
        stream.write(f"no model{of}{' with these tags' if tags else ''}; {registry.known('')}\n")
        return
    width = max(len(model.id) for model in found)
    for model in found:
        listed = " ".join(f"{key}={value}" for key, value in model.tags.items())
        stream.write(f"{model.id:{width}}  {model.created[:19]}  {_amount(model)}  {listed}".rstrip() + "\n")


def show_model(reference: str, stream: TextIO, *, as_json: bool) -> None:
    """Shows all that is known of one version."""
    model = Registry().get(reference)
    if as_json:
        stream.write(_line(model))
        return
    lines = {
        "model": model.id,
        "path": model.path,
        "content": _amount(model),
        "sha256": model.digest,
        "registered": model.created,
        "from": model.source,
        "by run": model.run_id,
        "description": model.description,
        "framework": f"{model.framework} {model.framework_version}".strip(),
        "tags": " ".join(f"{key}={value}" for key, value in model.tags.items()),
        "properties": " ".join(f"{key}={value}" for key, value in model.properties.items()),
    }
    stream.writelines(f"{name:11}  {value}\n" for name, value in lines.items() if value)


def print_path(reference: str, stream: TextIO) -> None:
    """Prints where a model lies, and nothing else."""
    stream.write(f"{Registry().get(reference).path}\n")


def _has(model: RegisteredModel, tag: str) -> bool:
    key, equals, value = tag.partition("=")
    return key in model.tags and (not equals or model.tags[key] == value)


def _line(model: RegisteredModel) -> str:
    return json.dumps(model.as_json(), ensure_ascii=False) + "\n"


def _amount(model: RegisteredModel) -> str:
    files = "1 file" if model.files == 1 else f"{model.files} files"
    return f"{files}, {model.size:,} bytes, {model.digest[:SHOWN_DIGITS]}"
