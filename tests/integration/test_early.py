"""Interpreters that start before the job is prepared: who becomes a worker, and what becomes of the others."""

import os
from pathlib import Path

import psutil
import pytest
from tests.integration.running import numbers, wait_for

from batch_score import ParallelRunConfig
from batch_score.engine.interpreter import Interpreter, Waiting
from batch_score.job.early import MOST, early
from batch_score.worker.messages import Launch


def config(**settings):
    return ParallelRunConfig(**{"entry_script": "score.py", "device": "cpu"} | settings)


def children():
    """The workers' interpreters that this process has started and that are alive."""
    started = psutil.Process().children()
    return [one.pid for one in started if any("worker.start" in word for word in one.cmdline())]


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 3),
        ({"process_count_per_node": MOST + 2}, MOST),
        ({"engine": "inline"}, 0),
        ({"device": "cuda", "gpus": ("7",)}, 0),  # there is none: preparing the job says so
    ],
)
def test_as_many_start_as_there_will_be_workers_and_none_is_left(settings, count):
    with early(config(**{"process_count_per_node": 3} | settings)):
        assert len(children()) == count
    assert children() == []


def test_one_is_taken_by_a_launch_for_its_device_and_its_cores_only():
    waiting = Waiting()
    waiting.start({**os.environ}, (0,), {"CUDA_VISIBLE_DEVICES": "GPU-a"})
    for device, cpus in (("GPU-b", (0,)), ("GPU-a", ()), ("GPU-a", (1,))):
        assert waiting.take(Launch(0, {"CUDA_VISIBLE_DEVICES": device}, None, cpus=cpus)) is None
    [pid] = children()
    taken = waiting.take(Launch(0, {"CUDA_VISIBLE_DEVICES": "GPU-a", "more": "x"}, None, cpus=(0,)))
    assert taken.process.pid == pid
    assert waiting.take(Launch(0, {"CUDA_VISIBLE_DEVICES": "GPU-a"}, None, cpus=(0,))) is None
    waiting.close()
    assert children() == [pid]
    taken.kill()
    taken.process.wait()
    taken.close()


def test_one_whose_starter_lets_go_of_it_leaves():
    interpreter = Interpreter.start({**os.environ})
    interpreter.close()
    assert interpreter.process.wait(timeout=30) == 0


def test_workers_have_the_whole_environment_of_their_job(tmp_path, batch_score, script):
    """What is not known when they start, the run directory for one, is in it all the same."""
    script("""
        import os, pathlib

        def init():
            names = ("BATCH_SCORE_RUN_DIR", "AZUREML_BI_OUTPUT_PATH", "AZUREML_RUN_ID", "OMP_NUM_THREADS", "MINE")
            pathlib.Path(f"worker-{os.getpid()}").write_text(" ".join(os.environ[name] for name in names))

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 20)
    (tmp_path / "c.yml").write_text("environment_variables: {MINE: yes-mine}\n")
    options = ("--process-count-per-node", 2, "--run-dir", "r", "--config", "c.yml")
    done = batch_score.run("score.py", "t.csv", *options)
    assert done.code == 0, done.err
    run_dir = tmp_path / "r"
    wanted = f"{run_dir} {run_dir / 'outputs'} r {max(1, os.cpu_count() // 2)} yes-mine"
    assert [path.read_text() for path in tmp_path.glob("worker-*")] == [wanted] * 2


# Stands in the way of a module that every worker imports before it knows what it will do.
IN_THE_WAY = """
import os, sys
if any("worker" in argument for argument in sys.orig_argv):
    print("printed while importing", flush=True)
    print("a warning", file=sys.stderr, flush=True)
    {then}
sys.path.remove(os.path.dirname(__file__))
del sys.modules["pyarrow"]
import pyarrow
"""


@pytest.mark.parametrize(("then", "code"), [("pass", 0), ("os._exit(7)", 1)])
def test_what_is_printed_before_a_worker_has_log_files_is_in_them(then, code, tmp_path, batch_score, script):
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "pyarrow.py").write_text(IN_THE_WAY.format(then=then), encoding="utf-8")
    path = f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    script("def run(rows):\n    print('printed by run')\n    return rows\n")
    numbers(tmp_path / "t.csv", 20)
    options = ("--process-count-per-node", 1, "--run-dir", "r")
    done = batch_score("run", "score.py", "t.csv", *options, PYTHONPATH=path)
    assert done.code == code, done.err
    logs = tmp_path / "r" / "logs" / "sys" / "node" / "node-0"
    assert (logs / "process000.stdout.txt").read_text().startswith("printed while importing\n")
    assert "a warning\n" in (logs / "process000.stderr.txt").read_text()
    assert ("exit code 7" in done.out) == bool(code)


def test_bad_input_leaves_no_process(tmp_path, batch_score, script):
    script("def run(rows):\n    return rows\n")
    done = batch_score("run", "score.py", tmp_path / "nowhere.csv")
    assert done.code == 2
    assert done.err.count("\n") == 1
    wait_for(lambda: batch_score.alive() == [], timeout=5)
    assert not Path(tmp_path, "runs").exists()
