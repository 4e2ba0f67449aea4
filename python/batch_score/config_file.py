"""Configuration files in YAML."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from batch_score.errors import ConfigError
from batch_score.option import check_names

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def read_yaml(path: Path, *classes: type) -> dict[str, Any]:
    """The keys and values of a configuration file, checked against the fields of `classes`."""
    values = {str(name).replace("-", "_"): value for name, value in yaml_mapping(path).items()}
    check_names(values, [field_.name for cls in classes for field_ in fields(cls)], str(path))
    return values


def write_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """Writes names and plain values, in their order."""
    import yaml  # noqa: PLC0415 - as below

    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")


def yaml_mapping(path: Path) -> dict[Any, Any]:
    """What a YAML file holds, which must be names and values.

    Raises:
        ConfigError: The file cannot be read, is no YAML, or holds something else.
    """
    import yaml  # noqa: PLC0415 - few jobs have a configuration file, and each worker would import it

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; give the path of a readable configuration file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        place = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}{place}: not a YAML file: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration file holds 'name: value' lines, found {type(content).__name__}")
    return content


def yaml_value(text: str) -> Any:
    """What a piece of YAML stands for, text that is none for itself."""
    import yaml  # noqa: PLC0415 - as in `read_yaml`

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
