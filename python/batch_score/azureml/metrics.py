"""What runs log, as JSON lines in their run directory: `metrics.jsonl` for values, `events.jsonl` for all else.

Any number of processes write to the same files: a line is appended by one call of the system, which puts it behind
whatever is there. A line that a full disk or a kill has cut off is closed by the next one and passed over by readers;
to know such a line from one that another process is just writing, writers take turns.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"


def append(path: Path, record: dict[str, Any]) -> None:
    """Appends a record as one line; its folder is made if it is not there.

    Raises:
        OSError: It cannot be written, or not as a whole.
    """
    line = json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace") + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # until it is closed
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) < len(line):
            raise OSError(f"{path}: the disk is full, so that a line was cut off; make room there")
    finally:
        os.close(descriptor)


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file, in the order in which they were written; none if there is no file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    for line in content.splitlines():
        try:
            record = json.loads(line)
        except ValueError:  # cut off
            continue
        if isinstance(record, dict):
            yield record


def now() -> str:
    """The time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def plain(value: Any) -> Any:
    """A value as JSON knows it: arrays become lists, numbers of numpy plain ones, what is not finite its name."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(one) for one in value]
    for name in ("tolist", "isoformat"):
        if callable(method := getattr(value, name, None)):
            return plain(method())
    return str(value)
