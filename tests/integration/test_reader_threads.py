"""Several reading threads in one worker: they read at once, and a job comes out as with one."""

import gzip
import importlib
import os
import textwrap
from pathlib import Path

import pandas as pd
import pytest
from tests.integration.one_worker import outcomes, starter
from tests.integration.running import numbers, wait_for

from batch_score.worker.messages import Done, Ready
from batch_score.worker.pulse import IDLE

SLOW_READER = """
import pathlib, time

from batch_score.dataset.base import FileBatch

class Reader:
    def read(self, minibatch):
        pathlib.Path(f"reading {minibatch.index}").touch()
        while not pathlib.Path("may be read").exists():
            time.sleep(0.005)
        return FileBatch(minibatch.files)
"""
"""A reader whose files cannot be read before somebody says so."""

ECHO = "def run(files):\n    return files\n"


@pytest.fixture
def slow_worker(tmp_path, monkeypatch, script):
    (tmp_path / "slow_reader.py").write_text(SLOW_READER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with starter(tmp_path, script) as start:
        yield lambda threads: start(
            ECHO, reader=importlib.import_module("slow_reader").Reader(), reader_threads=threads
        )


def test_as_many_mini_batches_are_read_at_once_as_there_are_threads(tmp_path, slow_worker):
    worker = slow_worker((3, 3))
    worker.events(Ready)
    worker.send(0, 1, 2, 3)
    wait_for(lambda: all((tmp_path / f"reading {index}").exists() for index in range(3)))
    assert not (tmp_path / "reading 3").exists()
    load, run, _ = worker.engine.beats(0)
    assert load.ticket in (100, 101, 102)
    assert run.ticket == IDLE
    (tmp_path / "may be read").touch()
    events = []
    while len(outcomes(events)) < 4:
        events += worker.events(Done)
    assert sorted(outcome.index for outcome in outcomes(events)) == [0, 1, 2, 3]


ROWS = 3000
SCRIPT = """
    import pandas as pd

    def run(rows):
        return pd.DataFrame({"twice": rows["n"] * 2}, index=rows.index)
"""


def table(start):
    return pd.DataFrame({"n": range(start, start + ROWS), "text": [f"row {n},\n" for n in range(ROWS)]})


@pytest.mark.parametrize("threads", [1, 4])
def test_plain_files_streams_and_parquet_come_out_the_same_with_any_number_of_threads(tmp_path, batch_score, threads):
    folder = tmp_path / "data"
    folder.mkdir()
    table(0).to_csv(folder / "a.csv", index=False)
    table(ROWS).to_csv(folder / "b.csv", index=False)
    for name, start in (("c.csv.gz", 2 * ROWS), ("d.csv.gz", 3 * ROWS)):
        (folder / name).write_bytes(gzip.compress(table(start).to_csv(index=False).encode()))
    (tmp_path / "s.py").write_text(textwrap.dedent(SCRIPT), encoding="utf-8")
    done = batch_score(
        *("run", "s.py", "data", "--reader-threads", threads, "--process-count-per-node", 1),
        *("--mini-batch-size", "2KB", "--json", "--quiet"),
    )
    assert done.code == 0, done.err
    found = pd.read_csv(done.output)
    assert len(found) == 4 * ROWS
    expected = {name: place * ROWS for place, name in enumerate(["a.csv", "b.csv", "c.csv.gz", "d.csv.gz"])}
    start = found["source"].map(lambda path: expected[Path(path).name])
    assert (found["twice"] == 2 * (start + found["row"])).all()
    assert not found.duplicated(["source", "row"]).any()


def test_a_thread_whose_reading_hangs_costs_its_mini_batch_only(tmp_path, batch_score):
    folder = tmp_path / "data"
    folder.mkdir()
    for place in range(6):
        numbers(folder / f"{place}.csv", 50)
    (tmp_path / "s.py").write_text(textwrap.dedent(HANGING), encoding="utf-8")
    done = batch_score(
        *("run", "s.py", "data", "--reader-threads", 3, "--process-count-per-node", 1, "--run-max-try", 1),
        *("--task-overhead-timeout", 1, "--json", "--quiet", "--on-failure", "skip"),
    )
    assert done.code == 0, done.err
    assert done.json["items"] == {"total": 300, "succeeded": 250, "failed": 50}
    assert {Path(item["source"]).name for item in done.failed_items} == {"3.csv"}


HANGING = """
    import time
    import batch_score.dataset.text as text

    straight = text.TextReader.read

    def read(self, minibatch):
        if minibatch.source.endswith("3.csv"):
            time.sleep(600)
        return straight(self, minibatch)

    text.TextReader.read = read

    def run(rows):
        return rows
"""
