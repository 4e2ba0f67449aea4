"""Pipelines that are interrupted or killed: nothing is left running, and what was done is not done again."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

COMMAND = (sys.executable, "-c", "from batch_score.cli import main; main()")
MARK = "BATCH_SCORE_TEST_MARK"
PIPELINE = """
    type: pipeline
    jobs:
      slow:
        type: parallel
        inputs: {rows: {type: mltable, path: ./rows}}
        outputs: {out: {type: uri_folder}}
        input_data: ${{inputs.rows}}
        mini_batch_size: "50"
        max_concurrency_per_instance: 1
        task: {entry_script: slow.py, append_row_to: "${{outputs.out}}"}
      beside:
        type: command
        command: echo waiting; python wait.py & python wait.py; wait
        code: ./code
"""
SLOW = """
    import os, pathlib, time

    def run(mini_batch):
        with open(os.environ["CALLS"], "a") as file:
            file.write("".join(f"{v}\\n" for v in mini_batch.a))
        if not pathlib.Path(os.environ["GO"]).exists():
            time.sleep(0.2)
        return [str(v) for v in mini_batch.a]
"""
WAIT = """
    import os, pathlib, time

    while not pathlib.Path(os.environ["GO"]).exists():
        time.sleep(0.02)
"""
ROWS = 400


@pytest.fixture
def slow(here, write, monkeypatch):
    """A pipeline of a job of many short mini-batches, and a command that waits, until a file is there."""
    write("rows/MLTable", "paths: [{file: rows.csv}]\ntransformations: [{read_delimited: {}}]\n")
    write("rows/rows.csv", "a\n" + "".join(f"{i}\n" for i in range(ROWS)))
    write("slow.py", SLOW)
    write("code/wait.py", WAIT)
    write("pipeline.yml", PIPELINE)
    monkeypatch.setenv("GO", str(here / "go"))
    monkeypatch.setenv("CALLS", str(here / "calls.txt"))
    monkeypatch.setenv(MARK, str(here))
    return here


def alive(here):
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(here) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in found if process.pid != os.getpid()]


def wait_until(condition, seconds=30):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it takes too long"
        time.sleep(0.02)


def started(here):
    process = subprocess.Popen(
        [*COMMAND, "pipeline", "pipeline.yml"], cwd=here, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    calls = here / "calls.txt"
    wait_until(lambda: calls.exists() and calls.read_text().count("\n") > ROWS // 20)
    wait_until(lambda: any("wait.py" in " ".join(one.cmdline()) for one in alive(here)))
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_the_end_nothing_runs_and_the_next_run_goes_on_with_the_job(slow, command, number):
    process = started(slow)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    wait_until(lambda: not alive(slow))
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number, err
        assert "step slow: canceled: interrupted by SIGINT" in err
        assert out.startswith("canceled: ")
    (slow / "go").touch()
    result = json.loads(command("pipeline", "pipeline.yml", "--json").stdout)
    assert result["status"] == "completed"
    step = next(step for step in result["steps"] if step["name"] == "slow")
    output = slow / step["folder"] / "outputs/out/parallel_run_step.txt"
    assert sorted(map(int, output.read_text().split())) == list(range(ROWS))
    calls = (slow / "calls.txt").read_text().split()
    assert len(calls) < ROWS + 100  # what was in flight is scored twice, all else once
    first = sorted((slow / "runs/pipeline").iterdir())
    assert len([folder for folder in first if (folder / "slow").is_symlink()]) == 1


def test_a_command_leaves_nothing_running_behind_it(slow, write, command):
    write(
        "left.yml",
        """
        type: pipeline
        jobs:
          left: {type: command, code: code, command: "python wait.py & echo done"}
    """,
    )
    command("pipeline", "left.yml")
    assert not alive(slow)


def test_a_script_that_tidies_up_when_it_is_asked_to_end_has_the_time(slow, write):
    from batch_score.azureml.pipeline.core import Pipeline  # noqa: PLC0415 - the tests above do without
    from batch_score.azureml.pipeline.steps import PythonScriptStep  # noqa: PLC0415 - as above

    write(
        "tidy/tidy.py",
        """
        import pathlib, signal, sys, time

        def tidy(*_):
            time.sleep(0.3)
            pathlib.Path("tidied").touch()
            sys.exit(0)

        signal.signal(signal.SIGTERM, tidy)
        pathlib.Path("ready").touch()
        time.sleep(60)
    """,
    )
    run = Pipeline(None, [PythonScriptStep("tidy.py", source_directory="tidy")]).submit("tidy")
    wait_until((slow / "tidy/ready").exists)
    run.cancel()
    assert (slow / "tidy/tidied").exists()
    assert run.get_status() == "Canceled"


def test_a_canceled_run_of_pipeline_code_stops(slow):
    from batch_score.azureml.pipeline.core import Pipeline  # noqa: PLC0415 - the tests above do without
    from batch_score.azureml.pipeline.steps import PythonScriptStep  # noqa: PLC0415 - as above

    run = Pipeline(None, [PythonScriptStep("wait.py", source_directory="code")]).submit("waiting")
    wait_until(lambda: alive(slow))
    assert run.wait_for_completion(show_output=False, timeout_seconds=0.1) == "Running"
    run.cancel()
    assert run.get_status() == "Canceled"
    assert not alive(slow)
