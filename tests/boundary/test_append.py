"""The append writer against real files, real full disks and real deaths."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from batch_score._native import AppendWriter, read_journal
from batch_score.errors import OutputError

RUN = b"fingerprint-0001"
OPTIONS = {"run_id": RUN, "sync_bytes": 1 << 40, "sync_seconds": 1e9, "now": 0.0}
HEADER, RECORD = 32, 48


@pytest.fixture
def output(tmp_path):
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs" / "predictions.csv"


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def writer(output, journal):
    with AppendWriter.create(output, journal, **OPTIONS) as writer:
        yield writer


def run_python(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_rows_and_records_stand_where_append_says(writer, output, journal):
    assert writer.preamble(b"row,score\n", 0.0) == 10
    assert writer.append(4, 0, 2, 2, b"0,1\n1,0\n", 1.0) == 18
    assert writer.fail(5, 2, 3, 0, 2.0) is None
    assert writer.append(3, 1, 2, 1, b"2,1\n", 3.0) == 22
    assert writer.end_offset == 22
    assert output.read_bytes() == b"row,score\n0,1\n1,0\n2,1\n"
    contents = read_journal(journal)
    assert contents.run_id == RUN
    assert contents.torn is False
    assert contents.records == [
        ("preamble", 0, 0, 0, 0, 10),
        ("committed", 4, 0, 2, 2, 18),
        ("failed", 5, 2, 3, 0, 18),
        ("committed", 3, 1, 2, 1, 22),
    ]
    assert [(writer.committed(index), writer.failed(index)) for index in (3, 4, 5, 6)] == [
        (True, False),
        (True, False),
        (False, True),
        (False, False),
    ]


@pytest.mark.usefixtures("writer")
def test_nothing_but_the_output_is_written_into_its_folder(output):
    assert list(output.parent.iterdir()) == [output]


def test_an_output_that_is_there_is_refused_and_kept(output, journal):
    output.write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        AppendWriter.create(output, journal, **OPTIONS)
    assert caught.value.filename == str(output)
    assert output.read_bytes() == b"precious"
    assert not journal.exists()


def test_a_journal_that_is_there_is_refused_and_leaves_no_output(output, journal):
    journal.write_bytes(b"precious")
    with pytest.raises(FileExistsError):
        AppendWriter.create(output, journal, **OPTIONS)
    assert journal.read_bytes() == b"precious"
    assert not output.exists()


def test_a_missing_folder_is_the_built_in_error(tmp_path, journal):
    with pytest.raises(FileNotFoundError) as caught:
        AppendWriter.create(tmp_path / "absent" / "out.csv", journal, **OPTIONS)
    assert caught.value.errno == errno.ENOENT


@pytest.mark.parametrize("payload", [b"rows\n", bytearray(b"rows\n"), memoryview(b"..rows\n")[2:]])
def test_a_payload_is_any_kind_of_bytes(writer, output, payload):
    assert writer.append(0, 0, 1, 1, payload, 0.0) == 5
    assert output.read_bytes() == b"rows\n"


@pytest.mark.parametrize("payload", ["rows\n", 5, None, [1, 2]])
def test_other_payloads_are_refused_by_name(writer, output, payload):
    with pytest.raises(TypeError, match=f"bytes, bytearray or memoryview, not {type(payload).__name__}"):
        writer.append(0, 0, 1, 1, payload, 0.0)
    assert output.read_bytes() == b""


def test_a_mini_batch_ends_once(writer, output):
    writer.append(0, 0, 1, 1, b"a\n", 0.0)
    writer.fail(1, 0, 1, 0, 0.0)
    for index in (0, 1):
        with pytest.raises(ValueError, match=f"mini-batch {index} has ended already"):
            writer.append(index, 1, 1, 1, b"b\n", 0.0)
        with pytest.raises(ValueError, match=f"mini-batch {index} has ended already"):
            writer.fail(index, 1, 1, 0, 0.0)
    assert output.read_bytes() == b"a\n"


def test_a_preamble_comes_first(writer):
    writer.fail(0, 0, 1, 0, 0.0)  # adds no bytes, so the header line can still be first
    writer.preamble(b"h\n", 0.0)
    with pytest.raises(ValueError, match="first bytes"):
        writer.preamble(b"h\n", 0.0)


def test_without_an_output_only_endings_are_kept(journal):
    with AppendWriter.create(None, journal, **OPTIONS) as writer:
        assert writer.append(0, 0, 5, 5, b"", 0.0) == 0
        with pytest.raises(ValueError, match="no output file"):
            writer.append(1, 0, 5, 5, b"rows\n", 0.0)
    with AppendWriter.resume(None, journal, **OPTIONS) as writer:
        assert writer.committed(0)
        assert not writer.committed(1)


@pytest.mark.parametrize("run_id", [b"short", b"seventeen bytes!!", "fingerprint-0001", None])
def test_a_run_id_is_sixteen_bytes(output, journal, run_id):
    with pytest.raises(ValueError, match="run_id must be bytes of length 16"):
        AppendWriter.create(output, journal, **{**OPTIONS, "run_id": run_id})


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_seconds_between_syncs_are_not_negative(output, journal, seconds):
    with pytest.raises(ValueError, match="seconds between syncs"):
        AppendWriter.create(output, journal, **{**OPTIONS, "sync_seconds": seconds})
    assert not output.exists()


def test_a_closed_writer_takes_nothing(output, journal):
    with AppendWriter.create(output, journal, **OPTIONS) as writer:
        writer.append(0, 0, 1, 1, b"a\n", 0.0)
    writer.close()
    assert writer.end_offset == 2
    for call in (writer.sync, lambda: writer.append(1, 0, 1, 1, b"b\n", 0.0), lambda: writer.committed(0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_an_error_inside_the_block_still_closes(output, journal):
    def fail_halfway():
        with AppendWriter.create(output, journal, **OPTIONS) as writer:
            writer.append(0, 0, 1, 1, b"a\n", 0.0)
            raise KeyError(writer)

    with pytest.raises(KeyError) as caught:
        fail_halfway()
    with pytest.raises(ValueError, match="closed"):
        caught.value.args[0].sync()
    assert read_journal(journal).records == [("committed", 0, 0, 1, 1, 2)]


def test_syncing_at_every_append_changes_no_byte(output, journal):
    options = {**OPTIONS, "sync_bytes": 0}
    with AppendWriter.create(output, journal, **options) as writer:
        for index in range(5):
            writer.append(index, 0, 1, 1, b"%d\n" % index, 0.0)
            writer.sync()
    assert output.read_bytes() == b"0\n1\n2\n3\n4\n"


def test_resume_refuses_what_does_not_belong_to_the_run(output, journal):
    with AppendWriter.create(output, journal, **OPTIONS) as writer:
        writer.append(0, 0, 1, 1, b"ours\n", 0.0)
    with pytest.raises(OutputError, match="another run"):
        AppendWriter.resume(output, journal, **{**OPTIONS, "run_id": bytes(16)})
    output.write_bytes(b"somebody else's\n")
    with pytest.raises(OutputError, match="not those that the journal recorded"):
        AppendWriter.resume(output, journal, **OPTIONS)
    assert output.read_bytes() == b"somebody else's\n"


def test_a_run_that_is_being_written_cannot_be_resumed(writer, output, journal):
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        AppendWriter.resume(output, journal, **OPTIONS)
    writer.close()
    AppendWriter.resume(output, journal, **OPTIONS).close()


def test_a_later_format_version_is_refused_with_both_versions(output, journal):
    AppendWriter.create(output, journal, **OPTIONS).close()
    content = bytearray(journal.read_bytes())
    content[8] = 2
    journal.write_bytes(content)
    for call in (lambda: read_journal(journal), lambda: AppendWriter.resume(output, journal, **OPTIONS)):
        with pytest.raises(OutputError, match="version 2 is unknown, this build reads version 1"):
            call()


def test_threads_may_share_a_writer(writer, output, journal):
    def append_every_fourth(first):
        for index in range(first, 400, 4):
            writer.append(index, 0, 1, 1, b"%03d\n" % index, 0.0)

    threads = [threading.Thread(target=append_every_fourth, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = output.read_bytes().split()
    assert sorted(rows) == [b"%03d" % index for index in range(400)]
    assert [record[1] for record in read_journal(journal).records] == [int(row) for row in rows]


def test_appending_lets_other_threads_run(tmp_path):
    payload = bytes(32 << 20)

    def overlap(attempt):
        """Whether two appends were under way at the same time, which the GIL would forbid."""
        barrier = threading.Barrier(2)
        windows = []

        def append(number):
            paths = [tmp_path / f"{attempt}-{number}.{suffix}" for suffix in ("out", "journal")]
            writer = AppendWriter.create(*paths, **OPTIONS)
            barrier.wait()
            begin = time.perf_counter()
            writer.append(0, 0, 1, 1, payload, 0.0)
            windows.append((begin, time.perf_counter()))

        threads = [threading.Thread(target=append, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (begin_a, end_a), (begin_b, end_b) = windows
        return begin_a < end_b and begin_b < end_a

    assert any(overlap(attempt) for attempt in range(5))  # a busy machine may run them one by one


FULL_DISK = """
import errno, os, resource, signal, sys
from batch_score._native import AppendWriter, read_journal

output, journal, limit, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a write over the limit fails instead of killing
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
writer = AppendWriter.create(output, journal, run_id=bytes(16), sync_bytes=1 << 40, sync_seconds=1e9, now=0.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
index = 0
try:
    while True:
        writer.append(index, 0, 1, 1, b"x" * size, 0.0)
        index += 1
except OSError as error:
    assert error.errno == errno.EFBIG, error
    assert error.filename in (output, journal), error
assert writer.end_offset == index * size == os.path.getsize(output), (index, os.path.getsize(output))
assert not writer.committed(index)
assert os.path.getsize(journal) == 32 + 48 * index
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
assert writer.append(index, 1, 1, 1, b"y" * size, 0.0) == (index + 1) * size
writer.close()
print(index)
"""


@pytest.mark.parametrize(
    ("limit", "size", "fitting"),
    [
        pytest.param(1_000, 300, 3, id="the rows do not fit"),
        pytest.param(HEADER + 3 * RECORD + 20, 1, 3, id="the record does not fit"),
    ],
)
def test_a_full_disk_leaves_whole_mini_batches_and_a_usable_writer(output, journal, limit, size, fitting):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    if soft != hard:
        pytest.skip("file sizes are limited here")
    process = run_python(FULL_DISK, output, journal, limit, size)
    printed, errors = process.communicate(timeout=60)
    assert (process.returncode, printed.split()) == (0, [b"%d" % fitting]), errors.decode()
    assert output.read_bytes() == b"x" * size * fitting + b"y" * size
    assert [record[1] for record in read_journal(journal).records] == list(range(fitting + 1))


LOOP = """
import os, sys
from batch_score._native import AppendWriter

writer = AppendWriter.create(*sys.argv[1:3], run_id=bytes(16), sync_bytes=100_000, sync_seconds=1.0, now=0.0)
writer.preamble(b"row\\n", 0.0)
for index in range(10_000_000):
    if index % 7 == 3:
        writer.fail(index, 2, 1, 0, 0.0)
    else:
        writer.append(index, 0, 1, 1, b"%d\\n" % index * (index % 1_000), 0.0)
    os.write(1, index.to_bytes(8, "little"))
"""


def rows_until(count):
    return b"row\n" + b"".join(b"%d\n" % index * (index % 1_000) for index in range(count) if index % 7 != 3)


@pytest.mark.parametrize("acknowledged", [1, 500, 2_000])
def test_a_killed_process_loses_nothing_it_had_appended(output, journal, acknowledged):
    process = run_python(LOOP, output, journal)
    acknowledgements = process.stdout.read(8 * acknowledged)
    os.kill(process.pid, signal.SIGKILL)
    acknowledgements += process.stdout.read()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    appended = int.from_bytes(acknowledgements[-8:], "little") + 1
    with AppendWriter.resume(output, journal, **{**OPTIONS, "run_id": bytes(16)}) as writer:
        count = len(read_journal(journal).records) - 1
        assert appended <= count <= appended + 1  # the last one may have died before it was acknowledged
        assert all(writer.committed(index) != writer.failed(index) for index in range(count))
        assert not writer.committed(count)
        assert output.read_bytes() == rows_until(count)
        assert writer.append(count, 0, 1, 1, b"and on\n", 0.0) == writer.end_offset
    assert output.read_bytes() == rows_until(count) + b"and on\n"


def test_a_death_between_rows_and_record_takes_the_rows_back(output, journal):
    with AppendWriter.create(output, journal, **OPTIONS) as writer:
        writer.append(0, 0, 1, 1, b"whole\n", 0.0)
    with output.open("ab") as file:
        file.write(b"rows without a rec")
    with journal.open("ab") as file:
        file.write(b"\2\0\0\0\0")
    assert read_journal(journal).torn is True
    with AppendWriter.resume(output, journal, **OPTIONS) as writer:
        assert (writer.end_offset, writer.committed(0)) == (6, True)
    assert output.read_bytes() == b"whole\n"
    assert read_journal(journal).torn is False
