"""Importing many modules at once without the interpreter looking for garbage meanwhile."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def importing() -> Iterator[None]:
    """For the imports of a command: what is alive afterwards is never looked at by the garbage collector.

    Modules make very many objects that live as long as the process. Looking through them while more come, and once
    more at the end of the process, took a fifth of the CPU time of starting and ending a command. What is made
    later, by a script in this process for one, is collected as ever.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
