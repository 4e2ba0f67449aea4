"""The name that was meant: every message about an unknown name asks here."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, None if none is like it."""
    return next(iter(get_close_matches(name, list(known), n=1)), None)
