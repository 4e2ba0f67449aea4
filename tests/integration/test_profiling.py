"""`profiling_module`: what each worker leaves for Python's pstats."""

import pstats

import pytest
from tests.integration.running import numbers

from batch_score import TabularDataset

BUSY = """
    def slow_step(number):
        return number * 2

    def init():
        slow_step(0)

    def run(rows):
        {}slow_step(number) for number in rows["id"]{}

    def shutdown():
        slow_step(0)
"""


def calls(path, name):
    """How often a function was called."""
    found = pstats.Stats(str(path)).stats
    return sum(row[1] for (_, _, function), row in found.items() if function == name)


@pytest.mark.parametrize("module", ["cProfile", "profile"])
def test_each_worker_leaves_a_profile_of_its_calls(module, tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 300)
    text = script(BUSY.format("return [", "]"))
    options = ("--mini-batch-size", "500", "--process-count-per-node", "2")
    done = batch_score.run(text, "t.csv", *options, "--", "--profiling_module", module)
    assert done.code == 0, done.err
    files = sorted((done.logs / "sys/node/node-0").glob("*.profile*"))
    assert [path.name for path in files] == ["process000.profile", "process001.profile"]
    assert sum(calls(path, "slow_step") for path in files) == 300 + 2 + 2


def test_what_a_generator_does_is_in_the_profile(tmp_path, job, script):
    numbers(tmp_path / "t.csv", 30)
    script(BUSY.format("yield from (", ")"))
    dataset = TabularDataset.from_delimited_files(tmp_path / "t.csv")
    result = job(dataset, profiling_module="cprofile", mini_batch_size=100)
    assert result.totals.items_succeeded == 30
    assert calls(result.run_dir / "logs/sys/node/node-0/process000.profile", "slow_step") == 32


def test_a_killed_worker_leaves_what_it_had_written(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 3)
    script("import os\ndef prepared():\n    pass\ndef init():\n    prepared()\ndef run(rows):\n    os._exit(3)\n")
    options = ("--run-max-try", "1", "--on-failure", "skip", "--profiling-module", "cProfile")
    done = batch_score.run("score.py", "t.csv", *options)
    assert done.code == 1
    assert calls(done.logs / "sys/node/node-0/process000.profile", "prepared") == 1


def test_without_the_option_there_is_none(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 3)
    done = batch_score.run(script("def run(rows):\n    return rows\n"), "t.csv")
    assert not list(done.logs.rglob("*.profile"))


def test_another_module_is_refused(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 3)
    done = batch_score.run(script("def run(rows):\n    return rows\n"), "t.csv", "--", "--profiling_module", "yappi")
    assert done.code == 2
    assert "profiling_module must be one of cProfile, profile" in done.err
