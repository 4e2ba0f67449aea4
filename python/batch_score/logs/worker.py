"""The worker's side of the log tree.

Nothing here buffers more than an unfinished line and the lines about mini-batches, and `flush()` writes these too:
whatever a worker logged is in its files before the mini-batch is reported, even if the process is killed the next
moment. A file is made when something is written to it, so a hundred quiet workers leave no empty files.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from batch_score.logs.faults import FaultFiles
from batch_score.logs.text import AppendFile, LineFormatter, level_number, open_lines, utc_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from batch_score.logs.tree import LogTree
    from batch_score.minibatch import Fault, Outcome

_OURS = "batch_score"


class WorkerLogs:
    """Every file that one worker writes itself.

    What cannot be written is left out without an error: a disk that is full for logs is no fault of the mini-batch that
    the worker is at. The coordinator, which writes to the same place, ends the job.

    Args:
        tree: The log tree as this node sees it.
        process: Name of the worker, e.g. `process000`.
        level: Records below this level are not written (`WARNING`, `INFO`, `DEBUG`, any case).
        address: IP address of the node for the lines about mini-batches; empty stands for the node's name.
        clock: Gives the POSIX time stamp of errors and lines.

    Raises:
        KeyError: `level` is not the name of a level.
    """

    def __init__(
        self,
        tree: LogTree,
        process: str,
        level: str = "INFO",
        *,
        address: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._level = level_number(level)
        self._address = address or tree.node
        self._clock = clock
        self._faults = FaultFiles(tree, process, lossy=True)
        self._files = [
            AppendFile(path(process), lossy=True)
            for path in (tree.user_stdout, tree.user_stderr, tree.worker_log, tree.entry_script_log)
        ]
        streams = [open_lines(file) for file in self._files]
        self._stdout, self._stderr, self._own, self._script = streams
        # Lines about mini-batches leave together; a record's handler flushes the stream behind each one.
        self._own.reconfigure(line_buffering=False)
        self._pid = os.getpid()
        # Not one of the process-wide loggers, so that two jobs in one process never share it.
        self._script_logger = logging.Logger("entry_script", self._level)  # noqa: LOG001 - see above
        self._script_logger.addHandler(logging.StreamHandler(self._script))
        self._root_handler = logging.StreamHandler(self._stderr)
        self._root_handler.addFilter(_is_not_ours)
        self._own_handler = logging.StreamHandler(self._own)
        for handler in (*self._script_logger.handlers, self._root_handler, self._own_handler):
            handler.setFormatter(LineFormatter())
            handler.setLevel(self._level)

    @contextmanager
    def redirect(self) -> Iterator[None]:
        """Points `sys.stdout`, `sys.stderr`, the root logger and batch_score's own logger to the files.

        Meant to last as long as a worker process; the inline engine leaves the context, which puts everything
        back as it was. File descriptors 1 and 2 are not touched.
        """
        root, ours = logging.getLogger(), logging.getLogger(_OURS)
        before = sys.stdout, sys.stderr, root.level, ours.level
        root.addHandler(self._root_handler)
        ours.addHandler(self._own_handler)
        root.setLevel(self._level)
        ours.setLevel(self._level)
        sys.stdout, sys.stderr = self._stdout, self._stderr
        try:
            yield
        finally:
            sys.stdout, sys.stderr, root_level, our_level = before
            root.removeHandler(self._root_handler)
            ours.removeHandler(self._own_handler)
            root.setLevel(root_level)
            ours.setLevel(our_level)
            self.flush()

    def entry_script_logger(self) -> logging.Logger:
        """`EntryScript().logger`: writes to the entry script's own log file and nowhere else."""
        return self._script_logger

    def mini_batch(self, outcome: Outcome) -> None:
        """Adds the line about one try to the worker's log, as a record of level INFO; `flush` writes it."""
        if self._level > logging.INFO:
            return
        timings = outcome.timings
        elapsed = timings.load + timings.run + timings.encode
        self._own.write(
            f"{utc_text(self._clock())}|INFO|{self._pid}|{threading.current_thread().name}|"
            f"mini-batch {outcome.index} try {outcome.attempt}: {outcome.status}, ip {self._address}, "
            f"total {outcome.total}, succeeded {outcome.succeeded}, failed {outcome.total - outcome.succeeded}, "
            f"start {utc_text(timings.started)}, duration {elapsed:.6f} s, "
            f"process time {timings.process:.6f} s, run method {timings.run:.6f} s\n"
        )

    def error(self, fault: Fault, where: str) -> None:
        """Appends the traceback to this worker's error file and one line to the list of all errors.

        Args:
            fault: The error.
            where: What was being done, e.g. `init()` or `run() of mini-batch 12, try 1`.
        """
        self._faults.write(fault, where, seconds=self._clock())

    def flush(self) -> None:
        """Writes unfinished lines; afterwards everything logged so far is in the files."""
        for stream in (self._stdout, self._stderr, self._own, self._script):
            if not stream.closed:  # the entry script may have closed its sys.stdout
                stream.flush()

    def close(self) -> None:
        """Gives the file descriptors back.

        The streams stay usable, because a logging handler that an entry script made keeps the `sys.stderr` it
        found: a late line opens its file again.
        """
        self.flush()
        self._faults.close()
        for file in self._files:
            file.release()


def _is_not_ours(record: logging.LogRecord) -> bool:
    return record.name != _OURS and not record.name.startswith(f"{_OURS}.")
