"""The append writer against real full disks, real deaths and real rivals."""

import os
import resource
import signal

import pytest
from tests.boundary.appending import HEADER, OPTIONS, RECORD, commit, contents, indices, run_python

from batch_score._native import AppendWriter, read_journal


@pytest.fixture
def paths(tmp_path):
    """Output, failed items, journal."""
    return tmp_path / "predictions.csv", tmp_path / "failed_items.jsonl", tmp_path / "journal"


RESUME = """
import os, sys
from batch_score._native import AppendWriter, Ending

os.read(0, 1)  # until all are ready
try:
    writer = AppendWriter.resume(*sys.argv[1:4], run_id=bytes(16), sync_bytes=0, sync_seconds=1.0, now=0.0)
except BlockingIOError as error:
    assert "another process is writing this run; wait until it ends, or end it" in str(error)
    os.write(1, b"refused")
else:
    index = int(writer.summary.committed)
    ending = Ending(index=index, identity=0, attempt=0, total=1, succeeded=1, returned=1)
    writer.append("committed", ending, b"row\\n", b"{}\\n", 0.0)
    os.write(1, b"mine")
    os.read(0, 1)  # until all have tried
    writer.close()
"""


def resume_at_once(paths, count):
    processes = [run_python(RESUME, *paths) for _ in range(count)]
    for process in processes:
        process.stdin.write(b"g")
        process.stdin.flush()
    answers = [os.read(process.stdout.fileno(), 10) for process in processes]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    return sorted(answers)


def test_of_processes_that_resume_at_once_exactly_one_goes_on(paths):
    for round_ in range(1, 4):  # the first one begins the run
        assert resume_at_once(paths, 3) == [b"mine", b"refused", b"refused"]
        assert contents(paths)[:2] == [b"row\n" * round_, b"{}\n" * round_]
        assert indices(paths[2]) == list(range(round_))


FULL_DISK = """
import errno, os, resource, signal, sys
from batch_score._native import AppendWriter, Ending

paths, limit, rows, lines = sys.argv[1:4], *map(int, sys.argv[4:])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write over the limit fails instead of killing
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
writer = AppendWriter.create(*paths, run_id=bytes(16), sync_bytes=1 << 40, sync_seconds=1e9, now=0.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

def append(index, byte):
    ending = Ending(index=index, identity=0, attempt=0, total=1, succeeded=1, returned=1)
    return writer.append("bisected", ending, byte * rows, byte * lines, 0.0)

def lengths():
    return [os.path.getsize(path) for path in paths]

index = 0
try:
    while True:
        append(index, b"x")
        index += 1
except OSError as error:
    assert error.errno == errno.EFBIG, error
    refused = paths.index(error.filename)
assert lengths() == [index * rows, index * lines, 32 + 72 * index], lengths()
assert (writer.end_offset, writer.summary.failed_end) == (index * rows, index * lines)
assert not writer.committed(index)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert append(index, b"y") == (index + 1) * rows
writer.close()
print(index, refused)
"""


@pytest.mark.parametrize(
    ("limit", "rows", "lines", "refused"),
    [
        pytest.param(1_000, 300, 10, 0, id="the rows do not fit"),
        pytest.param(1_000, 10, 300, 1, id="the failed items do not fit"),
        pytest.param(HEADER + 3 * RECORD + 20, 1, 1, 2, id="the record does not fit"),
    ],
)
def test_a_full_disk_leaves_whole_mini_batches_and_a_usable_writer(paths, limit, rows, lines, refused):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        pytest.skip("file sizes are limited here")
    process = run_python(FULL_DISK, *paths, limit, rows, lines)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed.split()) == (0, [b"3", b"%d" % refused]), errors.decode()
    assert contents(paths)[:2] == [b"x" * count * 3 + b"y" * count for count in (rows, lines)]
    assert indices(paths[2]) == [0, 1, 2, 3]


LOOP = """
import os, sys
from batch_score._native import AppendWriter, Ending

writer = AppendWriter.create(*sys.argv[1:4], run_id=bytes(16), sync_bytes=100_000, sync_seconds=1.0, now=0.0)
writer.preamble(b"row\\n", 0.0)
for index in range(10_000_000):
    failed = index % 7 == 3
    ending = Ending(index=index, identity=index, attempt=0, total=1, succeeded=not failed, returned=not failed)
    line = b"%d\\n" % index
    if failed:
        writer.append("failed", ending, b"", line, 0.0)
    else:
        writer.append("committed", ending, line * (index % 1_000), line * (index % 3), 0.0)
    os.write(1, index.to_bytes(8, "little"))
"""


def rows_until(count):
    return b"row\n" + b"".join(b"%d\n" % index * (index % 1_000) for index in range(count) if index % 7 != 3)


def lines_until(count):
    return b"".join(b"%d\n" % index * (1 if index % 7 == 3 else index % 3) for index in range(count))


@pytest.mark.parametrize("acknowledged", [1, 500, 2_000])
def test_a_killed_process_loses_nothing_it_had_appended(paths, acknowledged):
    process = run_python(LOOP, *paths)
    acknowledgements = process.stdout.read(8 * acknowledged)
    os.kill(process.pid, signal.SIGKILL)
    acknowledgements += process.stdout.read()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    appended = int.from_bytes(acknowledgements[-8:], "little") + 1
    output, failed_items, journal = paths
    with AppendWriter.resume(*paths, **{**OPTIONS, "run_id": bytes(16)}) as writer:
        count = len(read_journal(journal).records) - 1
        assert appended <= count <= appended + 1  # the last one may have died before it was acknowledged
        assert all(writer.committed(index) != writer.failed(index) for index in range(count))
        assert all(writer.identity(index) == index for index in range(count))
        assert not writer.committed(count)
        assert (output.read_bytes(), failed_items.read_bytes()) == (rows_until(count), lines_until(count))
        assert commit(writer, count, b"and on\n") == writer.end_offset
    assert output.read_bytes() == rows_until(count) + b"and on\n"


def test_a_death_between_rows_and_record_takes_the_rows_back(paths):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        commit(writer, 0, b"whole\n", b"{}\n")
    for path, begun in zip(paths, (b"rows without a rec", b'{"key": ', b"\2\0\0\0\0"), strict=True):
        path.write_bytes(path.read_bytes() + begun)
    assert read_journal(paths[2]).torn is True
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert (writer.end_offset, writer.committed(0), writer.torn, writer.lost) == (6, True, True, 0)
    assert contents(paths)[:2] == [b"whole\n", b"{}\n"]
    assert read_journal(paths[2]).torn is False


def test_resume_says_what_it_cut_off(paths):
    output, _, journal = paths
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        for index in range(4):
            commit(writer, index, b"%d\n" % index)
    output.write_bytes(b"0\n1\n9\n3\n")
    journal.write_bytes(journal.read_bytes() + b"torn")
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert (writer.lost, writer.torn, writer.summary.committed) == (2, True, 2)
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert (writer.lost, writer.torn, writer.summary.committed) == (0, False, 2)
