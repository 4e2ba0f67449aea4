"""Long native calls let other Python threads run, can be shared by threads, and can be interrupted."""

import gzip
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

from batch_score._native import (
    FileList,
    TextPlan,
    TextStream,
    count_by_suffix,
    read_header,
    read_range,
    split_records,
)

ROWS = b'1,"two",three\n' * 1_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gil")
    (folder / "rows.csv").write_bytes(ROWS)
    (folder / "rows.csv.gz").write_bytes(gzip.compress(ROWS, 1))
    (folder / "open.csv").write_bytes(b'"' + ROWS.replace(b'"', b"'"))
    for number in range(3_000):
        (folder / f"files-{number % 30:02}").mkdir(exist_ok=True)
        (folder / f"files-{number % 30:02}" / f"{number}.bin").touch()
    return folder


# Each prepares a call and returns it, so that only the call itself is looked at.
CALLS = {
    "next_batch": lambda folder: partial(TextPlan([folder / "rows.csv"], max_bytes=1 << 20).next_batch, 10_000),
    "read_header": lambda folder: partial(read_header, folder / "open.csv"),
    "read_range": lambda folder: partial(read_range, folder / "rows.csv", 0, len(ROWS)),
    "split_records": lambda _folder: partial(split_records, ROWS),
    "stream": lambda folder: partial(TextStream(folder / "rows.csv.gz").read_range, 0, len(ROWS)),
    "list": lambda folder: partial(FileList([folder]).next_batch, 10_000),
    "count": lambda folder: partial(count_by_suffix, [folder], [".csv"]),
}


@pytest.fixture
def no_preemption():
    """Between two bytecodes no other thread gets the GIL: only who gives it away lets others run."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(60)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("no_preemption")
def test_other_threads_run_during_a_call(folder, name):
    ticks, stop = [0], threading.Event()

    def tick():
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.000_05)

    def ticks_during_one_call():
        call = CALLS[name](folder)
        before = ticks[0]
        call()
        return ticks[0] - before

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        # Busy cores may leave the other thread no time during one call, but not during all of them.
        assert any(ticks_during_one_call() for _ in range(100))
    finally:
        stop.set()
        thread.join()


def test_threads_share_a_plan_without_losing_or_repeating_a_mini_batch(folder):
    alone = TextPlan([folder / "rows.csv"] * 2, max_bytes=10_000).next_batch(1_000_000)
    shared = TextPlan([folder / "rows.csv"] * 2, max_bytes=10_000)
    barrier, found = threading.Barrier(4), []

    def take():
        barrier.wait()
        while portion := shared.next_batch(7):
            found.extend(portion)
            assert shared.records_scanned > 0

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == alone
    assert shared.bytes_scanned == 2 * len(ROWS)


def test_a_scan_can_be_interrupted(tmp_path):
    path = tmp_path / "one-endless-record.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)

    def interrupt(_number, _frame):
        raise InterruptedError

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(InterruptedError):
            TextPlan([path], max_bytes=1).next_batch(1)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_memory_does_not_grow_with_a_record(tmp_path):
    path = tmp_path / "one-large-record.csv"
    with path.open("wb") as file:
        file.truncate(512 << 20)
    program = """
import resource, sys
from batch_score._native import TextPlan
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
plan = TextPlan(sys.argv[1:], max_bytes=1, header=False)
assert plan.next_batch(9) == [(0, 0, 512 << 20, 0, 1)]
print(peak() - before)
"""
    grown = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert int(grown.stdout) < 16 << 10, "more than 16 MiB for one record"
