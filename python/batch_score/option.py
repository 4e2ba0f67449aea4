"""How a parameter is declared, and how what is given for it is read and checked."""

from __future__ import annotations

import json
import types
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

from batch_score.errors import ConfigError
from batch_score.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True, slots=True)
class Option:
    """What a field of a configuration class may hold.

    Attributes:
        help: One line for `--help` and the documentation.
        pairs: What an option of names and values takes, e.g. `NAME=VALUE`, and an example.
        minimum: Smallest value.
        maximum: Largest value.
        above: The value must be greater than this.
        choices: The only values; upper and lower case are the same.
        flag: Also recognised among the entry script's `arguments`.
        cli: Offered as an option of the command line.
        fixed: Decides mini-batches, rows or their form, so it may not change when a run is resumed.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    pairs: tuple[str, str] = ("", "")
    flag: bool = False
    cli: bool = True
    fixed: bool = False


def option(default: Any, text: str, **rules: Any) -> Any:
    """Declares a field of a configuration class; `rules` are those of `Option`."""
    return field(default=default, metadata={"option": Option(text, **rules)})


class Checked:
    """Refuses what is given without a name, and a keyword that is no field, with the nearest one that is.

    Attributes:
        elsewhere: Keywords that belong to another class, and what to do with them.
    """

    elsewhere: ClassVar[dict[str, str]] = {}

    def __new__(cls, *positional: Any, **given: Any) -> Self:
        """An object without values yet; ConfigError for what is refused."""
        if positional:
            example = f"{fields(cls)[0].name}=..."  # type: ignore[arg-type]  # every subclass is a dataclass
            raise ConfigError(
                f"{cls.__name__} takes names and values, as {example}; got {positional[0]!r} without a name"
            )
        names = [one.name for one in fields(cls)]  # type: ignore[arg-type]  # as above
        check_names(given, names, cls.__name__, cls.elsewhere)
        return super().__new__(cls)


def rules(field_: Field[Any]) -> Option:
    """The `Option` that a field was declared with."""
    found: Option = field_.metadata["option"]
    return found


def kinds(cls: type) -> dict[str, tuple[type, ...]]:
    """The types each field accepts, NoneType among them where it is optional."""
    return {name: _flat(hint) for name, hint in get_type_hints(cls).items() if get_origin(hint) is not ClassVar}


def _flat(hint: Any) -> tuple[type, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for part in get_args(hint) for kind in _flat(part))
    return (get_origin(hint) or hint,)


def check(config: Any) -> None:
    """Brings every field to its type and checks its range, in place, once, while the frozen object is made."""
    accepted = kinds(type(config))
    for field_ in fields(config):
        rule, value = rules(field_), getattr(config, field_.name)
        if dict in accepted[field_.name]:
            _check_pairs(field_.name, value, *rule.pairs)
        value = coerce(field_.name, value, accepted[field_.name])
        if rule.choices and value is not None:
            value = _choice(field_.name, value, rule.choices)
        _range(field_.name, value, rule)
        object.__setattr__(config, field_.name, value)


def coerce(name: str, value: Any, accepted: tuple[type, ...]) -> Any:
    """`value` as one of the accepted types; text is parsed, as it comes from YAML, flags and the command line."""
    if object in accepted or Any in accepted or (value is None and types.NoneType in accepted):
        return value
    for kind in accepted:
        parsed = _parse(kind, value)
        if parsed is not None:
            return parsed
    wanted = " or ".join(SHOWN.get(kind, kind.__name__) for kind in accepted if kind is not types.NoneType)
    raise ConfigError(f"{name} must be {wanted}, got {value!r}")


def _parse(kind: type, value: Any) -> Any:
    parser = PARSERS.get(kind)
    try:
        return parser(value) if parser else None
    except (ValueError, TypeError):
        return None


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, (int, str)) or float(value).is_integer() else None


def _float(value: Any) -> float | None:
    number = None if isinstance(value, bool) else float(value)
    return None if number != number else number  # noqa: PLR0124 - NaN is in no range


def _bool(value: Any) -> bool | None:
    text = str(value).strip().lower()
    return True if text in TRUE else False if text in FALSE else None


def _str(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, Path)) else None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        listed = _json_list(value)
        value = [name for name in value.split(",") if name] if listed is None else listed
    return tuple(str(name) for name in value)


def _json_list(text: str) -> list[Any] | None:
    """The list of a text like `["a", "b"]`, as specifications have it; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _pairs(value: Any) -> dict[str, str] | None:
    if isinstance(value, (list, tuple)):
        value = dict(pair.split("=", 1) for pair in value)
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else None


# How errors call what YAML has other words for.
SHOWN: dict[type, str] = {tuple: "a list of names", dict: "a mapping"}
PARSERS = {int: _int, float: _float, bool: _bool, str: _str, tuple: _names, dict: _pairs}


def _check_pairs(name: str, value: Any, form: str, example: str) -> None:
    """Refuses what is neither a mapping nor a list of texts like NAME=VALUE."""
    odd = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    wrong = [one for one in odd if isinstance(value, str) or "=" not in str(one)]
    if wrong:
        raise ConfigError(f"{name} must be {form}, e.g. {example}; got {wrong[0]!r}")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if choice.lower() == value.lower():
            return choice
    raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _range(name: str, value: Any, rule: Option) -> None:
    if value is None:
        return
    if rule.minimum is not None and value < rule.minimum:
        raise ConfigError(f"{name} must be at least {rule.minimum}, got {value}")
    if rule.above is not None and value <= rule.above:
        raise ConfigError(f"{name} must be greater than {rule.above}, got {value}")
    if rule.maximum is not None and value > rule.maximum:
        raise ConfigError(f"{name} must be at most {rule.maximum}, got {value}")


def check_names(
    names: Iterable[str], valid: Sequence[str], where: str, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Refuses a name that is not valid, with the nearest one that is, or with what `elsewhere` says of it."""
    for name in names:
        if name in valid:
            continue
        if name in elsewhere:
            raise ConfigError(f"{where} has no {name}: {elsewhere[name]}")
        near = nearest(name, valid)
        hint = f"; did you mean {near!r}?" if near else f"; known are {', '.join(valid)}"
        raise ConfigError(f"{where}: unknown parameter {name!r}{hint}")


def plain(config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, as plain YAML and JSON values."""
    values = {}
    for field_ in fields(config):
        value = getattr(config, field_.name)
        if field_.default is MISSING or value != field_.default:
            values[field_.name] = _as_list(value)
    return values


def fixed_settings(config: Any) -> dict[str, Any]:
    """The fields that may not change when a run is resumed, defaults included, as plain YAML and JSON values."""
    return {one.name: _as_list(getattr(config, one.name)) for one in fields(config) if rules(one).fixed}


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
