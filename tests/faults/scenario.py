"""Runs to disturb: what they read, what they must come to, and what must hold whenever one was stopped."""

import gzip
import json
import os
import random
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
import pyarrow as pa
from pyarrow import parquet
from tests.integration.running import COMMAND, Command, Ran, numbers, wait_for

from batch_score import _native

EFFORT = os.environ.get("BATCH_SCORE_EFFORT", "quick")
# No session takes a tenth of it; one that is not over by then hangs. So does a worker that outlives its coordinator.
HANG_S = 60
LEAVE_S = 20
RESUME = ("resume", "r", "--json", "--quiet")
HEADER = 32  # bytes of the journal before its records
ROWS = 240
FILES = 60


def by_effort(*, quick, ci, full):
    """How much of something this run of the tests affords."""
    return {"quick": quick, "ci": ci}.get(EFFORT, full)


def chance(seed):
    """Draws the same things each time it gets the same seed, which is a text."""
    return random.Random(seed)  # noqa: S311 - nothing is to be kept secret


def table(name):
    def write(folder):
        numbers(folder / "t.csv", ROWS)
        if name.endswith(".gz"):
            (folder / name).write_bytes(gzip.compress((folder / "t.csv").read_bytes(), mtime=0))
            (folder / "t.csv").unlink()

    return write


def json_lines(folder):
    """Two lines cannot be read: they are failed items of the reader."""
    lines = [json.dumps({"id": number, "a": number / 4}) for number in range(ROWS)]
    lines[40], lines[200] = "{", '{"id": '
    (folder / "t.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def files(folder):
    (folder / "in").mkdir()
    for number in range(FILES):
        text = "bad" if number in (5, 31, 32) else f"content of {number}"
        (folder / "in" / f"{number:03}.dat").write_text(text, encoding="utf-8")


# Each script fails for a few items, in mini-batches of about seven, and leaves one out.
TABLE = """
    import time

    def run(rows):
        time.sleep(0.01)
        if set(rows["id"]) & {17, 130, 131}:
            raise ValueError("a bad row")
        return rows[rows["id"] != 60]
"""
LIST = """
    import time

    def run(rows):
        time.sleep(0.01)
        if 130 in set(rows["id"]):
            raise ValueError("a bad row")
        lines = [f"{number} {a}" for number, a in zip(rows["id"], rows["a"])]
        return lines[:-1] if 60 in set(rows["id"]) else lines
"""
PATHS = """
    import time
    from pathlib import Path

    def run(paths):
        time.sleep(0.01)
        texts = [Path(path).read_text() for path in paths]
        if "bad" in texts:
            raise ValueError("a bad file")
        return texts
"""
DEADLY = """
    import ctypes, os, resource, time

    def init():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def run(rows):
        time.sleep(0.01)
        if 33 in set(rows["id"]):
            ctypes.string_at(0)
        if 150 in set(rows["id"]):
            os._exit(7)
        return rows
"""
# Says what it has finished, which is how a lost result shows, and waits as long as there is a file `hold`.
TELLING = """
    import os, time

    told = os.open("finished", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run(rows):
        time.sleep(0.03)
        while os.path.exists("hold"):
            time.sleep(0.01)
        os.write(told, "".join(f"{number}\\n" for number in rows["id"]).encode())
        return rows
"""


@dataclass(frozen=True)
class Scenario:
    """A job of some forty mini-batches that takes a second or two.

    Attributes:
        name: In test ids.
        source: What the command is given as input.
        write: Makes it, in the folder it is given.
        script: The entry script.
        options: Of the command.
        form: Extension of the output file; empty for none.
        items: How many there are.
    """

    name: str
    source: str
    write: object
    script: str
    options: tuple
    form: str
    items: int = ROWS

    @property
    def arguments(self):
        where = ("--output-action", "summary_only") if not self.form else ("--append-row-file-name", f"o.{self.form}")
        return ("run", "score.py", self.source, "--run-dir", "r", "--json", "--quiet", *where, *self.options)


def options(workers, tries=1, size="100"):
    return ("--mini-batch-size", size, "--process-count-per-node", str(workers), "--run-max-try", str(tries))


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("csv", "t.csv", table("t.csv"), TABLE, options(2), "csv"),
        Scenario("stream-to-jsonl", "t.csv.gz", table("t.csv.gz"), TABLE, options(3, 2), "jsonl"),
        Scenario("jsonl-to-text", "t.jsonl", json_lines, LIST, options(2, size="200"), "txt"),
        Scenario("parquet", "t.csv", table("t.csv"), TABLE, options(3), "parquet"),
        Scenario("summary", "t.csv", table("t.csv"), TABLE, options(4), ""),
        Scenario("files", "in", files, PATHS, options(2, 2, size="2"), "csv", FILES),
        Scenario("deadly", "t.csv", table("t.csv"), DEADLY, options(2), "csv"),
        Scenario("telling", "t.csv", table("t.csv"), TELLING, options(3, 30), "csv"),
    )
}


@dataclass(frozen=True)
class Found:
    """What a completed run came to, without what two runs of the same job may differ in.

    Attributes:
        rows: Lines of the output with their numbers; of a Parquet file its rows as JSON.
        failed: Lines of the failed items likewise, without tries and logs.
        totals: As in run.json.
        names: Everything in the run directory but the logs.
    """

    rows: Counter
    failed: Counter
    totals: dict
    names: frozenset


@dataclass
class Counts:
    """What the suite did, and what went wrong in it."""

    cycles: int = 0
    coordinators: int = 0
    workers: int = 0
    signals: int = 0
    damages: int = 0
    refusals: int = 0
    lost: int = 0
    doubled: int = 0
    hangs: int = 0

    def compare(self, wanted, found):
        self.lost += (wanted - found).total()
        self.doubled += (found - wanted).total()

    def __str__(self):
        return (
            f"cycles {self.cycles}, kills of coordinator {self.coordinators}, of workers {self.workers}, "
            f"interruptions {self.signals}, damaged files {self.damages}, of which refused {self.refusals}, "
            f"lost {self.lost}, doubled {self.doubled}, hangs {self.hangs}"
        )


@dataclass
class Place:
    """A folder with the run `r` of a scenario, and the real command on it.

    Attributes:
        scenario: The job.
        folder: Empty; gets input, script and run directory.
        counts: Where hangs, losses and doubled rows are counted.
        wanted: What the run must come to; None for the one that tells it.
    """

    scenario: Scenario
    folder: Path
    counts: Counts = field(default_factory=Counts)
    wanted: Found | None = None

    def __post_init__(self):
        self.run_dir = self.folder / "r"
        self.scratch = self.folder / "tmp"
        self.scratch.mkdir()
        self.scenario.write(self.folder)
        (self.folder / "score.py").write_text(textwrap.dedent(self.scenario.script), encoding="utf-8")
        self.sessions = []
        self.command = Command(self.folder, f"{self.folder}-{time.monotonic_ns()}")

    @property
    def next_session(self):
        """Arguments of the command: a new run or, if there is a record of one, to go on with it."""
        return RESUME if (self.run_dir / "run.json").exists() else self.scenario.arguments

    def start(self, *arguments, program=COMMAND[2]):
        """The command in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-c", program, *(arguments or self.next_session)],
            cwd=self.folder,
            env=self.command.environment({"TMPDIR": str(self.scratch)}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.sessions.append(process)
        return process

    def close(self):
        """Ends what is left of all sessions, and tells what that was."""
        left = self.command.alive()
        for process in left:
            process.kill()
        for session in self.sessions:
            session.communicate()
        return left

    def ended(self, process):
        """Waits for the end of a session and of all that it started, then looks at what it left."""
        try:
            out, err = process.communicate(timeout=HANG_S)
            wait_for(lambda: self.command.alive() == [], timeout=LEAVE_S)
        except BaseException:
            self.counts.hangs += 1
            self.close()
            raise
        self.check_stop()
        return Ran(process.returncode, out, err, self.folder)

    def complete(self):
        """Goes on until the run is complete, which takes one session, and checks what it came to."""
        done = self.ended(self.start())
        assert done.code == 0, done.err
        assert done.json["status"] == "completed"
        found = self.found()
        if self.wanted is not None:
            self.counts.compare(self.wanted.rows, found.rows)
            assert found == self.wanted
        assert list(self.scratch.iterdir()) == []
        return found

    @property
    def record(self):
        return json.loads((self.run_dir / "run.json").read_text(encoding="utf-8"))

    @property
    def journal(self):
        """The records of the journal; none while it has no header."""
        path = self.run_dir / "journal"
        if not path.exists() or path.stat().st_size < HEADER:
            return []
        return _native.read_journal(path).records

    @property
    def output(self):
        return self.run_dir / "outputs" / f"o.{self.scenario.form}" if self.scenario.form else None

    @property
    def growing(self):
        """The file that rows are appended to: the output, or the spool as long as it is there; None without one."""
        spool = self.run_dir / "spool.arrow"
        if self.scenario.form != "parquet" or not spool.exists():
            return None if self.scenario.form == "parquet" else self.output
        return spool

    def workers(self, process):
        """The processes that a coordinator has started."""
        try:
            return psutil.Process(process.pid).children()
        except psutil.NoSuchProcess:
            return []

    def kill_worker(self, worker):
        with suppress(psutil.NoSuchProcess):
            worker.kill()
            self.counts.workers += 1

    def found(self):
        names = {path.relative_to(self.run_dir) for path in self.run_dir.rglob("*")}
        record = self.record
        return Found(
            Counter(self.rows()),
            Counter(failed_lines((self.run_dir / "failed_items.jsonl").read_bytes())),
            {name: record[name] for name in ("totals", "mini_batches", "items")},
            frozenset(str(name) for name in names if name.parts[0] != "logs" or name.name.startswith(".")),
        )

    def failed_items(self):
        return [json.loads(line) for line in (self.run_dir / "failed_items.jsonl").read_text().splitlines()]

    def rows(self):
        if self.scenario.form == "parquet":
            return as_lines(parquet.read_table(self.output))
        return self.output.read_text(encoding="utf-8").splitlines() if self.output else []

    def check_stop(self):
        """What must hold whenever no process is at the run: its files are good up to the last record."""
        records = self.journal
        if not records or self.wanted is None:
            return
        ended = [record.index for record in records if record.kind != "preamble"]
        assert len(set(ended)) == len(ended)
        rows = Counter(self.committed_rows(records))
        assert rows <= self.wanted.rows, "there are rows that an undisturbed run does not have, or has once"
        if self.scenario.form:
            headers = sum(record.kind == "preamble" for record in records)
            assert rows.total() == headers + sum(record.returned for record in records)
        failed = (self.run_dir / "failed_items.jsonl").read_bytes()
        assert len(failed) >= records[-1].failed_end
        assert Counter(failed_lines(failed[: records[-1].failed_end])) <= self.wanted.failed

    def committed_rows(self, records):
        """What the output holds up to the last record."""
        if self.growing is None:  # the Parquet file is there, or there is to be no output
            return self.rows()
        content = self.growing.read_bytes()
        assert len(content) >= records[-1].end
        if self.growing == self.output:
            return content[: records[-1].end].decode().splitlines()
        ends = [0, *(record.end for record in records)]
        segments = [content[start:end] for start, end in pairwise(ends) if end > start]
        return [line for segment in segments for line in as_lines(pa.ipc.open_stream(segment).read_all())]


def as_lines(rows):
    return [json.dumps(row) for row in rows.to_pylist()]


def failed_lines(content):
    """Failed items without what depends on how often and where they were tried."""
    lines = [json.loads(line) for line in content.decode().splitlines()]
    return [json.dumps({name: line[name] for name in line if name not in ("attempts", "log")}) for line in lines]
