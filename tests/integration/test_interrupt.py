"""Ctrl-C and SIGTERM: the job ends at once, leaves no process, and its output holds whole mini-batches only."""

import json
import signal
import subprocess

import pandas as pd
import pytest
from tests.integration.running import numbers, tries, wait_for

from batch_score import _native
from batch_score.errors import OutputError

SLOW = """
    import subprocess, sys, time

    def init():
        if "inline" not in sys.argv:
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

    def run(rows):
        time.sleep(0.05)
        return rows
"""
SIGNALS = {"ctrl-c": (signal.SIGINT, 130), "terminate": (signal.SIGTERM, 143)}


def committed(folder):
    """Mini-batches that the journal of run directory `r` says are in the output."""
    try:
        records = _native.read_journal(folder / "r" / "journal").records
    except (FileNotFoundError, OutputError):  # it is not there yet, or not yet begun
        return []
    return [record for record in records if record.kind == "committed"]


@pytest.mark.parametrize("engine", ["local", "inline"])
@pytest.mark.parametrize("how", SIGNALS)
def test_an_interrupted_job_leaves_whole_mini_batches_and_no_process(how, engine, tmp_path, batch_score, script):
    number, code = SIGNALS[how]
    numbers(tmp_path / "t.csv", 20_000)
    options = ("--run-dir", "r", "--mini-batch-size", "500", "--process-count-per-node", 2, "--engine", engine)
    with batch_score.started(script(SLOW), "t.csv", *options, "--", engine) as process:
        wait_for(lambda: len(committed(tmp_path)) >= 5)
        process.send_signal(number)
        done = batch_score.ended(process)
    assert done.code == code, done.err
    assert done.json["status"] == "interrupted"
    assert number.name in done.err
    assert batch_score.alive() == []
    records = committed(tmp_path)
    frame = pd.read_csv(done.output)
    assert done.output.stat().st_size == records[-1].end
    assert len(frame) == sum(record.total for record in records) == done.json["items"]["succeeded"]
    assert len(set(frame["id"])) == len(frame)
    assert len(records) == done.json["mini_batches"]["succeeded"] < done.json["mini_batches"]["total"]
    run = json.loads((tmp_path / "r" / "run.json").read_text())
    assert (run["status"], run["mini_batches"]) == ("interrupted", done.json["mini_batches"])
    assert "interrupted" in (done.logs / "job_result.txt").read_text()
    # Arrow ends a read in the main thread, where the inline engine reads, when a signal comes: that try is no success.
    assert sum(row["Status"] == "RUN_DONE" for row in tries(done.run_dir)) == len(records)


def test_an_interrupt_while_a_hanging_script_starts(tmp_path, batch_score, script):
    script("""
        import pathlib, time

        def init():
            pathlib.Path("in-init").touch()
            time.sleep(600)

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    with batch_score.started("score.py", "t.csv", "--run-dir", "r") as process:
        wait_for((tmp_path / "in-init").exists)
        process.send_signal(signal.SIGINT)
        done = batch_score.ended(process)
    assert (done.code, done.json["status"]) == (130, "interrupted"), done.err
    assert done.json["items"] == {"total": 10, "succeeded": 0, "failed": 0}


def test_a_killed_coordinator_leaves_no_process(tmp_path, batch_score, script):
    """SIGKILL gives it no chance to clean up: the workers must notice, and take what they started with them."""
    numbers(tmp_path / "t.csv", 20_000)
    options = ("--run-dir", "r", "--mini-batch-size", "500", "--process-count-per-node", 2)
    with batch_score.started(script(SLOW), "t.csv", *options) as process:
        wait_for(lambda: len(committed(tmp_path)) >= 5)
        assert len(batch_score.alive()) == 5  # the coordinator, two workers, one child of each
        process.kill()
        process.communicate()
    wait_for(lambda: batch_score.alive() == [], timeout=10)


def test_the_reader_of_stdout_may_leave(tmp_path, batch_score):
    numbers(tmp_path / "t.csv", 20_000)
    command = [*batch_score.command, "plan", "t.csv", "--mini-batch-size", "10", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["index"] == 0
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1
