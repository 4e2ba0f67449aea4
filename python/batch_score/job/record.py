"""`run.json`: what was run on what, with which versions and devices, and what it came to."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from batch_score.config import plain
from batch_score.job.prepare import RUN_RECORD

if TYPE_CHECKING:
    from batch_score.job.prepare import Prepared
    from batch_score.job.request import RunResult

PACKAGES = ("batch-score", "numpy", "onnxruntime", "onnxruntime-gpu", "pandas", "pyarrow")
INPUTS_LISTED = 1000


class RunRecord:
    """Writes `run.json` whole each time, so that a reader never sees half of it."""

    def __init__(self, prepared: Prepared, arguments: tuple[object, ...]) -> None:
        self._path = prepared.run_dir / RUN_RECORD
        self._content = _start(prepared, arguments)

    def start(self) -> None:
        """The job has begun."""
        self._write({"status": "running"})

    def end(self, result: RunResult) -> None:
        """The job has ended."""
        self._write(
            {"ended": _now(), "totals": asdict(result.totals), "cause": result.ending.cause, **result.as_json()}
        )

    def _write(self, more: dict[str, Any]) -> None:
        text = json.dumps({**self._content, **more}, indent=2, ensure_ascii=False, default=str)
        draft = self._path.with_suffix(".tmp")
        draft.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")  # a path need not be UTF-8
        draft.replace(self._path)


def _start(prepared: Prepared, arguments: tuple[object, ...]) -> dict[str, Any]:
    return {
        "format": 1,
        "status": "running",
        "started": _now(),
        "working_directory": os.getcwd(),  # noqa: PTH109 - text is what is written
        "command": sys.argv,
        "arguments": [str(argument) for argument in arguments],
        "config": plain(prepared.config),
        "fingerprint": prepared.fingerprint.hex(),
        "inputs": [_inputs(dataset.fingerprint()) for dataset in prepared.datasets],
        "versions": {"python": platform.python_version(), **_versions()},
        "host": {"name": platform.node(), "platform": platform.platform(), "cpus": os.cpu_count()},
        "workers": [_device(assignment) for assignment in prepared.assignments],
        "output": None if prepared.output is None else str(prepared.output),
    }


def _inputs(files: list[tuple[str, int, int]]) -> dict[str, Any]:
    listed = [{"path": path, "size": size, "mtime_ns": mtime} for path, size, mtime in files[:INPUTS_LISTED]]
    return {"files": len(files), "bytes": sum(size for _, size, _ in files), "listed": listed}


def _device(assignment: Any) -> dict[str, Any]:
    return {"worker": assignment.worker, "device": assignment.unit.uuid if assignment.unit else None}


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
