"""How a job ended: what it says of itself, and whether going on with it can help. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from batch_score.summary import COMPLETED, FAILED
from batch_score.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from batch_score.job.totals import Totals
    from batch_score.minibatch import Fault
    from batch_score.output.encoder import Encoder


@dataclass(frozen=True)
class End:
    """How a job came to its end.

    Attributes:
        status: `completed`, `failed` or `interrupted`.
        cause: Why it did not complete.
        code: The exit code.
        log: What has the failure, if it is no error of the entry script.
        resumable: Going on can help.
    """

    status: str
    cause: str
    code: int
    log: Path | None = None
    resumable: bool = True

    def unrecorded(self, error: OSError) -> Self:
        """The same when `run.json` could not be written, so that it still says that the run is unfinished."""
        if self.status == COMPLETED:
            cause = f"all is scored, but the end of the run could not be written down: {error}"
            return replace(self, status=FAILED, cause=cause, code=1)
        return replace(self, cause=f"{self.cause}; nor could the end of the run be written down: {error}")


def fruitless(totals: Totals, *, appends: bool, unread: Fault | None = None) -> str:
    """Why a job cannot complete of which everything has ended; empty when it can.

    Args:
        totals: What it came to.
        appends: There is an output file.
        unread: Why the first item could not be read, if none could be.
    """
    if not totals.mini_batches:
        return "the input has no items; nothing was scored"
    if not totals.returned and totals.mini_batches_given_up == totals.mini_batches:
        return "no mini-batch succeeded"
    if not totals.returned and unread is not None:
        return f"no item could be read, so run() was never called; the first: {unread.error}: {unread.message}"
    if not totals.returned and appends:
        return "run() returned nothing to append; return one element per item that succeeded"
    return ""


def behind(fault: Fault | None, message: str) -> str:
    """A message after the first error, which is what has to be mended."""
    return f"{fault.error}: {fault.message}; therefore {message}" if fault else message


def with_first(message: str, fault: Fault | None) -> str:
    """What ended a job, and the first error behind it."""
    if fault is None or fault.message in message:
        return message
    return f"{message}; first error: {fault.error}: {fault.message}"


def command(run_dir: Path, options: str) -> str:
    """How to go on.

    Args:
        run_dir: The run directory.
        options: What has to be other than before; may be empty.
    """
    return f"resume with: batch-score resume {shlex.quote(str(run_dir))} {options}".rstrip()


def output_form(encoder: Encoder | None, returned: int, *, has_header: bool) -> str:
    """Rows, form, separator and header of the output: what a reader of the file must know."""
    if encoder is None:
        return ""
    parts = [counted(returned, "row"), encoder.suffix.removeprefix(".")]
    if encoder.separator is not None:
        parts += [f"separator {encoder.separator!r}", "header" if has_header else "no header"]
    return ", ".join(parts)
