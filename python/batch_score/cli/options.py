"""Command line options made from the fields of the configuration classes, which own name, type, range and help."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from batch_score.config import ParallelRunConfig, ReaderOptions
from batch_score.config_file import read_yaml
from batch_score.option import kinds, rules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from dataclasses import Field
    from pathlib import Path

    Command = Callable[..., Any]

DEFAULT_FILE_NAME = "predictions.csv"
TYPES: dict[type, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT}


def options_of(
    *classes: type, resumed: bool = False, defaults: bool = True, only: Collection[str] = ()
) -> Callable[[Command], Command]:
    """A decorator that adds an option for each field of `classes`.

    A value that is not given on the command line is None there, so that a configuration file can give it.

    Args:
        classes: Configuration classes.
        resumed: Only what may change when a run is resumed; what is not given is as recorded.
        defaults: The help tells them; what a run was given may stand in their place.
        only: Names of the fields, if not all are wanted.
    """

    def decorate(command: Command) -> Command:
        for cls in reversed(classes):
            accepted = kinds(cls)
            for field in reversed(fields(cls)):
                left_out = (resumed and rules(field).fixed) or (only and field.name not in only)
                if rules(field).cli and not left_out:
                    text = rules(field).help + (_default(field) if defaults and not resumed else "")
                    command = _option(field, accepted[field.name], text)(command)
        return command

    return decorate


def _option(field: Field[Any], accepted: tuple[type, ...], text: str) -> Callable[[Command], Command]:
    rule = rules(field)
    name = field.name.replace("_", "-")
    if bool in accepted:
        return click.option(f"--{name}/--no-{name}", field.name, default=None, help=text)
    if dict in accepted:
        return click.option(f"--{name}", field.name, multiple=True, metavar=rule.pairs[0], help=text)
    if rule.choices:
        choices, shown = click.Choice(rule.choices, case_sensitive=False), f"[{'|'.join(rule.choices)}]"
        return click.option(f"--{name}", field.name, type=choices, default=None, help=text, metavar=shown)
    single = TYPES.get(accepted[0]) if str not in accepted else None
    return click.option(f"--{name}", field.name, type=single or click.STRING, default=None, help=text)


def _default(field: Field[Any]) -> str:
    default = DEFAULT_FILE_NAME if field.name == "append_row_file_name" else field.default
    return "" if default is None or default == () else f"  [default: {default}]"


def settings(given: Mapping[str, Any], config: Path | None) -> tuple[ParallelRunConfig, ReaderOptions]:
    """The settings of a command: the command line over the configuration file over the defaults.

    Raises:
        ConfigError: A value is out of range, or the file has an unknown key.
    """
    values: dict[str, Any] = {"append_row_file_name": DEFAULT_FILE_NAME}
    if config is not None:
        values |= read_yaml(config, ParallelRunConfig, ReaderOptions)
    values |= told(given)
    return ParallelRunConfig(**_of(ParallelRunConfig, values)), ReaderOptions(**_of(ReaderOptions, values))


def told(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that the command line has given."""
    return {name: value for name, value in given.items() if value not in (None, ())}


def _of(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in values.items() if name in names}
