"""Writing `run.json`: what is run on what, with which versions and devices, and what it came to."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from batch_score.job.layout import DRAFT, RUN_RECORD
from batch_score.job.record.reading import FORMAT
from batch_score.job.record.versions import versions
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from batch_score.dataset.base import Dataset
    from batch_score.job.prepare import Prepared
    from batch_score.job.request import JobRequest, RunResult

# What the end of a session writes, and the next session of the run takes back.
ENDED = (
    *("ended", "cause", "totals", "elapsed_s", "mini_batches", "items", "bytes_read", "bytes_written"),
    *("items_before", "bytes_before", "output_form", "output_bytes", "failed_items", "log"),
)
# The settings have the variables of the workers, which may be secrets, and a session that goes on needs their values.
PRIVATE = 0o600


class RunRecord:
    """Writes `run.json` whole each time, so that a reader never sees half of it, and for its owner alone.

    Args:
        prepared: The job.
        request: What it was made of.
    """

    def __init__(self, prepared: Prepared, request: JobRequest) -> None:
        self._path = prepared.run_dir / RUN_RECORD
        self._content = _start(prepared, request)
        self.run_id = bytes.fromhex(self._content["run_id"])

    @property
    def known_columns(self) -> tuple[str, ...]:
        """Columns of the rows that earlier sessions have appended, empty if they told none."""
        return tuple(self._content.get("columns", ()))

    def claim(self) -> None:
        """Takes the run directory for this new run.

        Raises:
            FileExistsError: Another run has it.
        """
        draft = self._draft()
        try:
            os.link(draft, self._path)  # unlike a rename, a link fails when the name is taken
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            self._path.touch(mode=PRIVATE, exist_ok=False)
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)

    def resume(self) -> None:
        """A session of the run has begun again; whoever says so holds the journal's lock."""
        self._content["resumed"] = [*self._content.get("resumed", []), _now()]
        self._write()

    def columns(self, names: Sequence[str]) -> None:
        """The rows to be appended have these columns, which a session that goes on must know."""
        self._content["columns"] = list(names)
        self._write()

    def end(self, result: RunResult) -> None:
        """The session has ended.

        Raises:
            OSError: It cannot be written down; the record is as it was, so that the run can be gone on with.
        """
        ending, output = result.ending, result.output
        self._content |= {
            **result.as_json(),
            "ended": _now(),
            "totals": asdict(result.totals),
            "times": [*self._content.get("times", []), *result.times],
            "items_before": ending.snapshot.items_before,
            "bytes_before": ending.snapshot.bytes_before,
            "output_form": ending.output_form,
            "output_bytes": output.stat().st_size if output is not None and output.is_file() else 0,
        }
        for left in self._path.parent.glob(f"{DRAFT}*"):  # by sessions that were killed while they wrote
            left.unlink(missing_ok=True)
        self._write()

    def _write(self) -> None:
        draft = self._draft()
        try:
            draft.replace(self._path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise

    def _draft(self) -> Path:
        text = json.dumps(self._content, indent=2, ensure_ascii=False, default=str)
        draft = self._path.with_name(f"{DRAFT}{os.getpid()}")
        draft.unlink(missing_ok=True)  # one that a killed process left would keep its mode
        try:
            # A path need not be UTF-8: what is escaped here is JSON's own form of it.
            opened = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
            with open(opened, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - a descriptor
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:  # which does not know the file when it comes from a write
            draft.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        return draft


def _start(prepared: Prepared, request: JobRequest) -> dict[str, Any]:
    earlier = request.resumes
    begun = {
        "format": FORMAT,
        "run_id": prepared.fingerprint.run_id.hex(),
        "started": _now(),
        "command": sys.argv,
    }
    if earlier is not None:
        begun = {name: value for name, value in earlier.record.content.items() if name not in ENDED}
    return {
        **begun,
        "status": "running",
        "working_directory": os.getcwd(),  # noqa: PTH109 - text is what is written
        "arguments": [str(argument) for argument in request.arguments],
        "config": plain(prepared.given),
        "inputs": [_input(dataset) for dataset in request.datasets],
        "fingerprint": prepared.fingerprint.as_json(),
        "versions": versions(),
        "host": {"name": platform.node(), "platform": platform.platform(), "cpus": os.cpu_count()},
        "workers": [_device(assignment) for assignment in prepared.assignments],
        "output_folder": None if request.output is None else str(request.output),
        "output": None if prepared.output is None else str(prepared.output),
    }


def _input(dataset: Dataset) -> dict[str, Any] | None:
    origin = dataset.origin
    return None if origin is None else origin.as_json()


def _device(assignment: Any) -> dict[str, Any]:
    return {"worker": assignment.worker, "device": assignment.unit.uuid if assignment.unit else None}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
