"""Where errors of the entry script are written down, by workers and by the coordinator alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_score.logs.text import AppendFile, fault_text, utc_text

if TYPE_CHECKING:
    from batch_score.logs.tree import LogTree
    from batch_score.minibatch import Fault


class FaultFiles:
    """The list of errors that all processes share, and the tracebacks of one worker.

    Args:
        tree: The log tree as the worker's node sees it.
        process: The worker the errors belong to.
        lossy: What cannot be written is left out without an error.
    """

    def __init__(self, tree: LogTree, process: str, *, lossy: bool = False) -> None:
        self._listing = AppendFile(tree.user_errors, lossy=lossy)
        self._tracebacks = AppendFile(tree.user_error(process), lossy=lossy)
        self._place = f"{process}|{tree.node}"

    def write(self, fault: Fault, where: str, *, seconds: float) -> None:
        """Appends one error to both files.

        Args:
            fault: The error; where it has no traceback its message stands in for one.
            where: What was being done, e.g. `run() of mini-batch 12, try 1`.
            seconds: When it happened, a POSIX time stamp.

        Raises:
            OSError: A file cannot be written (unless `lossy`).
        """
        time = utc_text(seconds)
        traceback = fault.traceback.rstrip() or fault_text(fault)
        self._tracebacks.write_text(f"{time}|{where}\n{traceback}\n\n")
        self._listing.write_text(f"{time}|{self._place}|{fault_text(fault)} ({where})\n")

    def close(self) -> None:
        """Closes both files."""
        self._listing.close()
        self._tracebacks.close()
