"""Datasets under names: `WORKSPACE/datasets/NAME/VERSION.json` says how each was asked for; the data stays in place."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.dataset.origin import Origin
from batch_score.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "BATCH_SCORE_WORKSPACE"
NAME = re.compile(r"[\w][\w .-]*")


def folder(workspace: Any) -> Path:
    """Where the datasets of a workspace are; without one those of the machine's own."""
    place = getattr(workspace, "folder", None) or os.environ.get(VARIABLE) or Path.home() / ".batch-score"
    return Path(place) / "datasets"


def register(
    workspace: Any,
    name: str,
    origin: Origin,
    description: str | None = None,
    tags: Any = None,
    create_new_version: bool = False,  # noqa: FBT001, FBT002 - as above
) -> int:
    """Writes down how a dataset was asked for; gives its version, that of the newest one if it is the same.

    Raises:
        ConfigError: The name cannot be used, or is taken and no new version is wanted.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"dataset name {name!r}: give letters, digits, spaces, dots, dashes and underscores")
    place = folder(workspace) / name
    place.mkdir(parents=True, exist_ok=True)
    absolute = replace(origin, inputs=tuple(str(Path(one).absolute()) for one in origin.inputs))
    content = {**absolute.as_json(), "description": description, "tags": tags}
    text = json.dumps(content, indent=2, default=str, ensure_ascii=False) + "\n"
    taken = _versions(place)
    if taken:
        newest = json.loads((place / f"{taken[-1]}.json").read_text(encoding="utf-8"))
        if Origin.from_json(newest) == absolute:
            return taken[-1]
    if taken and not create_new_version:
        raise ConfigError(f"dataset {name!r} is registered with other data; give create_new_version=True")
    version = max(taken, default=0) + 1
    while True:
        try:
            with (place / f"{version}.json").open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:  # another process was quicker
            version += 1
        else:
            return version


def find(workspace: Any, name: str, version: int | str = "latest") -> Origin:
    """How a registered dataset was asked for.

    Raises:
        InputError: There is none of that name and version.
    """
    place = folder(workspace) / name
    versions = _versions(place) if NAME.fullmatch(name) else []
    wanted = max(versions, default=0) if str(version) == "latest" else int(version)
    if wanted not in versions:
        raise InputError(f"dataset {name!r} version {version} is not registered; {_known(workspace, name, versions)}")
    return Origin.from_json(json.loads((place / f"{wanted}.json").read_text(encoding="utf-8")))


def _known(workspace: Any, name: str, versions: Sequence[int]) -> str:
    if versions:
        return f"versions of {name!r} are {', '.join(map(str, versions))}"
    place = folder(workspace)
    names = sorted(one.name for one in place.iterdir()) if place.is_dir() else []
    return f"{place} has {', '.join(names) or 'no dataset'}"


def _versions(place: Path) -> list[int]:
    if not place.is_dir():
        return []
    return sorted(int(one.stem) for one in place.glob("*.json") if one.stem.isdigit())
