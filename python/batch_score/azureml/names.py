"""Names that are not known, refused with the nearest one that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_score.errors import ConfigError
from batch_score.nearest import nearest

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
            near = nearest(name, valid)
            hint = f"did you mean {near!r}?" if near else f"known are {', '.join(valid) or 'none'}"
            raise ConfigError(f"{where}: unknown {what} {name!r}; {hint}")
