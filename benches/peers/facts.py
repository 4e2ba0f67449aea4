"""On which machine and with what a record was made, and where it belongs."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from benches.peers.measure import ROOT

from batch_score import _native

RESULTS = Path(__file__).resolve().parents[1] / "results"
PACKAGES = (
    *("daft", "duckdb", "numpy", "onnx", "onnxruntime", "pandas", "polars", "psutil", "pyarrow", "ray"),
    *("onnxruntime-gpu", "nvidia-cuda-runtime", "nvidia-cudnn-cu13", "nvidia-cublas", "nvidia-ml-py"),
)
NOISE = re.compile(r"\((?:r|tm)\)|\bcpu\b|\bprocessor\b|@.*$", re.IGNORECASE)


def machine_facts() -> dict[str, Any]:
    """The hardware and how busy it is; no host name."""
    return {
        "cpu": cpu_model(),
        "usable_cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
    }


def packages() -> dict[str, str | None]:
    """Versions; None for what is not installed."""
    return {"batch-score": _native.__version__, **{name: _installed(name) for name in PACKAGES}}


def commit() -> dict[str, Any]:
    """The state of the repository; empty outside one."""
    try:
        found = _git("rev-parse", "HEAD")
        return {"id": found, "dirty": bool(_git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return {}


def cpu_model() -> str:
    """As the kernel calls it."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def slug(model: str, cores: int) -> str:
    """A short name for a machine, e.g. `intel-xeon-2c`."""
    words = re.findall(r"[a-z0-9]+", NOISE.sub(" ", model).lower())
    return "-".join([*words, f"{cores}c"])


def place(machine: str, date: str, results: Path = RESULTS) -> Path:
    """Where a record belongs; apart from those of pytest-benchmark, which have another form."""
    return results / machine / "peers" / f"{date}.json"


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
