"""The append writer as Python sees it, on real files."""

import errno
import threading
import time

import pytest
from tests.boundary.appending import OPTIONS, RUN, commit, contents, ending, fail, indices, row

from batch_score._native import AppendWriter, Ending, read_journal
from batch_score.errors import OutputError


@pytest.fixture
def output(tmp_path):
    (tmp_path / "outputs").mkdir()
    return tmp_path / "outputs" / "predictions.csv"


@pytest.fixture
def failed_items(tmp_path):
    return tmp_path / "failed_items.jsonl"


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal"


@pytest.fixture
def paths(output, failed_items, journal):
    return output, failed_items, journal


@pytest.fixture
def writer(paths):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        yield writer


def test_rows_lines_and_records_stand_where_append_says(writer, output, failed_items, journal):
    assert writer.preamble(b"row,score\n", 0.0) == 10
    both = {"total": 2, "succeeded": 2, "returned": 2}
    assert writer.append("committed", ending(4, identity=7, **both), b"0,1\n1,0\n", b"", 1.0) == 18
    assert writer.append("failed", ending(5, attempt=2, total=3, succeeded=0, returned=0), b"", b"{5}\n", 2.0) == 18
    numbers = {"identity": 2**32 - 1, "attempt": 1, "total": 2, "succeeded": 1, "returned": 1}
    assert writer.append("bisected", ending(3, **numbers), b"2,1\n", b"{3}\n", 3.0) == 22
    assert writer.append("committed", ending(6, total=2, succeeded=1, returned=3), b"3\n3\n3\n", b"{6}\n", 4.0) == 28
    assert output.read_bytes() == b"row,score\n0,1\n1,0\n2,1\n3\n3\n3\n"
    assert failed_items.read_bytes() == b"{5}\n{3}\n{6}\n"
    found = read_journal(journal)
    assert (found.run_id, found.torn) == (RUN, False)
    assert str(found.records[0]).startswith("JournalRecord(kind='preamble', index=0, identity=0, attempt=0, total=0,")
    assert [row(record) for record in found.records] == [
        ("preamble", 0, 0, 0, 0, 0, 0, 10, 0),
        ("committed", 4, 7, 0, 2, 2, 2, 18, 0),
        ("failed", 5, 0, 2, 3, 0, 0, 18, 4),
        ("bisected", 3, 2**32 - 1, 1, 2, 1, 1, 22, 8),
        ("committed", 6, 0, 0, 2, 1, 3, 28, 12),
    ]
    assert [(writer.committed(index), writer.failed(index)) for index in (3, 4, 5, 6, 7)] == [
        (True, False),
        (True, False),
        (False, True),
        (True, False),
        (False, False),
    ]


def test_the_summary_adds_up_also_after_closing_and_resuming(paths):
    def check(writer):
        summary = writer.summary
        assert (summary.end, summary.failed_end, summary.header) == (8, 6, 2)
        assert (summary.committed, summary.short, summary.bisected, summary.failed) == (2, 1, 1, 1)
        assert (summary.items_total, summary.items_succeeded, summary.returned) == (14, 7, 9)
        assert writer.end_offset == 8

    with AppendWriter.create(*paths, **OPTIONS) as writer:
        writer.preamble(b"h\n", 0.0)
        commit(writer, 0, b"a\n", total=3, succeeded=3, returned=3)
        commit(writer, 1, b"b\n", b"1\n", total=5, succeeded=3, returned=5)
        writer.append("bisected", ending(2, total=2), b"c\n", b"2\n", 0.0)
        writer.append("failed", ending(3, total=4, succeeded=0, returned=0), b"", b"3\n", 0.0)
        check(writer)
    check(writer)
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        check(writer)
    check(writer)


@pytest.mark.usefixtures("writer")
def test_nothing_but_the_output_is_written_into_its_folder(output):
    assert list(output.parent.iterdir()) == [output]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["output", "failed_items", "journal"])
def test_a_file_that_is_there_is_refused_and_kept_and_no_other_is_left(paths, place):
    paths[place].write_bytes(b"precious")
    with pytest.raises(FileExistsError) as caught:
        AppendWriter.create(*paths, **OPTIONS)
    assert caught.value.filename == str(paths[place])
    assert contents(paths) == [b"precious" if at == place else None for at in range(3)]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["output", "failed_items", "journal"])
def test_a_missing_folder_is_the_built_in_error_and_nothing_is_left(tmp_path, paths, place):
    elsewhere = [tmp_path / "absent" / "file" if at == place else path for at, path in enumerate(paths)]
    with pytest.raises(FileNotFoundError) as caught:
        AppendWriter.create(*elsewhere, **OPTIONS)
    assert caught.value.errno == errno.ENOENT
    assert contents(paths) == [None] * 3
    with pytest.raises(FileNotFoundError):
        AppendWriter.resume(*elsewhere, **OPTIONS)
    assert not any(contents(paths))


@pytest.mark.parametrize("payload", [b"rows\n", bytearray(b"rows\n"), memoryview(b"..rows\n")[2:]])
def test_what_is_appended_is_any_kind_of_bytes(writer, output, failed_items, payload):
    assert commit(writer, 0, payload, payload) == 5
    assert (output.read_bytes(), failed_items.read_bytes()) == (b"rows\n", b"rows\n")


@pytest.mark.parametrize("payload", ["rows\n", 5, None, [1, 2]])
def test_other_payloads_are_refused_by_name(writer, paths, payload):
    before = contents(paths)
    needed = f"bytes, bytearray or memoryview are needed, not {type(payload).__name__}"
    with pytest.raises(TypeError, match=f"{needed}\nwhile processing 'payload'"):
        commit(writer, 0, payload)
    with pytest.raises(TypeError, match=f"{needed}\nwhile processing 'failed_items'"):
        commit(writer, 0, b"", payload)
    assert contents(paths) == before


@pytest.mark.parametrize("kind", ["preamble", "Committed", ""])
def test_other_kinds_are_refused(writer, kind):
    with pytest.raises(ValueError, match=f'must be committed, bisected or failed, not "{kind}"'):
        writer.append(kind, ending(0), b"", b"", 0.0)


def test_an_ending_is_named_and_stays_as_it_is():
    one = ending(5, identity=2**32 - 1, total=2**64 - 1)
    assert (one.index, one.identity, one.attempt, one.total, one.succeeded, one.returned) == (
        *(5, 2**32 - 1, 0, 2**64 - 1, 1, 1),
    )
    with pytest.raises(TypeError):
        Ending(5, 0, 0, 1, 1, 1)
    with pytest.raises(AttributeError):
        one.index = 6
    for wrong in ({"identity": 2**32}, {"attempt": -1}, {"total": 2**64}):
        with pytest.raises(OverflowError):
            ending(5, **wrong)


def test_a_mini_batch_ends_once(writer, paths):
    commit(writer, 0, b"a\n")
    fail(writer, 1, b"{}\n")
    writer.append("bisected", ending(2), b"c\n", b"{}\n", 0.0)
    before = contents(paths)
    for index in (0, 1, 2):
        with pytest.raises(ValueError, match=f"mini-batch {index} has ended already"):
            commit(writer, index, b"b\n")
        with pytest.raises(ValueError, match=f"mini-batch {index} has ended already"):
            fail(writer, index)
    assert contents(paths) == before


@pytest.mark.parametrize(
    ("kind", "numbers", "payload", "reason"),
    [
        ("committed", {"succeeded": 2, "returned": 2}, b"", "2 of 1 items"),
        ("bisected", {"total": 2, "succeeded": 2}, b"", "when 1 were returned"),
        ("failed", {"succeeded": 1, "returned": 0}, b"", "when 0 were returned"),
        ("failed", {"succeeded": 0, "returned": 1}, b"", "cannot have rows"),
        ("failed", {"succeeded": 0, "returned": 0}, b"rows\n", "cannot have rows"),
    ],
)
def test_impossible_endings_are_refused_and_add_nothing(writer, paths, kind, numbers, payload, reason):
    before = contents(paths)
    with pytest.raises(ValueError, match=reason):
        writer.append(kind, ending(0, **numbers), payload, b"{}\n", 0.0)
    assert contents(paths) == before


def test_a_preamble_comes_first(writer):
    fail(writer, 0, b"{}\n")  # adds no bytes to the output, so the header line can still be first
    writer.preamble(b"h\n", 0.0)
    with pytest.raises(ValueError, match="first bytes"):
        writer.preamble(b"h\n", 0.0)


def test_without_an_output_endings_and_failed_items_are_kept(failed_items, journal):
    with AppendWriter.create(None, failed_items, journal, **OPTIONS) as writer:
        assert commit(writer, 0) == 0
        with pytest.raises(ValueError, match="no output file"):
            commit(writer, 1, b"rows\n")
        fail(writer, 2, b"{}\n")
    with AppendWriter.resume(None, failed_items, journal, **OPTIONS) as writer:
        assert [writer.committed(index) for index in range(3)] == [True, False, False]
        assert writer.failed(2)
    assert failed_items.read_bytes() == b"{}\n"


def test_identities_are_those_of_mini_batches_that_had_ended_when_the_run_was_resumed(paths):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        commit(writer, 0, identity=11)
        commit(writer, 70, identity=0)
        assert writer.identity(0) is None
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        commit(writer, 1, identity=12)
        assert [writer.identity(index) for index in (0, 1, 2, 70)] == [11, None, None, 0]


@pytest.mark.parametrize("run_id", [b"short", b"seventeen bytes!!", "fingerprint-0001", None])
def test_a_run_id_is_sixteen_bytes(paths, run_id):
    with pytest.raises(ValueError, match="run_id must be bytes of length 16"):
        AppendWriter.create(*paths, **{**OPTIONS, "run_id": run_id})


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_seconds_between_syncs_are_not_negative(paths, seconds):
    with pytest.raises(ValueError, match="seconds between syncs"):
        AppendWriter.create(*paths, **{**OPTIONS, "sync_seconds": seconds})
    assert contents(paths) == [None] * 3


def test_a_closed_writer_takes_nothing(paths):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        commit(writer, 0, b"a\n")
    writer.close()
    assert (writer.end_offset, writer.summary.committed, writer.lost, writer.torn) == (2, 1, 0, False)
    for call in (
        writer.sync,
        lambda: commit(writer, 1, b"b\n"),
        lambda: writer.committed(0),
        lambda: writer.failed(0),
        lambda: writer.identity(0),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_an_error_inside_the_block_still_closes(paths, journal):
    def fail_halfway():
        with AppendWriter.create(*paths, **OPTIONS) as writer:
            commit(writer, 0, b"a\n")
            raise KeyError(writer)

    with pytest.raises(KeyError) as caught:
        fail_halfway()
    with pytest.raises(ValueError, match="closed"):
        caught.value.args[0].sync()
    assert indices(journal) == [0]


def test_syncing_at_every_append_changes_no_byte(paths, output, failed_items):
    options = {**OPTIONS, "sync_bytes": 0}
    with AppendWriter.create(*paths, **options) as writer:
        for index in range(5):
            commit(writer, index, b"%d\n" % index, b"{}\n" * (index % 2))
            writer.begin_sync()
            writer.keep_up(float(index))
            writer.sync()
    assert output.read_bytes() == b"0\n1\n2\n3\n4\n"
    assert failed_items.read_bytes() == b"{}\n{}\n"


def test_resume_refuses_what_does_not_belong_to_the_run(paths):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        commit(writer, 0, b"ours\n", b"{}\n")
    with pytest.raises(OutputError, match="another run"):
        AppendWriter.resume(*paths, **{**OPTIONS, "run_id": bytes(16)})
    for path in paths[:2]:
        ours = path.read_bytes()
        path.write_bytes(b"somebody else's\n")
        before = contents(paths)
        with pytest.raises(OutputError, match="not those that the journal recorded"):
            AppendWriter.resume(*paths, **OPTIONS)
        assert contents(paths) == before
        path.write_bytes(ours)
    AppendWriter.resume(*paths, **OPTIONS).close()


def test_a_run_that_is_being_written_cannot_be_resumed(writer, paths):
    with pytest.raises(BlockingIOError, match="another process is writing this run"):
        AppendWriter.resume(*paths, **OPTIONS)
    writer.close()
    AppendWriter.resume(*paths, **OPTIONS).close()


@pytest.mark.parametrize("version", [1, 3])
def test_other_format_versions_are_refused_with_both_versions(paths, journal, version):
    AppendWriter.create(*paths, **OPTIONS).close()
    content = bytearray(journal.read_bytes())
    content[8] = version
    journal.write_bytes(content)
    for call in (lambda: read_journal(journal), lambda: AppendWriter.resume(*paths, **OPTIONS)):
        with pytest.raises(OutputError, match=f"version {version} is unknown, this build reads version 2"):
            call()


@pytest.mark.parametrize("left", [(None, None, None), (b"", b"", b""), (b"", None, b"\x89BSJ"), (None, b"", b"")])
def test_resume_begins_anew_when_nothing_was_ever_committed(paths, left):
    for path, content in zip(paths, left, strict=True):
        if content is not None:
            path.write_bytes(content)
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert (writer.end_offset, writer.lost, writer.torn) == (0, 0, False)
        commit(writer, 0, b"row\n", b"{}\n")
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert writer.committed(0)
    assert contents(paths)[:2] == [b"row\n", b"{}\n"]


LEFT = {"none": (None, FileNotFoundError, "missing"), "empty": (b"", OutputError, "damaged")}
LEFT["cut off"] = (b"\x89BSJ", OutputError, "damaged")


@pytest.mark.parametrize(("journal_left", "kind", "state"), LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("place", [0, 1], ids=["output", "failed_items"])
def test_without_a_journal_bytes_are_not_touched(paths, journal, journal_left, kind, state, place):
    paths[place].write_bytes(b"rows of hours\n")
    if journal_left is not None:
        journal.write_bytes(journal_left)
    before = contents(paths)
    with pytest.raises(kind, match=f"the journal is {state}, .* the 14 bytes of {paths[place]} .* not") as caught:
        AppendWriter.resume(*paths, **OPTIONS)
    assert str(caught.value).startswith(str(journal))
    assert contents(paths) == before


def test_a_file_that_is_gone_is_missed_only_if_the_run_has_bytes_in_it(paths, output, failed_items):
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        commit(writer, 0, b"row\n")
    failed_items.unlink()
    AppendWriter.resume(*paths, **OPTIONS).close()
    assert failed_items.read_bytes() == b""
    output.unlink()
    before = contents(paths)
    with pytest.raises(FileNotFoundError, match=output.name):
        AppendWriter.resume(*paths, **OPTIONS)
    assert contents(paths) == before


def test_threads_may_share_a_writer(writer, output, failed_items, journal):
    def append_every_fourth(first):
        for index in range(first, 400, 4):
            commit(writer, index, b"%03d\n" % index, b"%03d\n" % index)

    threads = [threading.Thread(target=append_every_fourth, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = output.read_bytes().split()
    assert sorted(rows) == [b"%03d" % index for index in range(400)]
    assert failed_items.read_bytes().split() == rows
    assert indices(journal) == [int(row) for row in rows]


def test_appending_lets_other_threads_run(tmp_path):
    payload = bytes(32 << 20)

    def overlap(attempt):
        """Whether two appends were under way at the same time, which the GIL would forbid."""
        barrier = threading.Barrier(2)
        windows = []

        def append(number):
            paths = [tmp_path / f"{attempt}-{number}.{suffix}" for suffix in ("out", "failed", "journal")]
            writer = AppendWriter.create(*paths, **OPTIONS)
            barrier.wait()
            begin = time.perf_counter()
            commit(writer, 0, payload)
            windows.append((begin, time.perf_counter()))

        threads = [threading.Thread(target=append, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (begin_a, end_a), (begin_b, end_b) = windows
        return begin_a < end_b and begin_b < end_a

    assert any(overlap(attempt) for attempt in range(5))  # a busy machine may run them one by one
