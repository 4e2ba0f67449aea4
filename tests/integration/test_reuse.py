"""`ParallelRunStep(..., allow_reuse=True)`: an earlier run of the same step does, and any other one does not."""

import fcntl
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from tests import models
from tests.integration.running import numbers, wait_for

from batch_score import BatchScoreError, FileDataset, ParallelRunConfig, ParallelRunStep, TabularDataset
from batch_score.job import session
from batch_score.job.prepare import prepare
from batch_score.progress import Progress

COUNTING = """
    import os, pathlib, signal

    def run(rows):
        with open("calls", "a") as file:
            file.write("x")
        if pathlib.Path("stop").exists() and os.path.getsize("calls") == 3:
            os.kill(os.getpid(), signal.SIGINT)
        if pathlib.Path("fail").exists() and os.path.getsize("calls") > 3:
            raise ValueError("the service is down")
        return rows
"""
SIZE = "100"
FAILING = {"on_failure": "skip", "run_max_try": 1}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a table and an entry script that counts its calls."""
    monkeypatch.chdir(tmp_path)
    numbers(tmp_path / "t.csv", 100)
    (tmp_path / "score.py").write_text(textwrap.dedent(COUNTING))
    return tmp_path


def step(*, inputs=None, output=None, arguments=(), allow_reuse=True, run_dir=None, **config):
    settings = {"entry_script": "score.py", "engine": "inline", "device": "cpu", "mini_batch_size": SIZE, **config}
    inputs = inputs or [TabularDataset.from_delimited_files("t.csv")]
    return ParallelRunStep(
        "my-step",
        ParallelRunConfig(**settings),
        inputs,
        output,
        arguments=arguments,
        allow_reuse=allow_reuse,
        run_dir=run_dir,
    )


def calls():
    return Path("calls").stat().st_size if Path("calls").exists() else 0


def test_the_result_of_an_equal_run_is_returned_and_nothing_runs(place):
    first = step().run()
    count = calls()
    assert (first.status, first.reused) == ("completed", False)
    again = step().run()
    assert again.reused
    assert calls() == count > 3
    assert again.as_json() == first.as_json()
    assert again.run_dir == place / "runs" / "my-step"
    assert str(again).splitlines()[0] == str(first).splitlines()[0]
    assert [path.name for path in Path("runs").iterdir()] == ["my-step"]


def test_it_is_said(place):
    step().run()
    with (place / "progress").open("w") as stream:
        step().run(Progress(stream))
    assert "nothing to run: " in (place / "progress").read_text()


@pytest.mark.parametrize(
    "config", [{"process_count_per_node": 2}, {"run_max_try": 7}, {"logging_level": "DEBUG"}, {"error_threshold": 5}]
)
@pytest.mark.usefixtures("place")
def test_what_decides_no_row_may_be_other(config):
    step().run()
    assert step(**config).run().reused


def other_input():
    numbers(Path("t.csv"), 101)


def other_script():
    with Path("score.py").open("a") as file:
        file.write("#")


def no_output():
    Path("runs/my-step/outputs/parallel_run_step.txt").unlink()


def other_output():
    with Path("runs/my-step/outputs/parallel_run_step.txt").open("a") as file:
        file.write("#")


def nothing():
    pass


OTHERS = {
    "input": (other_input, {}),
    "script": (other_script, {}),
    "arguments": (nothing, {"arguments": ["--x"]}),
    "mini-batches": (nothing, {"mini_batch_size": "200"}),
    "form": (nothing, {"append_row_file_name": "x.csv"}),
    "output": (nothing, {"output": "out"}),
    "variables": (nothing, {"environment_variables": {"A": "1"}}),
    "environment": (nothing, {"environment": "conda.yml"}),
    "output is gone": (no_output, {}),
    "output was changed": (other_output, {}),
    "not allowed": (nothing, {"allow_reuse": False}),
}


@pytest.mark.parametrize("what", OTHERS)
def test_another_job_is_a_new_run(what, place):
    change, settings = OTHERS[what]
    step().run()
    change()
    again = step(**settings).run()
    assert (again.status, again.reused) == ("completed", False)
    assert again.run_dir == place / "runs" / "my-step-2"


def test_an_older_run_may_do_when_the_newest_does_not(place):
    first = step().run()
    assert step(mini_batch_size="200").run().run_dir.name == "my-step-2"
    assert step().run().as_json() == first.as_json()
    (place / "runs" / "my-step-2" / "run.json").write_text("{")  # one that cannot be read is no run
    assert step().run().reused


@pytest.mark.parametrize("config", [{"allowed_failed_count": 1}, {"allowed_failed_percent": 1}, {"error_threshold": 3}])
def test_a_run_with_more_failures_than_now_allowed_does_not_do(config, place):
    (place / "fail").touch()
    first = step(**FAILING).run()
    assert (first.status, first.totals.mini_batches_succeeded) == ("completed", 3)
    assert step(**FAILING).run().reused
    (place / "fail").unlink()
    again = step(**FAILING, **config).run()
    assert (again.status, again.reused) == ("completed", False)


@pytest.mark.parametrize(
    "config",
    [{"on_failure": "bisect"}, {"run_max_try": 2}, {"run_invocation_timeout": 9}, {"task_overhead_timeout": 9}],
)
def test_a_run_with_failed_items_does_not_do_when_others_might_fail_now(config, place, caplog):
    (place / "fail").touch()
    step(**FAILING).run()
    (place / "fail").unlink()
    caplog.set_level("INFO", "batch_score")
    again = step(**{**FAILING, **config}).run()
    assert (again.status, again.reused, again.totals.items_failed) == ("completed", False, 0)
    [name] = config
    assert f"is not used again: it had failed items, and {name} is {config[name]} (was " in caplog.text


def test_a_code_root_counts_with_all_that_is_in_it_but_the_jobs_own_files(place):
    (place / "words.txt").write_text("one")
    (place / "score.py").write_text(
        "import pathlib\ndef run(rows):\n    return [pathlib.Path('words.txt').read_text()] * len(rows)\n"
    )
    assert not step(source_directory=".", output="out").run().reused
    assert step(source_directory=".", output="out").run().reused
    assert step(source_directory=".").run().run_dir.name == "my-step-2"
    assert step(source_directory=".").run().reused
    (place / "words.txt").write_text("two")
    again = step(source_directory=".").run()
    assert again.run_dir.name == "my-step-3"
    assert "two" in again.output.read_text()


def test_a_model_counts_with_the_weights_outside_of_it(place):
    (place / "t.csv").write_text("x\n1\n2\n")
    model = onnx.load(models.weighted_sum(place / "m.onnx", 1))
    how = {"save_as_external_data": True, "location": "m.onnx.data", "size_threshold": 0}
    onnx.save(model, place / "m.onnx", **how)
    settings = {"entry_script": "m.onnx", "features": "x", "append_row_file_name": "o.csv"}
    first = step(**settings).run()
    assert pd.read_csv(first.output)["score"].tolist() == [1.0, 2.0]
    assert step(**settings).run().reused
    (place / "m.onnx.data").write_bytes(np.float32(3).tobytes())
    again = step(**settings).run()
    assert pd.read_csv(again.output)["score"].tolist() == [3.0, 6.0]


def test_an_unfinished_run_is_gone_on_with(place):
    (place / "stop").touch()
    first = step(append_row_file_name="o.csv").run()
    assert first.status == "interrupted"
    assert first.ending.advice.startswith("resume with: batch-score resume ")
    (place / "stop").unlink()
    again = step(append_row_file_name="o.csv").run()
    assert (again.status, again.reused, again.run_dir) == ("completed", False, first.run_dir)
    assert again.ended_before == first.totals.mini_batches > 0
    assert again.totals.items_succeeded == 100
    assert sorted(pd.read_csv(again.output)["id"]) == list(range(100))


def test_a_failed_run_is_gone_on_with_only_if_it_may_succeed(place):
    (place / "fail").touch()
    config = {"on_failure": "skip", "run_max_try": 1}
    first = step(**config, error_threshold=0).run()
    assert first.status == "failed"
    (place / "fail").unlink()
    beyond = step(**config, error_threshold=50).run()
    assert (beyond.status, beyond.run_dir) == ("completed", first.run_dir)
    assert beyond.totals.items_failed == first.totals.items_failed > 0
    new = step(**config, error_threshold=0).run()
    assert (new.status, new.run_dir.name, new.totals.items_failed) == ("completed", "my-step-2", 0)


def test_a_run_of_which_nothing_succeeded_is_no_beginning(place):
    (place / "calls").write_text("xxxx")
    (place / "fail").touch()
    config = {"on_failure": "skip", "run_max_try": 1}
    assert step(**config).run().status == "failed"
    (place / "fail").unlink()
    again = step(**config).run()
    assert (again.status, again.run_dir.name) == ("completed", "my-step-2")


def test_a_run_that_another_process_writes_is_left_to_it(place):
    (place / "stop").touch()
    step().run()
    (place / "stop").unlink()
    with (place / "runs" / "my-step" / "journal").open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        assert step().run().run_dir.name == "my-step-2"


def test_a_failed_run_of_which_nothing_had_succeeded_yet_is_gone_on_with(place):
    (place / "score.py").write_text(
        "import pathlib\ndef run(rows):\n    assert not pathlib.Path('fail').exists()\n    return rows\n"
    )
    (place / "fail").touch()
    first = step(**FAILING, allowed_failed_count=2).run()
    assert (first.status, first.totals.returned, first.totals.mini_batches) == ("failed", 0, 3)
    assert first.ending.advice.endswith(" --allowed-failed-count 3")
    (place / "fail").unlink()
    again = step(**FAILING, allowed_failed_count=3).run()
    assert (again.status, again.run_dir, again.ended_before) == ("completed", first.run_dir, 3)


def test_a_run_directory_that_lies_in_the_input_is_not_gone_on_with(place, files):
    """Its result may be taken all the same."""
    assert not files().reused
    (place / "in" / "inner").mkdir()
    (place / "runs").rename(place / "in" / "inner" / "runs")
    inside = {"inputs": [FileDataset.from_files("in")], "mini_batch_size": 3, "run_dir": "in/inner/runs/my-step"}
    with pytest.raises(BatchScoreError, match=r"cannot be used again: .* lies inside the input in, so that the job"):
        step(**inside).run()


def test_a_run_whose_journal_is_gone_is_left_alone(files, caplog):
    first = files()
    (first.run_dir / "journal").unlink()
    caplog.set_level("INFO", "batch_score")
    again = files()
    assert (again.status, again.run_dir.name) == ("completed", "my-step-2")
    assert (
        f"{first.run_dir} is not used again: [Errno 2] No such file or directory: '{first.run_dir}/journal'"
        in caplog.text
    )
    chosen = {"inputs": [FileDataset.from_files("in")], "mini_batch_size": 3, "run_dir": first.run_dir}
    with pytest.raises(BatchScoreError, match=r"cannot be used again: .*journal'; give another run_dir"):
        step(**chosen).run()


@pytest.mark.usefixtures("files")
def test_a_listed_file_that_has_vanished_is_named(place):
    dataset = FileDataset.from_files([place / "in" / "07.txt", place / "in" / "08.txt"])
    step(inputs=[dataset], run_dir="r").run()
    (place / "in" / "08.txt").unlink()
    with pytest.raises(BatchScoreError, match=r"cannot be used again: .*08\.txt.*; give another run_dir"):
        step(inputs=[dataset], run_dir="r").run()


def test_a_completed_run_with_settings_of_another_version_is_left_alone(place):
    (place / "fail").touch()
    first = step(**FAILING).run()
    record = json.loads((first.run_dir / "run.json").read_text())
    record["config"]["colour"] = "red"
    (first.run_dir / "run.json").write_text(json.dumps(record))
    with pytest.raises(BatchScoreError, match=r"run\.json cannot be used: the setting 'colour' is not known"):
        step(**FAILING, run_dir=first.run_dir).run()
    (place / "fail").unlink()
    assert step(**FAILING).run().run_dir.name == "my-step-2"


@pytest.mark.usefixtures("place")
def test_a_number_that_another_run_takes_meanwhile_is_left_to_it(monkeypatch):
    """Between looking for a free number and looking into the folder, twice."""
    others = {"my-step", "my-step-2"}

    def prepare_late(request, *inventory):
        if request.run_dir.name in others:
            others.remove(request.run_dir.name)
            step(run_dir=request.run_dir, allow_reuse=False).run()
        return prepare(request, *inventory)

    monkeypatch.setattr(session, "prepare", prepare_late)
    done = step(allow_reuse=False).run()
    assert (done.status, done.run_dir.name) == ("completed", "my-step-3")
    assert sorted(path.name for path in Path("runs").iterdir()) == ["my-step", "my-step-2", "my-step-3"]


def test_a_chosen_run_directory_is_used_again_or_refused_with_the_reason(place):
    first = step(run_dir="r").run()
    assert step(run_dir="r").run().as_json() == first.as_json()
    with pytest.raises(BatchScoreError, match=r"mini_batch_size is 200 \(was 100\); give another run_dir"):
        step(run_dir="r", mini_batch_size="200").run()
    with pytest.raises(BatchScoreError, match=r"output folder is .*out \(was in the run directory\); give another"):
        step(run_dir="r", output="out").run()
    with pytest.raises(BatchScoreError, match="holds a completed run"):
        step(run_dir="r", allow_reuse=False).run()
    numbers(place / "t.csv", 7)
    with pytest.raises(BatchScoreError, match=r"input t\.csv changed: "):
        step(run_dir="r").run()
    assert first.output.stat().st_size > 1000


def test_a_chosen_run_directory_of_an_unfinished_run_is_gone_on_with(place):
    (place / "stop").touch()
    step(run_dir="r", output="out").run()
    (place / "stop").unlink()
    again = step(run_dir="r", output="out").run()
    assert (again.status, again.totals.items_succeeded) == ("completed", 100)
    assert again.output == place / "out" / "parallel_run_step.txt"


@pytest.fixture
def files(place):
    """Twenty files in `in`, older than any run."""
    (place / "in").mkdir()
    for number in range(20):
        (place / "in" / f"{number:02}.txt").write_text("one")
    (place / "score.py").write_text("def run(paths):\n    return [len(path) for path in paths]\n")
    time.sleep(0.02)  # the clock of a file system is a little coarse
    return lambda: step(inputs=[FileDataset.from_files("in")], mini_batch_size=3).run()


def keep_time(path):
    state = path.stat()
    path.write_text("two")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


FILE_CHANGES = {
    "content": lambda folder: (folder / "07.txt").write_text("two"),
    "content under the old time": lambda folder: keep_time(folder / "07.txt"),
    "new": lambda folder: (folder / "99.txt").write_text("one"),
    "missing": lambda folder: (folder / "07.txt").unlink(),
    "renamed": lambda folder: (folder / "07.txt").rename(folder / "07b.txt"),
}


@pytest.mark.parametrize("what", FILE_CHANGES)
def test_files_must_be_those_that_were_scored(what, place, files):
    assert not files().reused
    assert files().reused
    FILE_CHANGES[what](place / "in")
    again = files()
    assert (again.status, again.reused, again.run_dir.name) == ("completed", False, "my-step-2")


def test_a_killed_step_is_gone_on_with(place, batch_score):
    """With worker processes, in a process that is killed."""
    (place / "score.py").write_text(
        "import pathlib, time\ndef run(rows):\n    time.sleep(0.05 * pathlib.Path('slow').exists())\n    return rows\n"
    )
    (place / "step.py").write_text(
        "from batch_score import ParallelRunConfig, ParallelRunStep, TabularDataset\n"
        "config = ParallelRunConfig(entry_script='score.py', mini_batch_size='30', append_row_file_name='o.csv')\n"
        "result = ParallelRunStep('my-step', config, [TabularDataset.from_delimited_files('t.csv')]).run()\n"
        "print(result.status, result.ended_before > 0, result.run_dir.name)\n"
    )
    (place / "slow").touch()
    output = place / "runs" / "my-step" / "outputs" / "o.csv"
    with subprocess.Popen([sys.executable, "step.py"], env=batch_score.environment({})) as process:
        wait_for(lambda: output.exists() and output.stat().st_size > 100)
        process.kill()
    (place / "slow").unlink()
    wait_for(lambda: batch_score.alive() == [], timeout=20)
    done = batch_score.program((place / "step.py").read_text())
    assert done.out == "completed True my-step\n", done.err
    assert sorted(pd.read_csv(output)["id"]) == list(range(100))
