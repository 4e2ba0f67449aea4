"""Whatever a worker does or leaves undone, the coordinator does not stand still."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from tests.integration.one_worker import outcomes, starter
from tests.integration.running import numbers, tries, wait_for

from batch_score.engine import local
from batch_score.engine.base import Ended
from batch_score.engine.interpreter import Interpreter
from batch_score.worker.messages import Done, Ready
from batch_score.worker.pulse import IDLE

pytestmark = pytest.mark.timeout(60)

# Rows longer than the shelf and any socket buffer; the interpreter is taken for good when their thread has sent the
# first bytes.
HOLDING = """
    import ctypes, os, pathlib, threading, time

    written = threading.Event()
    held = pathlib.Path("held")

    def watch(frame, event, called):
        sent = event == "c_return" and called in (os.write, os.writev) and "/logs/" not in frame.f_code.co_filename
        if sent and not held.exists():
            written.set()
            time.sleep(1)

    def init():
        threading.setprofile(watch)

    def run(rows):
        if rows["id"].iloc[0] == 1:
            written.wait()
            held.touch()
            ctypes.PyDLL(None).sleep(600)
        return [str(row) * 5_000_000 for row in rows["id"]]
"""
ONE_BY_ONE = ("--mini-batch-size", 1, "--process-count-per-node", 1, "--run-dir", "r", "--run-max-try", 1)


def test_a_run_that_holds_the_interpreter_while_rows_are_sent_meets_its_time_limit(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 4)
    done = batch_score.run(script(HOLDING), "t.csv", *ONE_BY_ONE, "--run-invocation-timeout", 1)
    assert done.code == 0, done.err
    assert (tmp_path / "held").exists()
    assert sorted(pd.read_csv(done.output)["row"]) == [0, 2, 3]
    [item] = done.failed_items
    assert (item["row"], item["error"]) == (1, "Timeout")
    assert [row["Mini-batch Id"] for row in tries(done.run_dir) if row["Status"] != "RUN_DONE"] == ["1"]


def test_ctrl_c_is_obeyed_while_a_run_holds_the_interpreter_and_rows_are_sent(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 4)
    with batch_score.started(script(HOLDING), "t.csv", *ONE_BY_ONE, "--run-invocation-timeout", 3) as process:
        wait_for((tmp_path / "held").exists)
        process.send_signal(signal.SIGINT)
        done = batch_score.ended(process, timeout=15)
    assert (done.code, done.json["status"]) == (130, "interrupted"), done.err


@pytest.fixture
def one_worker(tmp_path, script):
    """Starts a worker with a script: `one_worker(text)`; it has ended when the test has."""
    with starter(tmp_path, script) as start:
        yield start


# Writes the first bytes of a message to the worker's connection, then calls `then()`.
HALF = """
    import ctypes, os, pathlib, stat, time

    def run(files):
        for name in os.listdir("/proc/self/fd"):
            try:
                if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                    os.write(int(name), bytes([0, 0, 1, 0]))
            except OSError:
                continue
        then()
"""


def test_half_a_message_holds_nobody_up(tmp_path, one_worker):
    worker = one_worker(
        HALF + "\n    def then():\n        pathlib.Path('there').touch()\n        ctypes.PyDLL(None).sleep(600)"
    )
    worker.events(Ready)
    worker.send(0)
    wait_for((tmp_path / "there").exists)
    begin = time.monotonic()
    assert worker.engine.poll(0.1) == worker.engine.poll(0.1) == []
    assert time.monotonic() - begin < 2
    worker.engine.kill(0)
    [ended] = worker.events(Ended)
    assert (ended.code, ended.run.ticket, ended.encode.ticket) == (-signal.SIGKILL, 100, IDLE)


def test_a_dead_worker_whose_connection_another_session_holds_open_is_buried(tmp_path, one_worker):
    worker = one_worker(
        HALF
        + """
    def then():
        if os.fork() == 0:
            os.setsid()
            pathlib.Path("other").write_text(str(os.getpid()))
            time.sleep(600)
        while not pathlib.Path("other").exists() or not pathlib.Path("other").read_text():
            time.sleep(0.01)
        os._exit(3)
"""
    )
    worker.events(Ready)
    worker.send(0)
    try:
        assert [event.code for event in worker.events(Ended)] == [3]
    finally:
        os.kill(int((tmp_path / "other").read_text()), signal.SIGKILL)


COUNTING = """
    import pathlib, time

    def init():
        while not pathlib.Path("go").exists():
            time.sleep(0.01)

    def run(files):
        return [len(files)] * len(files)
"""


def test_tasks_that_a_worker_does_not_take_wait_and_arrive_whole(tmp_path, one_worker):
    worker = one_worker(COUNTING)
    begin = time.monotonic()
    worker.send(*range(3), files=200_000)
    worker.send(3)
    assert worker.engine.poll(0) == worker.engine.poll(0) == []
    assert time.monotonic() - begin < 5
    (tmp_path / "go").touch()
    worker.engine.stop(0)
    events = worker.events(Ended)
    assert [outcome.succeeded for outcome in outcomes(events)] == [200_000, 200_000, 200_000, 1]
    assert events[-1].code == 0


def test_a_worker_that_takes_nothing_can_be_killed(one_worker):
    worker = one_worker(COUNTING)
    worker.send(0, files=500_000)
    worker.engine.kill(0)
    assert [event.code for event in worker.events(Ended)] == [-signal.SIGKILL]


DYING = """
    import os

    def run(files):
        if files[0].endswith("file-30"):
            os._exit(3)
        return files
"""


def test_what_was_told_has_been_logged_and_a_death_names_the_task_that_ran(one_worker):
    worker = one_worker(DYING)
    worker.events(Ready)
    worker.send(*range(60))
    events = worker.events(Ended)
    told = [outcome.index for outcome in outcomes(events)]
    assert told == list(range(len(told)))
    assert len(told) <= 30
    log = worker.tree.worker_log(worker.launch.name).read_text(encoding="utf-8")
    assert [index for index in told if f"mini-batch {index} try 0: RUN_DONE" not in log] == []
    assert events[-1].run.ticket == 130


# The message of the fault of mini-batch 0 is longer than any socket buffer.
TALKING = """
    def run(files):
        if files[0].endswith("file-0"):
            raise ValueError("much too long " + "x" * 20_000_000)
        return files
"""


def talking(tree):
    """The fault has been logged: it is being sent, or about to be."""
    return any(b"much too long" in path.read_bytes() for path in Path(tree.root).rglob("*") if path.is_file())


def test_one_turn_takes_something_of_each_worker_and_not_all_of_one(one_worker):
    worker = one_worker(TALKING)
    worker.engine.start(replace(worker.launch, number=1))
    ready = 0
    while ready < 2:
        ready += len(worker.events(Ready))
    worker.send(0)
    wait_for(lambda: talking(worker.tree))
    worker.send(1, to=1)
    time.sleep(0.5)
    found = [worker.engine.poll(1) for _ in range(3)]
    assert [event.worker for event in found[0] + found[1] + found[2]] == [1]
    assert [outcome.index for outcome in outcomes(worker.events(Done))] == [0]


def test_the_pulse_shows_what_is_being_sent_and_a_message_cut_short_by_death_is_dropped(one_worker):
    worker = one_worker(TALKING)
    worker.events(Ready)
    worker.send(0)
    wait_for(lambda: talking(worker.tree))
    worker.engine.poll(1)  # the first piece
    worker.engine.kill(0)
    [ended] = worker.events(Ended)
    assert ended.loads == ()
    assert (ended.run.ticket, ended.encode.ticket) == (IDLE, 100)


def test_the_pulse_needs_no_disk(one_worker):
    one_worker(TALKING)
    assert "/memfd:batch-score-pulse" in Path("/proc/self/maps").read_text(encoding="utf-8")


@pytest.mark.slow
def test_closing_does_not_wait_for_a_process_that_cannot_be_killed(one_worker, monkeypatch, caplog):
    """As one that the kernel keeps inside a driver; here the kill is left out."""
    worker = one_worker(TALKING)
    worker.events(Ready)
    [pid] = worker.engine.pids().values()
    process = worker.engine._children[0].interpreter.process  # noqa: SLF001 - it outlives its engine here
    with monkeypatch.context() as patch:
        patch.setattr(Interpreter, "kill", lambda _self: None)
        patch.setattr(local, "CLOSE_S", 0.2)
        worker.engine.close()
    assert f"process {pid} was killed and does not end" in caplog.text
    process.wait(timeout=20)  # its connection broke: it leaves by itself
    assert worker.engine.pids() == {}
