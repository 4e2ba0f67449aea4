"""Importing many modules at once, without the interpreter looking for garbage and idle threads spinning meanwhile."""

from __future__ import annotations

import gc
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# How long idle threads of OpenBLAS spin: 2 to this power, in cycles; read when it is loaded.
BLAS_PATIENCE = "OPENBLAS_THREAD_TIMEOUT"
SHORTEST = "4"


@contextmanager
def importing() -> Iterator[None]:
    """For the imports of a command: what is alive afterwards is never looked at by the garbage collector.

    Modules make very many objects that live as long as the process. Looking through them while more come, and once
    more at the end of the process, took a fifth of the CPU time of starting and ending a command. What is made
    later, by a script in this process for one, is collected as ever.

    numpy's OpenBLAS starts threads when it is imported, and they would spin for a while on the cores that the rest of
    the imports, or the workers, could use.
    """
    enabled = gc.isenabled()
    gc.disable()
    chosen = BLAS_PATIENCE in os.environ
    os.environ.setdefault(BLAS_PATIENCE, SHORTEST)
    try:
        yield
    finally:
        if not chosen:
            os.environ.pop(BLAS_PATIENCE, None)
        gc.freeze()
        if enabled:
            gc.enable()
