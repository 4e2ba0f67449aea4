"""An exception as the record of a fault."""

from __future__ import annotations

import traceback
from pathlib import Path

from batch_score.minibatch import Fault

PACKAGE = str(Path(__file__).parents[1])


def fault_of(error: BaseException) -> Fault:
    """An exception as a record; its traceback begins where the script's own code does, if it got that far."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename.startswith(PACKAGE):
        begin = begin.tb_next
    text = "".join(traceback.format_exception(type(error), error, begin or error.__traceback__))
    return Fault(type(error).__name__, _message(error), text)


def _message(error: BaseException) -> str:
    try:
        return str(error).strip().replace("\n", " ") or "(no message)"
    except Exception as why:  # noqa: BLE001 - the script's exceptions may have a `__str__` of its own
        return f"(its message cannot be shown: {type(why).__name__})"
