"""Scripts and pipelines written as the public samples are, run as they would be: real processes, real files."""

import subprocess
import sys

import pytest

COMMAND = (sys.executable, "-c", "from batch_score.cli import main; main()")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test's folder, as the current one, with a workspace of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_SCORE_WORKSPACE", str(tmp_path / "workspace"))
    monkeypatch.setenv("BATCH_SCORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


@pytest.fixture
def write(here, write):  # noqa: ARG001 - so that a script finds itself in that folder
    """As everywhere, in the current folder."""
    return write


@pytest.fixture
def command(here):
    """Runs `batch-score` in the test's folder."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)], cwd=here, capture_output=True, text=True, timeout=100, check=False
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout
        return done

    return run


@pytest.fixture
def python(here):
    """Runs a Python program in the test's folder."""

    def run(name, *arguments, code=0):
        done = subprocess.run(
            [sys.executable, name, *map(str, arguments)],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    return run
