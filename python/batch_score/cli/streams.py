"""Standard streams that take whatever is printed, wherever the command was started."""

from __future__ import annotations

import os
import sys

STANDARD = (0, 1, 2)


def prepare_streams() -> None:
    """Opens the standard streams that were closed, and lets all of them show characters that they have none for.

    A closed one would be given to the next file that is opened, which then gets what libraries print. And names of
    files and messages of scripts hold what no encoding has, which is no reason for a job to end.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) in STANDARD:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not if somebody has put an object of their own in its place
            stream.reconfigure(errors="backslashreplace")


def print_end(text: str) -> None:
    """Prints the last text of a command whose work is done: that nobody can take it does not change what was done.

    Raises:
        BrokenPipeError: Whoever read it has gone.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # what is still held back goes there
        os.close(null)
        print(f"batch-score: warning: stdout cannot be written: {error}", file=sys.stderr)
