"""What tests of the append writer share."""

import subprocess
import sys

from batch_score._native import Ending, read_journal

RUN = b"fingerprint-0001"
OPTIONS = {"run_id": RUN, "sync_bytes": 1 << 40, "sync_seconds": 1e9, "now": 0.0}
HEADER, RECORD = 32, 72


def commit(writer, index, payload=b"", failed_items=b"", **numbers):
    """A mini-batch of one item, scored in one piece."""
    return writer.append("committed", ending(index, **numbers), payload, failed_items, 0.0)


def fail(writer, index, failed_items=b""):
    """A mini-batch of one item that failed for good."""
    return writer.append("failed", ending(index, succeeded=0, returned=0), b"", failed_items, 0.0)


def ending(index, **numbers):
    return Ending(**{"index": index, "identity": 0, "attempt": 0, "total": 1, "succeeded": 1, "returned": 1, **numbers})


def row(record):
    numbers = (record.index, record.identity, record.attempt, record.total, record.succeeded, record.returned)
    return record.kind, *numbers, record.end, record.failed_end


def indices(journal):
    return [record.index for record in read_journal(journal).records]


def contents(paths):
    return [path.read_bytes() if path.exists() else None for path in paths]


def run_python(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
