"""A process that a script forks inside of its own functions, and that comes out of them."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

# As what Python itself leaves with after an exception.
FAILED = 1


@contextmanager
def ending_forks() -> Iterator[None]:
    """Ends a process that was forked inside of this block when it leaves the block, by an exception or without.

    It has the worker's memory, pulse and connection, but not its work: going on, it would speak in the worker's name.
    It ends as a program would after `sys.exit()` or an exception; what it returned is lost, which makes it fail too.
    """
    worker = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != worker:
            _leave(error)
        raise
    if os.getpid() != worker:
        _leave(None)


def _leave(error: BaseException | None) -> NoReturn:
    """Ends the process without the clean-up of the interpreter, which is the worker's."""
    code = FAILED
    with suppress(BaseException):  # whatever cannot be printed any more
        if isinstance(error, SystemExit):
            code = _exit_code(error)
        elif error is not None:
            traceback.print_exception(error)
        else:
            sys.stderr.write("a process that the script has forked returned from the script's function; it ends here\n")
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _exit_code(error: SystemExit) -> int:
    """What Python leaves with: the code of `sys.exit(code)`, 0 for none; a text is printed and stands for 1."""
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return FAILED
