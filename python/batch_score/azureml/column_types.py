"""Column types with formats and values, as far as the readers know them; beyond that they are refused."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

ISO = re.compile(r"(%Y-%m-%d|%F)([ T](%H|%R|%H:%M|((%H:%M:%S|%T)(\.%f)?)))?")
TRUE, FALSE = ("1", "True", "TRUE", "true"), ("0", "False", "FALSE", "false")
INSTEAD = "declare the column as text and convert it in the script"


def datetime_type(formats: Any = None) -> str:
    """The name of the type of dates.

    Args:
        formats: One or several of `strftime`; None for those that are read anyway.

    Raises:
        ConfigError: One is not ISO 8601, which is what the readers take for a date.
    """
    for one in _listed(formats):
        if ISO.fullmatch(one) is None:
            raise ConfigError(
                f"dates of the format {one!r} are not read by this version, only those like 2024-02-03 and "
                f"2024-02-03T10:11:12.5; {INSTEAD}"
            )
    return "datetime"


def bool_type(true_values: Any = None, false_values: Any = None, mismatch_as: Any = None) -> str:
    """The name of the type of flags.

    Args:
        true_values: Texts that are true; None for those that are taken so anyway.
        false_values: Texts that are false.
        mismatch_as: What all else is; only an error can be had.

    Raises:
        ConfigError: A value is another one than the readers take for true or false, or a mismatch is to be a value.
    """
    for name, given, known in (("true_values", true_values, TRUE), ("false_values", false_values, FALSE)):
        for one in _listed(given):
            if one not in known:
                raise ConfigError(f"{name} has {one!r}, but this version reads {', '.join(known)} only; {INSTEAD}")
    # Existing code gives the text, or a member of an enumeration.
    if mismatch_as is not None and str(mismatch_as).rpartition(".")[2].lower() != "error":
        raise ConfigError(f"mismatch_as is {mismatch_as}, but in this version what is no flag is an error; {INSTEAD}")
    return "bool"


def _listed(given: Any) -> Sequence[str]:
    many = () if given is None else given if isinstance(given, (list, tuple, set)) else (given,)
    return [str(one) for one in many]
