"""Every example runs as a real process, the way its own README says, and finds nothing wrong with its output."""

import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
PROGRAMS = sorted(path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py"))
REPORTS = {
    "entry_scripts/score_table.py": r"10000 loans scored, each exactly once; [1-9]\d* will more likely default",
    "entry_scripts/count_words.py": r"50 files counted, each exactly once",
    "entry_scripts/score_images.py": r"60 images scored, each exactly once",
    "entry_scripts/score_with_torch.py": r"5000 rows scored, each exactly once",
    "entry_scripts/with_context.py": r"2000 rows in [2-9] mini-batches, each row exactly once",
    "python_api.py": r"9000 rows scored, each exactly once",
}

NEEDS = {"entry_scripts/score_with_torch.py": "torch"}


def run_example(program, tmp_path, *arguments):
    """Run one example in an empty folder, with this interpreter's commands first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        [sys.executable, EXAMPLES / program, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("program", sorted(REPORTS))
def test_an_example_runs_and_reports(program, tmp_path):
    if program in NEEDS:
        pytest.importorskip(NEEDS[program], reason=f"{program} needs {NEEDS[program]}, which is too large to test with")
    done = run_example(program, tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(REPORTS[program], done.stdout), done.stdout
    assert list(tmp_path.iterdir()) == []  # it leaves nothing behind


@pytest.mark.slow
def test_the_demo_data_can_be_made_again(tmp_path):
    pytest.importorskip("sklearn", reason="train_digits.py needs scikit-learn, which batch-score itself does not")
    for name in ("first", "second"):
        done = run_example("train_digits.py", tmp_path, tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert float(re.search(r"test images: (0\.\d+)", done.stdout)[1]) >= 0.97
    shipped = resources.files("batch_score.demo")
    for name in ("digits.csv", "digits.onnx", "digits.zip"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    for name in ("digits.csv", "digits.zip"):  # the model's last bits may depend on the processor
        assert (tmp_path / "first" / name).read_bytes() == shipped.joinpath(name).read_bytes()


def test_every_example_is_tested_and_listed():
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(PROGRAMS) == {*REPORTS, "train_digits.py"}
    assert all(f"({program})" in readme and f"python examples/{program}" in readme for program in PROGRAMS)
