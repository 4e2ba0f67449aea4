"""The real command in a process of its own, and what it leaves behind."""

import csv
import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

COMMAND = (sys.executable, "-c", "from batch_score.cli import main; main()")
MARK = "BATCH_SCORE_TEST_MARK"
FULL = os.environ.get("BATCH_SCORE_EFFORT") == "full"


@dataclass(frozen=True)
class Ran:
    """A command that has ended, in the folder it ran in."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def json(self):
        """The one object that `--json` printed; anything else on stdout is an error."""
        return json.loads(self.out)

    @property
    def run_dir(self):
        return Path(self.json["run_dir"])

    @property
    def output(self):
        return Path(self.json["output"])

    @property
    def logs(self):
        return self.run_dir / "logs"

    @property
    def failed_items(self):
        lines = (self.run_dir / "failed_items.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    @property
    def error_lines(self):
        """What stderr says without the lines of progress."""
        return [line for line in self.err.splitlines() if line.startswith("batch-score: ")]


class Command:
    """Runs `batch-score` in `folder`; every process that comes of it carries `mark` in its environment."""

    command = COMMAND

    def __init__(self, folder, mark):
        self.folder = folder
        self.mark = mark

    def environment(self, given):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATCH_SCORE_")}
        return {**inherited, MARK: self.mark, **given}

    def __call__(self, *arguments, **environment):
        return self.program(COMMAND[2], *arguments, **environment)

    def program(self, code, *arguments, timeout=60, **environment):
        """Python code in a process of its own; by default that is the command."""
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment(environment),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert "Traceback" not in done.stdout
        return Ran(done.returncode, done.stdout, done.stderr, self.folder)

    def run(self, *arguments, **environment):
        """`batch-score run --json --quiet ...`."""
        return self("run", "--json", "--quiet", *arguments, **environment)

    @contextmanager
    def started(self, *arguments):
        """`batch-score run ... --json --quiet`, still running; killed at the end if it still is."""
        process = subprocess.Popen(
            [*COMMAND, "run", "--json", "--quiet", *map(str, arguments)],
            cwd=self.folder,
            env=self.environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def ended(self, process, timeout=60):
        out, err = process.communicate(timeout=timeout)
        return Ran(process.returncode, out, err, self.folder)

    def alive(self):
        """The processes that carry the mark: workers and whatever they started."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found


def wait_for(condition, timeout=60.0):
    """Waits until `condition()` is true and returns what it was."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    pytest.fail(f"still not so after {timeout} s: {condition}")


def numbers(path, rows, first=0):
    """Writes a table `id,a,b` with a = id / 4 and b = -id."""
    with path.open("w", encoding="utf-8") as file:
        file.write("id,a,b\n")
        file.writelines(f"{i},{i / 4},{-i}\n" for i in range(first, first + rows))
    return path


def tries(run_dir):
    """The rows of processed_mini-batches.csv."""

    path = run_dir / "logs" / "sys" / "job_report" / "processed_mini-batches.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
