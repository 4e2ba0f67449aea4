"""Makes a record of a benchmark run: `python benches/record.py REPORT.json MACHINE`.

REPORT.json is what `pytest benches --benchmark-only --benchmark-json=REPORT.json` has written. The record is
`benches/results/MACHINE/DATE.json`, the same format without the single rounds, host name and CPU flags, so that
`pytest-benchmark compare` reads it.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
BUSY = 0.5
MACHINE_FACTS = ("system", "kernel", "python_version", "usable_cores", "memory_bytes", "gpus")
RUN_FACTS = ("batch_score", "packages", "bench_mb", "load_average")


class RecordError(Exception):
    """The report cannot become a record."""


def record(report: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a report of pytest-benchmark.

    Raises:
        RecordError: The report is not of these benchmarks, has none, or the machine was busy when they began.
    """
    machine = report["machine_info"]
    missing = [name for name in (*MACHINE_FACTS, *RUN_FACTS) if name not in machine]
    if missing:
        raise RecordError(f"the report has no {', '.join(missing)}; make it with pytest benches --benchmark-json=FILE")
    if not report["benchmarks"]:
        raise RecordError("the report has no benchmarks; record a run in which one has passed")
    busy = machine["load_average"][0] / machine["usable_cores"]
    if busy > BUSY:
        raise RecordError(
            f"the machine was busy when the run began ({busy:.1f} runnable processes a core); run on an idle one"
        )
    facts = {name: machine[name] for name in (*MACHINE_FACTS, *RUN_FACTS)}
    return {
        "machine_info": {**facts, "cpu": {"brand_raw": machine["cpu"].get("brand_raw", machine.get("processor", ""))}},
        "commit_info": {name: report["commit_info"].get(name) for name in ("id", "time", "dirty")},
        "benchmarks": [_benchmark(one) for one in report["benchmarks"]],
        "datetime": report["datetime"],
        "version": report["version"],
    }


def _benchmark(one: dict[str, Any]) -> dict[str, Any]:
    names = ("group", "name", "fullname", "params", "param", "extra_info", "options")
    return {
        **{name: one[name] for name in names},
        "stats": {name: one["stats"][name] for name in one["stats"] if name != "data"},
    }


def place(recorded: dict[str, Any], machine: str, results: Path = RESULTS) -> Path:
    """Where a record belongs: a folder per machine, a file per day."""
    return results / machine / f"{datetime.fromisoformat(recorded['datetime']).date().isoformat()}.json"


def main() -> int:
    """Reads the report and writes the record; the exit code."""
    parser = argparse.ArgumentParser(description="Makes a record of a benchmark run.")
    parser.add_argument("report", type=Path, help="what --benchmark-json has written")
    parser.add_argument("machine", help="a name for the machine, e.g. epyc-7r13-2-cores")
    arguments = parser.parse_args()
    try:
        recorded = record(json.loads(arguments.report.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecordError) as error:
        sys.stderr.write(f"{arguments.report}: {error}\n")
        return 1
    path = place(recorded, arguments.machine)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
