import logging
import os
import re
import signal
import subprocess
import sys

import pytest

from batch_score.logs.tree import LogTree
from batch_score.logs.worker import WorkerLogs
from batch_score.minibatch import Fault, Outcome, Status, Timings

NOW = 1603508344.227237  # 2020-10-24T02:59:04.227237 UTC
OUTCOME = Outcome(
    index=12,
    attempt=1,
    status=Status.RUN_DONE,
    total=10,
    succeeded=9,
    timings=Timings(started=NOW, load=0.25, run=0.5, encode=0.125, process=0.0625),
)


@pytest.fixture
def tree(tmp_path):
    tree = LogTree(tmp_path / "logs", "node-0")
    tree.create()
    return tree


@pytest.fixture
def logs(tree):
    logs = WorkerLogs(tree, "process000", address="10.0.0.4", clock=lambda: NOW)
    yield logs
    logs.close()


def files(tree):
    return {path for path in tree.root.rglob("*") if path.is_file()} - {tree.readme}


def test_a_worker_that_writes_nothing_leaves_no_files(tree, logs):
    with logs.redirect():
        logs.flush()
    assert files(tree) == set()


def test_print_and_stderr_go_to_the_users_files(tree, logs):
    with logs.redirect():
        print("to stdout")  # noqa: T201 - what an entry script does
        sys.stderr.write("to stderr\n")
        assert tree.user_stdout("process000").read_text() == "to stdout\n"
        assert tree.user_stderr("process000").read_text() == "to stderr\n"
    assert files(tree) == {tree.user_stdout("process000"), tree.user_stderr("process000")}


def test_a_child_process_may_inherit_the_redirected_stdout(tree, logs):
    with logs.redirect():
        subprocess.run(["/bin/echo", "child"], stdout=sys.stdout, check=True)
    assert tree.user_stdout("process000").read_text() == "child\n"


def test_the_redirect_is_undone(logs):
    root, ours = logging.getLogger(), logging.getLogger("batch_score")
    before = sys.stdout, sys.stderr, root.level, list(root.handlers), ours.level, list(ours.handlers)

    def fail_inside():
        with logs.redirect():
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail_inside()
    assert (sys.stdout, sys.stderr, root.level, root.handlers, ours.level, ours.handlers) == before


def test_a_handler_made_inside_still_works_after_the_redirect(tree, logs):
    users = logging.Logger("users")  # noqa: LOG001 - one that no other test sees
    with logs.redirect():
        users.addHandler(logging.StreamHandler())
    logs.close()
    users.warning("late")
    assert tree.user_stderr("process000").read_text() == "late\n"


def test_root_logging_at_info_goes_to_the_users_stderr_file(tree, logs):
    with logs.redirect():
        logging.getLogger("their.library").info("loaded")
        logging.getLogger("their.library").debug("too fine")
    (line,) = tree.user_stderr("process000").read_text().splitlines()
    assert re.fullmatch(rf"\S+\|INFO\|{os.getpid()}\|MainThread\|loaded", line)


def test_our_own_records_go_to_the_workers_log_only(tree, logs):
    with logs.redirect():
        logging.getLogger("batch_score.worker").info("device GPU-1")
    assert tree.worker_log("process000").read_text().endswith("|device GPU-1\n")
    assert files(tree) == {tree.worker_log("process000")}


@pytest.mark.parametrize(("level", "count"), [("DEBUG", 3), ("info", 2), ("WARN", 1)])
def test_levels_below_the_logging_level_are_not_written(tree, level, count):
    logs = WorkerLogs(tree, "process000", level)
    with logs.redirect():
        for logger in (logging.getLogger("theirs"), logging.getLogger("batch_score"), logs.entry_script_logger()):
            logger.debug("d")
            logger.info("i")
            logger.warning("w")
    logs.close()
    for path in (tree.user_stderr, tree.worker_log, tree.entry_script_log):
        assert len(path("process000").read_text().splitlines()) == count, path


def test_the_entry_script_logger_writes_to_its_own_file_and_nowhere_else(tree, logs):
    with logs.redirect():
        logs.entry_script_logger().info("hello")
    assert tree.entry_script_log("process000").read_text().endswith("|hello\n")
    assert files(tree) == {tree.entry_script_log("process000")}


def test_a_mini_batch_is_a_line_with_the_fields_of_the_contract(tree, logs):
    logs.mini_batch(OUTCOME)
    logs.flush()
    assert tree.worker_log("process000").read_text() == (
        f"2020-10-24T02:59:04.227237|INFO|{os.getpid()}|MainThread|mini-batch 12 try 1: RUN_DONE, ip 10.0.0.4, "
        "total 10, succeeded 9, failed 1, start 2020-10-24T02:59:04.227237, duration 0.875000 s, "
        "process time 0.062500 s, run method 0.500000 s\n"
    )


def test_lines_about_mini_batches_are_of_level_info(tree):
    logs = WorkerLogs(tree, "process000", "WARNING")
    logs.mini_batch(OUTCOME)
    logs.flush()
    assert files(tree) == set()


def test_an_error_leaves_its_traceback_and_one_line(tree, logs):
    logs.error(Fault("ValueError", "two\nlines", "Traceback\n  two lines\n"), "run() of mini-batch 12, try 1")
    logs.error(Fault("SystemExit", ""), "init()")
    assert tree.user_error("process000").read_text() == (
        "2020-10-24T02:59:04.227237|run() of mini-batch 12, try 1\nTraceback\n  two lines\n\n"
        "2020-10-24T02:59:04.227237|init()\nSystemExit\n\n"
    )
    assert tree.user_errors.read_text() == (
        "2020-10-24T02:59:04.227237|process000|node-0|ValueError: two lines (run() of mini-batch 12, try 1)\n"
        "2020-10-24T02:59:04.227237|process000|node-0|SystemExit (init())\n"
    )


WORKER = """
import logging, os, signal, sys
from pathlib import Path
from batch_score.logs.tree import LogTree
from batch_score.logs.worker import WorkerLogs
from batch_score.minibatch import Fault

logs = WorkerLogs(LogTree(Path(sys.argv[1]), "node-0"), sys.argv[2])
with logs.redirect():
"""


def start_worker(tree, process, body):
    code = WORKER + "".join(f"    {line}\n" for line in body.splitlines())
    return subprocess.Popen([sys.executable, "-c", code, str(tree.root), process])


def test_nothing_is_lost_when_a_worker_is_killed(tree):
    body = """
print("line")
print("unfinished", end="")
logging.info("root")
logging.getLogger("batch_score").info("ours")
logs.entry_script_logger().info("script")
logs.flush()
os.kill(os.getpid(), signal.SIGKILL)"""
    assert start_worker(tree, "process000", body).wait() == -signal.SIGKILL
    assert tree.user_stdout("process000").read_text() == "line\nunfinished"
    for path, word in ((tree.user_stderr, "root"), (tree.worker_log, "ours"), (tree.entry_script_log, "script")):
        assert path("process000").read_text().endswith(f"|{word}\n")


def test_lines_of_several_workers_in_the_shared_list_stay_whole(tree):
    body = 'for i in range(300): logs.error(Fault("ValueError", "x" * i), "init()")'
    workers = [start_worker(tree, f"process{number:03}", body) for number in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    lines = tree.user_errors.read_text().splitlines()
    assert len(lines) == 900
    assert all(re.fullmatch(r"\S+\|process00[012]\|node-0\|ValueError(: x+)? \(init\(\)\)", line) for line in lines)
