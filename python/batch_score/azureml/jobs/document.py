"""A YAML file with its keys checked: what is used, what has no meaning on this machine, what is unknown."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score.azureml.names import check_names
from batch_score.config_file import yaml_mapping, yaml_value
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

# What says something about a job and changes nothing in how it runs.
DESCRIPTIVE = frozenset({"$schema", "name", "display_name", "description", "tags", "version", "properties", "type"})
# What is about machines, images and accounts elsewhere.
ELSEWHERE = frozenset({"compute", "identity", "services", "queue_settings"})
REMOTE = re.compile(r"[a-z][a-z0-9+.-]*:(?!\\)", re.IGNORECASE)


@dataclass(frozen=True)
class Keys:
    """The keys that a part of a file may have.

    Attributes:
        used: What has an effect.
        unused: What is read and has none here.
    """

    used: frozenset[str]
    unused: frozenset[str] = frozenset()

    @classmethod
    def of(cls, used: Iterable[str], unused: Iterable[str] = ()) -> Self:
        """Keys from lists."""
        return cls(frozenset(used), frozenset(unused))

    @classmethod
    def of_job(cls, used: Iterable[str], unused: Iterable[str] = ()) -> Self:
        """The same for a part that may also be described: by a name, tags and the like."""
        return cls.of((*used, *DESCRIPTIVE), unused)


@dataclass
class Document:
    """A file while it is read.

    Attributes:
        path: The file.
        without_effect: Keys that were found and have no meaning here.
        remarks: What else should be known before anything runs.
    """

    path: Path
    without_effect: set[str] = field(default_factory=set)
    remarks: list[str] = field(default_factory=list)

    def check(self, part: Any, keys: Keys, where: str = "") -> dict[str, Any]:
        """A part of the file, whose keys must be known.

        Args:
            part: A mapping; None stands for an empty one.
            keys: What it may have.
            where: Its own key, dotted, for messages.

        Raises:
            ConfigError: It is no mapping, or a key is unknown; the message names the nearest one.
        """
        place = f"{self.path}{f': {where}' if where else ''}"
        if part is None:
            return {}
        if not isinstance(part, dict):
            raise ConfigError(f"{place}: expected 'name: value' lines, found {part!r}")
        check_names(part, sorted(keys.used | keys.unused), place)
        self.without_effect |= {str(name) for name in part if name in keys.unused}
        return {str(name): value for name, value in part.items()}

    def local(self, path: Any, where: str) -> str:
        """A path of the file as one of this machine, relative to the file's folder.

        Raises:
            ConfigError: It is no text, or leads elsewhere.
        """
        text = plain_path(str(path))
        if REMOTE.match(text):
            raise ConfigError(
                f"{self.path}: {where} is {text}, which is not on this machine; download it and give its path, in the "
                f"file or by `--set {where}=PATH`"
            )
        return os.path.normpath(self.path.parent / text)

    @property
    def notes(self) -> list[str]:
        """What should be known before anything runs."""
        found = [f"{self.path}: {text}" for text in self.remarks]
        if self.without_effect:
            names = ", ".join(sorted(self.without_effect))
            found.append(f"{self.path}: read, but without effect on this machine: {names}")
        return found


def plain_path(text: str) -> str:
    """A path without the `file:` or `file://` that may stand before one of this machine."""
    rest = text.removeprefix("file:")
    return rest.removeprefix("//") if rest != text and rest.startswith("///") else rest


def read_document(path: Path, overrides: Sequence[str] = ()) -> tuple[Document, dict[str, Any]]:
    """A file and what it says, after overrides `a.b=value`.

    Args:
        path: The file.
        overrides: Each names a key, dotted, and a YAML value. A path of data is relative to the current folder.

    Raises:
        ConfigError: The file cannot be read, or an override cannot be made.
    """
    content: dict[str, Any] = yaml_mapping(path)
    for text in overrides:
        _override(content, text, path)
    return Document(path), content


def _override(content: dict[str, Any], text: str, path: Path) -> None:
    name, equals, value = text.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {text}: give a key and a value, as in --set inputs.data=new.csv")
    if keys[0] == "inputs":
        check_names(keys[1:2], content.get("inputs") or {}, f"--set {text}: {path}", "input")
    place: Any = content
    for position, key in enumerate(keys[:-1]):
        if not isinstance(place.get(key), dict):
            if position == 0 and key not in content:
                check_names([key], content, f"--set {text}: {path}")
            place[key] = {}
        place = place[key]
    last, parsed = keys[-1], yaml_value(value)
    old = place.get(last)
    ports = keys[-3:-2] if last == "path" else keys[-2:-1]
    if ports in (["inputs"], ["outputs"]):
        parsed = _as_data(old, parsed, path, there=ports == ["inputs"])
    place[last] = parsed


def _as_data(old: Any, value: Any, path: Path, *, there: bool) -> Any:
    """An overriding value of an input or output: a path keeps the type of what was there, and is one of this folder."""
    value = plain_path(value) if isinstance(value, str) else value
    is_path = isinstance(value, str) and not REMOTE.match(value) and "${{" not in value
    if is_path and (Path(value).exists() or not there):
        value = os.path.relpath(value, path.parent) if not Path(value).is_absolute() else value
    if isinstance(old, dict) and not isinstance(value, dict):
        of_data = str(old.get("type", "")).startswith(("uri_", "mltable")) or "path" in old or not there
        return {**old, ("path" if of_data else "default"): value}
    return value


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with what `over` has; mappings are merged, all else is replaced."""
    found = dict(base)
    for name, value in over.items():
        old = found.get(name)
        found[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return found


def told(error: ConfigError, names: Mapping[str, str]) -> str:
    """What an error says, with the names of the file, by which `names` has ours."""
    text = str(error)
    for theirs, ours in names.items():
        text = text.replace(ours, theirs)
    return text
