"""How a job ends when its last steps meet a full disk or a signal, and what it advises."""

import json
import os
import re
import signal

import pandas as pd
import pytest
from tests.integration.running import numbers

ROWS = 200
OPTIONS = ("score.py", "t.csv", "--run-dir", "r", "--mini-batch-size", "500", "--engine", "inline")
ECHO = "def run(rows):\n    return rows\n"
# In place of the command: the command, to which something happens whenever it is about to write run.json.
HOOKED = """
import os, sys

seen = []

def happens(event, arguments):
    if event == "open" and "/.run.json." in str(arguments[0]):
        seen.append(event)
        if len(seen) in {steps}:
            {what}

sys.addaudithook(happens)
from batch_score.cli import main
main()
"""
CLAIMED, ENDED = 1, 3  # between them it is written for the columns; a Parquet file needs that not
FULL = "raise OSError(28, os.strerror(28))"  # a write does not name its file either
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.fixture
def run(tmp_path, batch_score, script):
    """Runs the job in `r`; `run(what, *steps)` lets something happen to it, `run()` nothing."""
    numbers(tmp_path / "t.csv", ROWS)
    script(ECHO)

    def start(what="pass", *steps, arguments=("run", *OPTIONS, "--quiet")):
        return batch_score.program(HOOKED.format(what=what, steps=steps), *arguments)

    return start


@pytest.fixture
def goes_on(tmp_path, batch_score):
    """Resumes the run, which then has every row once."""

    def resume(*options):
        done = batch_score("resume", "r", "--json", "--quiet", *options)
        assert done.code == 0, done.err
        frame = pd.read_csv(done.output) if done.output.suffix == ".csv" else pd.read_parquet(done.output)
        assert sorted(frame["id"]) == list(range(ROWS))
        assert sorted(path.name for path in (tmp_path / "r").iterdir()) == FILES
        return done

    return resume


FILES = ["failed_items.jsonl", "journal", "logs", "outputs", "run.json"]


def record(folder):
    return json.loads((folder / "r" / "run.json").read_text())


def told(text):
    """The closing summary by its first words."""
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith(" "))
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}


@pytest.mark.parametrize(("form", "ended"), [("csv", ENDED), ("parquet", ENDED - 1)])
def test_a_completed_job_that_cannot_say_so_has_failed_and_goes_on(form, ended, tmp_path, run, goes_on):
    done = run(FULL, ended, arguments=("run", *OPTIONS, "--quiet", "--append-row-file-name", f"o.{form}"))
    assert (done.code, done.err) == (1, "")
    for summary in (told(done.out), told((tmp_path / "r" / "logs" / "job_result.txt").read_text())):
        assert summary["status"].startswith("failed after")
        assert summary["cause"] == (
            "all is scored, but the end of the run could not be written down: "
            f"[Errno 28] No space left on device: '{tmp_path / 'r' / 'run.json'}'"
        )
        assert summary["next"] == f"resume with: batch-score resume {tmp_path / 'r'}"
    assert record(tmp_path)["status"] == "running"
    assert not list((tmp_path / "r").glob(".run.json*"))
    assert goes_on().json["items"] == {"total": ROWS, "succeeded": ROWS, "failed": 0}


def test_a_failed_job_that_cannot_say_so_tells_both(run, script):
    script("def run(rows):\n    raise ValueError\n")
    done = run(FULL, 2, arguments=("run", *OPTIONS, "--quiet", "--error-threshold", "0", "--run-max-try", "1"))
    assert done.code == 1
    cause = told(done.out)["cause"]
    assert "error_threshold" in cause
    assert "nor could the end of the run be written down: [Errno 28]" in cause


def test_a_disk_that_is_full_when_the_columns_are_recorded(tmp_path, run, goes_on):
    done = run(FULL, 2)
    assert (done.code, done.err) == (1, "")
    assert "No space left on device" in told(done.out)["cause"]
    assert told(done.out)["next"] == f"resume with: batch-score resume {tmp_path / 'r'}"
    assert record(tmp_path)["status"] == "failed"
    goes_on()


def test_a_disk_that_is_full_from_the_start_is_one_line(tmp_path, run, batch_score):
    done = run(FULL, CLAIMED)
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert f"No space left on device: '{tmp_path / 'r' / 'run.json'}'" in line
    assert line.endswith("make room there, then give the command again")
    assert list((tmp_path / "r").iterdir()) == []
    assert batch_score("run", *OPTIONS, "--quiet").code == 0


def test_of_a_run_in_which_nothing_is_left_no_worker_is_started(tmp_path, run, script, goes_on):
    script(f"import os, pathlib\ndef init():\n    pathlib.Path(f'begun-{{os.getpid()}}').touch()\n{ECHO}")
    workers = ("--engine", "local", "--process-count-per-node", "2")
    killed = run("os.kill(os.getpid(), 9)", ENDED, arguments=("run", *OPTIONS, *workers, "--quiet"))
    assert (killed.code, record(tmp_path)["status"]) == (-9, "running")
    begun = sorted(tmp_path.glob("begun-*"))
    assert len(begun) == 2
    goes_on()
    assert sorted(tmp_path.glob("begun-*")) == begun


def test_a_sync_that_fails_is_told_once_and_the_run_goes_on(tmp_path, run, batch_score, goes_on):
    """The failed items are a device, which cannot be synced."""
    run("os.kill(os.getpid(), 9)", 2)
    for name in ("journal", "failed_items.jsonl", "outputs/predictions.csv"):  # nothing had been committed
        (tmp_path / "r" / name).unlink()
    (tmp_path / "r" / "failed_items.jsonl").symlink_to(os.devnull)
    done = batch_score("resume", "r", "--quiet")
    assert (done.code, done.err) == (1, "")
    assert "Invalid argument" in told(done.out)["cause"]
    assert told(done.out)["next"] == f"resume with: batch-score resume {tmp_path / 'r'}"
    assert record(tmp_path)["status"] == "failed"
    (tmp_path / "r" / "failed_items.jsonl").unlink()
    assert goes_on().json["items"]["succeeded"] == ROWS


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_at_the_very_end_changes_nothing(number, times, tmp_path, run):
    done = run("; ".join([f"os.kill(os.getpid(), {int(number)})"] * times), ENDED)
    assert (done.code, done.err) == (0, "")
    assert told(done.out)["status"].startswith("completed")
    assert record(tmp_path)["status"] == "completed"
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == FILES


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_the_run_directory_is_claimed_ends_a_run_that_goes_on(number, tmp_path, run, goes_on):
    done = run(f"os.kill(os.getpid(), {int(number)})", CLAIMED)
    assert (done.code, done.err) == (CODES[number], "")
    assert told(done.out)["status"].startswith("interrupted")
    assert told(done.out)["next"] == f"resume with: batch-score resume {tmp_path / 'r'}"
    assert record(tmp_path)["status"] == "interrupted"
    goes_on()


def test_two_signals_before_the_first_worker_are_one(tmp_path, run):
    kill = f"os.kill(os.getpid(), {int(signal.SIGTERM)})"
    done = run(f"{kill}; {kill}", CLAIMED)
    assert (done.code, record(tmp_path)["status"]) == (143, "interrupted")


def test_a_signal_in_shutdown_comes_too_late(tmp_path, run, script):
    script(f"import os\n{ECHO}\ndef shutdown():\n    os.kill(os.getpid(), {int(signal.SIGTERM)})\n")
    done = run()
    assert (done.code, record(tmp_path)["status"]) == (0, "completed")


@pytest.mark.usefixtures("run")
def test_signals_have_their_usual_effect_after_a_job(batch_score):
    """The job puts back what it found, also in a program that has handlers of its own."""
    code = f"""
import os, signal
got = []
signal.signal({int(signal.SIGTERM)}, lambda number, frame: got.append(number))
signal.signal({int(signal.SIGINT)}, signal.default_int_handler)  # a shell may have had it ignored
from batch_score import ParallelRunConfig, ParallelRunStep, TabularDataset
config = ParallelRunConfig(entry_script="score.py", engine="inline")
ParallelRunStep("my-step", config, [TabularDataset.from_delimited_files("t.csv")]).run()
os.kill(os.getpid(), {int(signal.SIGTERM)})
try:
    os.kill(os.getpid(), {int(signal.SIGINT)})
except KeyboardInterrupt:
    print("usual", got)
"""
    done = batch_score.program(code)
    assert done.out == f"usual [{int(signal.SIGTERM)}]\n", done.err


ADVICE = {
    "nothing has succeeded, but there is more": (1, "raise ValueError", r"\d+", True),
    "nothing has succeeded": (1, "raise ValueError", 0, False),
    "nothing was returned": (1, "return []", 0, False),
    "a threshold was exceeded in the end": (
        1,
        "assert rows['id'].max() < 199\n    return rows",
        1,
        True,
    ),
    "all is well": (0, "return rows", 0, False),
}


@pytest.mark.parametrize("what", ADVICE)
def test_going_on_is_advised_when_it_can_help(what, tmp_path, run, script):
    code, body, failed, advised = ADVICE[what]
    options = ("--error-threshold", 0) if failed else ()
    script(f"def run(rows):\n    {body}\n")
    done = run(arguments=("run", *OPTIONS, "--quiet", "--run-max-try", 1, *options))
    assert done.code == code, done.err
    higher = f" --error-threshold {failed}" if failed else ""
    wanted = rf"resume with: batch-score resume {tmp_path / 'r'}{higher}" if advised else "none"
    assert re.fullmatch(wanted, told(done.out).get("next", "none"))
