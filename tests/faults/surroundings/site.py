"""A folder with a table, a script and a run in bad surroundings: how it is started, and what must hold afterwards."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.integration.running import COMMAND, Command, Ran, numbers, wait_for

from batch_score import _native

EFFORT = os.environ.get("BATCH_SCORE_EFFORT", "quick")
thorough = pytest.mark.skipif(EFFORT == "quick", reason="BATCH_SCORE_EFFORT is quick")
long = pytest.mark.skipif(EFFORT != "full", reason="BATCH_SCORE_EFFORT is not full")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root")
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")

ROWS = 1_000
HANG_S = 90
ECHO = "def run(rows):\n    return rows\n"
HEADER = ("source,row,id,a,b",)


def compiled(name, folder):
    """A library of this folder's C source `name`, to be loaded before all others."""
    library = folder / f"{Path(name).stem}.so"
    source = Path(__file__).with_name(name)
    compiler = shutil.which("cc")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o", library, source], check=True)
    return library


def echoed(rows=ROWS, source="t.csv"):
    """The lines of a complete output of the script ECHO, sorted."""
    return sorted([*HEADER, *(f"{source},{i},{i},{i / 4:.12g},{-i}" for i in range(rows))])


class Site:
    """A folder with a table `t.csv`, a script `score.py` and the run directory `r`.

    Args:
        folder: Empty.
    """

    def __init__(self, folder):
        self.folder = folder
        self.run_dir = folder / "r"
        self.command = Command(folder, f"{folder}-{time.monotonic_ns()}")
        self.started = []

    def table(self, rows=ROWS):
        numbers(self.folder / "t.csv", rows)

    def script(self, text):
        (self.folder / "score.py").write_text(textwrap.dedent(text), encoding="utf-8")

    def start(self, *arguments, before=(), environment=None, code=COMMAND[2]):
        """`batch-score ARGUMENTS` in a process of its own; `before` is a command that is given this one to run."""
        process = subprocess.Popen(
            [*map(str, before), sys.executable, "-c", code, *map(str, arguments)],
            cwd=self.folder,
            env=self.command.environment(environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def ended(self, process, timeout=HANG_S):
        """Waits for the end; no process may be left, and nothing may look like a fault of the program itself."""
        out, err = process.communicate(timeout=timeout)
        assert "Traceback" not in err + out, err
        assert "internal error" not in err + out, err
        wait_for(lambda: self.command.alive() == [], timeout=10)
        return Ran(process.returncode, out, err, self.folder)

    def begin(self, *options, source="t.csv", size="1KB", workers=1, **start):
        """Starts a new run in `r`."""
        fixed = ("score.py", source, "--run-dir", "r", "--mini-batch-size", size, "--process-count-per-node", workers)
        return self.start("run", "--quiet", *fixed, *options, **start)

    def run(self, *options, timeout=HANG_S, **start):
        """A new run in `r` to its end."""
        return self.ended(self.begin(*options, **start), timeout)

    def resume(self, *options, **start):
        """`batch-score resume r` to its end."""
        return self.ended(self.start("resume", "r", "--quiet", *options, **start))

    def end(self):
        """Kills what is left, which is an error."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        left = self.command.alive()
        for process in left:
            process.kill()
        assert left == []

    @property
    def output(self):
        [path] = (self.run_dir / "outputs").iterdir()
        return path

    @property
    def lines(self):
        return sorted(self.output.read_text(encoding="utf-8").splitlines())

    @property
    def record(self):
        return json.loads((self.run_dir / "run.json").read_text(encoding="utf-8"))

    @property
    def items(self):
        return self.record["items"]

    @property
    def failed_items(self):
        text = (self.run_dir / "failed_items.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    @property
    def failed_rows(self):
        return sorted(item["row"] for item in self.failed_items)

    @property
    def journal(self):
        path = self.run_dir / "journal"
        return _native.read_journal(path).records if path.exists() else []

    @property
    def master_log(self):
        path = self.run_dir / "logs" / "sys" / "master_role.txt"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def check_whole(self, wanted):
        """The output has whole mini-batches only, up to the last record of the journal, and no line twice."""
        records = self.journal
        if not records:
            return
        ended = [record.index for record in records if record.kind != "preamble"]
        assert len(set(ended)) == len(ended)
        content = self.output.read_bytes()
        assert len(content) >= records[-1].end
        lines = Counter(content[: records[-1].end].decode().splitlines())
        assert not lines - Counter(wanted), "lines that an undisturbed run does not have, or has once"
        headers = sum(record.kind == "preamble" for record in records)
        assert lines.total() == headers + sum(record.returned for record in records)

    def check_complete(self, done, wanted=None):
        """The run has completed, to the same lines as one that nothing disturbs."""
        assert done.code == 0, f"{done.err}{done.out}"
        assert self.record["status"] == "completed"
        assert self.lines == (echoed() if wanted is None else wanted)
        self.check_whole(self.lines)


def told(done):
    """The closing summary on the console by its first words: `told(done)["cause"]`."""
    pairs = (line.split(maxsplit=1) for line in done.out.splitlines() if line and not line.startswith(" "))
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}
