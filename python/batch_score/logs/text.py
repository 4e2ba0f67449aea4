"""How a log line looks, and the files that lines are appended to without a buffer."""

from __future__ import annotations

import io
import logging
import os
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import ReadableBuffer

    from batch_score.minibatch import Fault

_LONGEST_MESSAGE = 2_000


def utc_text(seconds: float) -> str:
    """A POSIX time stamp as UTC ISO text without zone, e.g. `2020-10-24T02:59:04.227237`."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def one_line(text: str) -> str:
    """The text with every run of white space as one blank, cut after 2,000 characters."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[:_LONGEST_MESSAGE] + " ..."


def fault_text(fault: Fault) -> str:
    """`ValueError: message` in one line; only the class when there is no message."""
    return one_line(f"{fault.error}: {fault.message}" if fault.message else fault.error)


def level_number(name: str) -> int:
    """The number of a level name in any case.

    Raises:
        KeyError: The logging module knows no such level.
    """
    return logging.getLevelNamesMapping()[name.upper()]


class LineFormatter(logging.Formatter):
    """`time|level|pid|thread|message`, a traceback on the lines below."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s|%(levelname)s|%(process)d|%(threadName)s|%(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging calls it by this name
        """The time in UTC with microseconds; `datefmt` is not used."""
        del datefmt
        return utc_text(record.created)


class AppendFile(io.RawIOBase):
    """A file that is created at its first write, and to which every write goes at once and as one piece.

    Several processes may append to the same path. Nothing is buffered in this process, so a line survives the
    process being killed. After `release()` the next write opens the file again.

    Args:
        path: The file; its folder is made when needed.
        lossy: What cannot be written, because the disk is full for instance, is left out without an error.
    """

    def __init__(self, path: Path, *, lossy: bool = False) -> None:
        super().__init__()
        self._path = path
        self._lossy = lossy
        self._descriptor = -1
        self._opening = threading.Lock()

    @property
    def name(self) -> str:
        """The path, as file objects call it."""
        return str(self._path)

    def writable(self) -> bool:
        """Always true."""
        return True

    def fileno(self) -> int:
        """The file descriptor; opens the file.

        Raises:
            OSError: The file cannot be opened.
        """
        with self._opening:
            if self._descriptor < 0:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            return self._descriptor

    def write(self, data: ReadableBuffer, /) -> int:
        """Appends all of `data` and returns its size in bytes.

        Raises:
            OSError: The file, which the error names, cannot be opened or written (unless `lossy`).
            ValueError: The file was closed.
        """
        if self.closed:
            raise ValueError(f"{self._path} is closed")
        view = memoryview(data).cast("B")
        try:
            descriptor = self._descriptor if self._descriptor >= 0 else self.fileno()
            done = os.write(descriptor, view)
            while done < len(view):  # only a full disk or a signal splits a write
                done += os.write(descriptor, view[done:])
        except OSError as error:
            if not self._lossy:
                raise OSError(error.errno, error.strerror, self.name) from error
        return len(view)

    def write_text(self, text: str) -> None:
        """Appends text as UTF-8; what UTF-8 cannot hold is written as an escape."""
        self.write(text.encode("utf-8", "backslashreplace"))

    def release(self) -> None:
        """Gives the file descriptor back; a later write opens the file again."""
        with self._opening:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close(self) -> None:
        """Closes the file for good."""
        self.release()
        super().close()


def open_lines(file: AppendFile) -> io.TextIOWrapper:
    """A text stream that hands every finished line to `file` at once, fit to stand in for `sys.stdout`."""
    return io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def replace_text(path: Path, text: str) -> None:
    """Rewrites a file so that a reader sees the old or the new text, never a part.

    Raises:
        OSError: The folder, or the file that the error names, cannot be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")
        fresh.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
