"""Names that are not known, refused with the nearest one that is."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_names(names: Iterable[str], known: Iterable[str], where: str, what: str = "key") -> None:
    """Refuses a name that is not known.

    Args:
        names: What was given.
        known: What may be.
        where: Begins the message: a file, a step.
        what: What a name stands for.

    Raises:
        ConfigError: For the first name that is not known, with the nearest one that is.
    """
    valid = [str(name) for name in known]
    for name in map(str, names):
        if name not in valid:
            near = get_close_matches(name, valid, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(valid) or 'none'}"
            raise ConfigError(f"{where}: unknown {what} {name!r}; {hint}")
