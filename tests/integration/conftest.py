"""Whole jobs: the real command in a process of its own, or the same job in this process through the Python API."""

import textwrap
import time

import pytest
from tests.integration.running import Command, Ran

from batch_score import ParallelRunConfig, ParallelRunStep
from batch_score.cli.app import run_app


@pytest.fixture
def batch_score(tmp_path):
    """The command, in an empty folder; no process may be left when the test ends."""
    command = Command(tmp_path, f"{tmp_path}-{time.monotonic_ns()}")
    yield command
    left = command.alive()
    for process in left:
        process.kill()
    assert left == []


@pytest.fixture
def called(tmp_path, monkeypatch, capsys):
    """The command in this process, ten times as quick: for calls that are refused before anything is started."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            run_app([str(one) for one in arguments])
        return Ran(end.value.code, *capsys.readouterr(), tmp_path)

    return call


@pytest.fixture
def script(tmp_path):
    """Writes an entry script and returns its name."""

    def write(text, name="score.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return name

    return write


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Runs a job through the Python API, by default inline: `job(dataset, "score.py", ...)`."""
    monkeypatch.chdir(tmp_path)

    def run(inputs, entry_script="score.py", *, arguments=(), output=None, **config):
        inputs = inputs if isinstance(inputs, list) else [inputs]
        number = len(list((tmp_path / "runs").glob("*"))) if (tmp_path / "runs").exists() else 0
        step = ParallelRunStep(
            "test-job",
            ParallelRunConfig(**{"entry_script": entry_script, "engine": "inline", "device": "cpu", **config}),
            inputs,
            output,
            arguments=arguments,
            run_dir=tmp_path / "runs" / str(number),
        )
        return step.run()

    return run
