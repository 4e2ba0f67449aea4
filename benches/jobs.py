"""Whole jobs through the Python API, and what their run directories say of them."""

import csv
from datetime import datetime
from pathlib import Path

from batch_score import ParallelRunConfig, ParallelRunStep
from batch_score._native import read_journal

ENTRY_SCRIPTS = Path(__file__).parent / "entry_scripts"


def score(run_dir, entry_script, dataset, **config):
    """Runs a job on the CPU; one that does not complete is no measurement."""
    settings = ParallelRunConfig(entry_script=str(entry_script), device="cpu", **config)
    step = ParallelRunStep(name="bench", parallel_run_config=settings, inputs=[dataset], run_dir=run_dir)
    result = step.run()
    assert result.status == "completed", str(result)
    return result


def check_committed(result, count):
    """Asserts that the journal has each of `count` mini-batches exactly once."""
    records = read_journal(result.run_dir / "journal").records
    assert sorted(record.index for record in records if record.kind == "committed") == list(range(count))
    assert result.totals.mini_batches_succeeded == count
    assert result.totals.items_failed == 0


def steady_rate(result):
    """Mini-batches per second from the first one read to the last, the start of the workers excluded."""
    (report,) = result.run_dir.glob("logs/**/processed_mini-batches.csv")
    with report.open(newline="", encoding="utf-8") as file:
        starts = sorted(datetime.fromisoformat(row["Start Time"]) for row in csv.DictReader(file))
    return (len(starts) - 1) / (starts[-1] - starts[0]).total_seconds()
