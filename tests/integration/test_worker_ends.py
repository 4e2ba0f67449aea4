"""How one worker ends: with its coordinator, when it is told to stop, and by a crash that can be explained."""

import importlib
import os
import signal
import textwrap
import time
from pathlib import Path

import psutil
import pytest
from tests.integration.one_worker import outcomes, starter
from tests.integration.running import numbers, wait_for

from batch_score.engine.base import Ended
from batch_score.engine.inline import InlineEngine
from batch_score.logs.tree import LogTree
from batch_score.worker.messages import CUT_OFF, Done, Ready
from batch_score.worker.pulse import IDLE, INIT

# Where a worker is when its coordinator is killed. Each touches the file `there` first.
PLACES = {
    "run() in Python": """
        import pathlib, time

        def run(rows):
            pathlib.Path("there").touch()
            time.sleep(600)
    """,
    "run() in native code that holds the interpreter": """
        import ctypes, pathlib

        def run(rows):
            pathlib.Path("there").touch()
            ctypes.PyDLL(None).sleep(600)
    """,
    "run() with processes of its own": """
        import ctypes, pathlib, subprocess, sys, time

        STUBBORN = "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)]; time.sleep(600)"

        def run(rows):
            subprocess.Popen([sys.executable, "-c", STUBBORN])
            subprocess.Popen(["sh", "-c", "sleep 600 & sleep 600"])
            pathlib.Path("there").touch()
            ctypes.PyDLL(None).sleep(600)
    """,
    "init()": """
        import ctypes, pathlib

        def init():
            pathlib.Path("there").touch()
            ctypes.PyDLL(None).sleep(600)

        def run(rows):
            return rows
    """,
    "the import of the script": """
        import ctypes, pathlib

        pathlib.Path("there").touch()
        ctypes.PyDLL(None).sleep(600)

        def run(rows):
            return rows
    """,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_killed_coordinator_takes_every_process_of_the_run_along(place, tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 20)
    options = ("--mini-batch-size", 1, "--process-count-per-node", 2, "--run-dir", "r")
    with batch_score.started(script(PLACES[place]), "t.csv", *options) as coordinator:
        wait_for((tmp_path / "there").exists)
        assert len(batch_score.alive()) >= 2
        coordinator.kill()
        wait_for(lambda: batch_score.alive() == [], timeout=5)
    said = LogTree(tmp_path / "r" / "logs", "node-0").worker_stderr("process000").read_text()
    assert said == "the coordinator is gone; leaving\n"


def test_a_coordinator_killed_while_a_worker_is_still_importing_leaves_none(tmp_path, batch_score, script, monkeypatch):
    """The worker's own imports hang: the guard stands before them."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "pyarrow.py").write_text(
        "import pathlib, sys, time\n"
        "if any('worker' in argument for argument in sys.orig_argv):\n"
        f"    pathlib.Path({str(tmp_path / 'there')!r}).touch()\n"
        "    time.sleep(600)\n"
        "sys.path.remove(str(pathlib.Path(__file__).parent))\n"
        "del sys.modules['pyarrow']\n"
        "import pyarrow\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    numbers(tmp_path / "t.csv", 20)
    with batch_score.started(script("def run(rows):\n    return rows\n"), "t.csv", "--engine", "local") as coordinator:
        wait_for((tmp_path / "there").exists)
        coordinator.kill()
        wait_for(lambda: batch_score.alive() == [], timeout=5)


@pytest.fixture
def one_worker(tmp_path, script):
    """Starts a worker with a script: `one_worker(text)`; it has ended when the test has."""
    with starter(tmp_path, script) as start:
        yield start


WAITING = """
    import pathlib, time

    def run(files):
        pathlib.Path("begun").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return files

    def shutdown():
        pathlib.Path("shut down").touch(exist_ok=False)
"""


@pytest.mark.parametrize(("abandon", "wanted"), [(True, [0]), (False, [0, 1, 2, 3])])
def test_a_worker_that_stops_finishes_what_run_has_begun_on_or_all_it_was_sent(abandon, wanted, tmp_path, one_worker):
    worker = one_worker(WAITING)
    worker.events(Ready)
    worker.send(0, 1, 2, 3)
    wait_for((tmp_path / "begun").exists)
    worker.engine.stop(0, abandon=abandon)
    time.sleep(0.2)  # a message needs some thousandths of that
    assert not (tmp_path / "shut down").exists()
    (tmp_path / "go").touch()
    events = worker.events(Ended)
    assert [outcome.index for outcome in outcomes(events)] == wanted
    assert all(outcome.succeeded == 1 for outcome in outcomes(events))
    assert events[-1].code == 0
    assert events[-1].loads == ()
    assert (events[-1].run.ticket, events[-1].encode.ticket) == (IDLE, IDLE)
    assert (tmp_path / "shut down").exists()


@pytest.mark.parametrize(("abandon", "wanted"), [(True, [0]), (False, [0, 1, 2, 3])])
def test_the_inline_worker_stops_likewise(abandon, wanted, tmp_path, one_worker):
    (tmp_path / "go").touch()
    worker = one_worker(WAITING, InlineEngine)
    worker.events(Ready)
    worker.send(0, 1, 2, 3)
    events = worker.events(Done)
    worker.engine.stop(0, abandon=abandon)
    events += worker.events(Ended)
    assert [outcome.index for outcome in outcomes(events)] == wanted
    assert events[-1].code == 0
    assert (tmp_path / "shut down").exists()


@pytest.mark.parametrize("daemon", [True, False])
def test_what_keeps_this_process_after_an_inline_worker_is_told(daemon, tmp_path, one_worker, caplog):
    worker = one_worker(
        f"""
        import pathlib, threading, time

        def wait(end=pathlib.Path("go").absolute()):
            while not end.exists():
                time.sleep(0.01)

        def init():
            threading.Thread(target=wait, name="queue of the script", daemon={daemon}).start()

        def run(files):
            return files
        """,
        InlineEngine,
    )
    worker.events(Ready)
    with caplog.at_level("WARNING"):
        worker.engine.stop(0)
    (tmp_path / "go").touch()
    told = "the script has started and not ended: queue of the script; this process can end only after them"
    assert (told in caplog.text) == (not daemon)


# Reads the third mini-batch only when the file `may be read` is there.
SLOW_READER = """
import pathlib, time

from batch_score.dataset.base import FileBatch

class Reader:
    def read(self, minibatch):
        if minibatch.index == 2:
            pathlib.Path("reading").touch()
            while not pathlib.Path("may be read").exists():
                time.sleep(0.01)
        return FileBatch(minibatch.files)
"""


def test_a_reading_that_takes_long_does_not_keep_a_worker_from_abandoning(tmp_path, one_worker, monkeypatch):
    """One mini-batch runs, the next one has been read, and the one after it is being read."""
    (tmp_path / "slow_reader.py").write_text(SLOW_READER, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    worker = one_worker(WAITING, reader=importlib.import_module("slow_reader").Reader())
    worker.events(Ready)
    worker.send(0, 1, 2)
    wait_for((tmp_path / "reading").exists)
    assert worker.engine.beats(0)[0].ticket == 102
    worker.engine.stop(0, abandon=True)
    time.sleep(0.2)
    (tmp_path / "go").touch()
    events = worker.events(Done)
    time.sleep(0.2)
    assert not (tmp_path / "shut down").exists()  # shutdown() is not called beside a reading
    (tmp_path / "may be read").touch()
    events += worker.events(Ended)
    assert [outcome.index for outcome in outcomes(events)] == [0]
    assert events[-1].code == 0
    assert (tmp_path / "shut down").exists()


def test_a_stopping_worker_can_still_be_told_to_abandon(tmp_path, one_worker):
    worker = one_worker(WAITING)
    worker.events(Ready)
    worker.send(0, 1, 2)
    wait_for((tmp_path / "begun").exists)
    worker.engine.stop(0)
    worker.engine.stop(0, abandon=True)
    time.sleep(0.2)
    (tmp_path / "go").touch()
    assert [outcome.index for outcome in outcomes(worker.events(Ended))] == [0]


def test_the_pulse_shows_the_ticket_of_what_runs(tmp_path, one_worker):
    worker = one_worker("import time\ndef init():\n    time.sleep(0.3)\n" + textwrap.dedent(WAITING))
    wait_for(lambda: worker.engine.beats(0)[1].ticket == INIT)
    worker.events(Ready)
    worker.send(7)
    wait_for((tmp_path / "begun").exists)
    load, run, encode = worker.engine.beats(0)
    assert (load.ticket, run.ticket, encode.ticket) == (IDLE, 107, IDLE)
    assert 0 <= run.busy_for(time.monotonic()) < 10
    (tmp_path / "go").touch()
    worker.events(Done)
    wait_for(lambda: worker.engine.beats(0)[1].ticket == IDLE)


FORKING = """
    import os, pathlib, sys, time

    def forked(way):
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if way == "raise":
            raise ValueError("of a child")
        if way != "return":
            sys.exit(way)

    found = [forked(2)]

    def init():
        found.append(forked(3))

    def run(files):
        for way in (None, 0, 7, "a word of a child", "raise", "return"):
            code = forked(way)
            if code is None:
                return files
            found.append(code)
        pathlib.Path("begun").touch()
        while not pathlib.Path("go").exists():
            time.sleep(0.01)
        return files

    def shutdown():
        found.append(forked(4))
        pathlib.Path("found").write_text(repr(found))
"""


def test_a_process_that_a_script_forks_ends_by_itself_and_never_speaks_for_the_worker(tmp_path, one_worker):
    worker = one_worker(FORKING)
    worker.events(Ready)
    worker.send(0)
    wait_for((tmp_path / "begun").exists)
    assert worker.engine.beats(0)[1].ticket == 100  # which each child would have taken back
    (tmp_path / "go").touch()
    events = worker.events(Done)
    worker.engine.stop(0)
    events += worker.events(Ended)
    assert [one.succeeded for one in outcomes(events)] == [1]
    assert events[-1].code == 0
    assert (tmp_path / "found").read_text() == "[2, 3, 0, 0, 7, 1, 1, 1, 4]"
    said = worker.tree.user_stderr("process000").read_text()
    assert said.count("a word of a child") == said.count("ValueError: of a child") == 1
    assert "returned from the script's function; it ends here" in said


CRASHES = {"init": "def init():\n    crash()\n", "run": "def run(files):\n    crash()\n"}


@pytest.mark.parametrize("where", CRASHES)
def test_a_crash_in_native_code_leaves_the_python_stack_in_the_worker_s_stderr(where, one_worker):
    crash = "import ctypes\ndef crash():\n    ctypes.string_at(0)\ndef run(files):\n    return files\n"
    worker = one_worker(crash + CRASHES[where])
    if where == "run":
        worker.events(Ready)
        worker.send(0)
    ended = worker.events(Ended)[-1]
    assert ended.code == -signal.SIGSEGV
    assert ended.run.ticket == (100 if where == "run" else INIT)
    text = worker.tree.worker_stderr("process000").read_text()
    assert "Segmentation fault" in text
    assert 'score.py", line 3 in crash' in text
    assert f"in {where}" in text


def test_the_kernel_would_take_a_worker_before_its_coordinator(one_worker):
    worker = one_worker("def run(files):\n    return files\n")
    worker.events(Ready)
    [pid] = worker.engine.pids().values()
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) >= 500
    assert int(Path("/proc/self/oom_score_adj").read_text()) < 500


def test_a_worker_whose_connection_breaks_says_so_and_leaves(one_worker):
    """The script shuts the worker's socket down; the coordinator lives, so the guard has no part in it."""
    worker = one_worker("""
        import os, socket, stat, subprocess, sys, time

        def run(files):
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            for name in os.listdir("/proc/self/fd"):
                try:
                    if stat.S_ISSOCK(os.stat(int(name)).st_mode):
                        socket.socket(fileno=os.dup(int(name))).shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
            time.sleep(600)
    """)
    worker.events(Ready)
    [pid] = worker.engine.pids().values()
    worker.send(0)
    wait_for(lambda: len(group(pid)) == 2)
    assert worker.events(Ended)[-1].code == CUT_OFF
    assert "the connection to the coordinator broke" in worker.tree.worker_log("process000").read_text()
    wait_for(lambda: not group(pid), timeout=5)


def group(leader):
    """The living processes of a process group."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found
