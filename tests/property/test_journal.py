"""The journal against a slow, obvious twin of the documented format."""

import struct
import zlib
from contextlib import suppress
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batch_score._native import AppendWriter, Ending, read_journal
from batch_score.errors import OutputError

RUN = bytes(range(16))
OPTIONS = {"run_id": RUN, "sync_bytes": 1 << 40, "sync_seconds": 1e9, "now": 0.0}
HEADER, RECORD = 32, 72
KINDS = {1: "preamble", 2: "committed", 3: "failed", 4: "bisected"}
HEADER_LINE = b"key,score\n"
MAX = 2**64 - 1


class Numbers(NamedTuple):
    """What the caller of the append writer says of a mini-batch."""

    index: int = 0
    identity: int = 0
    attempt: int = 0
    total: int = 0
    succeeded: int = 0
    returned: int = 0


class Record(NamedTuple):
    kind: str
    numbers: Numbers
    end: int
    failed_end: int
    output_crc: int
    failed_crc: int


class Step(NamedTuple):
    kind: str
    numbers: Numbers
    payload: bytes
    failed_items: bytes


class Files(NamedTuple):
    """The three files of a run: their paths, or their contents."""

    output: object
    failed_items: object
    journal: object


# The twin


def pack(record, crc):
    """A record as stored behind records whose running CRC is `crc`."""
    code = next(code for code, name in KINDS.items() if name == record.kind)
    index, identity, attempt, total, succeeded, returned = record.numbers
    block = struct.pack("<IIQQQQ", code, attempt, index, total, succeeded, returned)
    block += struct.pack("<QQIII", record.end, record.failed_end, identity, record.output_crc, record.failed_crc)
    return block + zlib.crc32(block, crc).to_bytes(4, "little")


def header():
    content = b"\x89BSJ\r\n\x1a\n" + (2).to_bytes(4, "little") + RUN
    return content + zlib.crc32(content).to_bytes(4, "little")


def read_slowly(content):
    """The undamaged records of a journal, field by field."""
    magic, version, run_id, stored = struct.unpack("<8sI16sI", content[:HEADER])
    crc = zlib.crc32(content[: HEADER - 4])
    assert (magic, version, run_id, stored) == (b"\x89BSJ\r\n\x1a\n", 2, RUN, crc)
    records = []
    for start in range(HEADER, len(content) - RECORD + 1, RECORD):
        block = content[start : start + RECORD]
        crc = zlib.crc32(block[:-4], crc)
        if crc != int.from_bytes(block[-4:], "little"):
            break
        code, attempt, index, total, succeeded, returned = struct.unpack("<IIQQQQ", block[:40])
        end, failed_end, identity, output_crc, failed_crc = struct.unpack("<QQIII", block[40:-4])
        numbers = Numbers(index, identity, attempt, total, succeeded, returned)
        records.append(Record(KINDS[code], numbers, end, failed_end, output_crc, failed_crc))
    return records


class GrownTwin:
    """A file held against what the records say of it, one after the other."""

    def __init__(self, content):
        self.content, self.end, self.intact, self.foreign = content, 0, True, False

    def holds(self, end, crc):
        start, self.end = self.end, end
        there = len(self.content) >= end
        if self.intact and not (there and zlib.crc32(self.content[start:end]) == crc):
            self.intact = False
            self.foreign = there and start == 0
        return self.intact


def good_slowly(files):
    """The records whose bytes, and those of all before, are in the files; None when first bytes are not the run's."""
    output, failed_items = GrownTwin(files.output), GrownTwin(files.failed_items)
    held = []
    for record in read_slowly(files.journal):
        in_output = output.holds(record.end, record.output_crc)
        in_failed_items = failed_items.holds(record.failed_end, record.failed_crc)
        if in_output and in_failed_items:
            held.append(record)
    return None if output.foreign or failed_items.foreign else held


def may_follow(before, record):
    """Whether a record keeps every law, when those before it do."""
    end, failed_end = (before[-1].end, before[-1].failed_end) if before else (0, 0)
    numbers, added, added_failed = record.numbers, record.end - end, record.failed_end - failed_end
    rules = [
        added > 0 or (added == 0 and record.output_crc == 0),
        added_failed > 0 or (added_failed == 0 and record.failed_crc == 0),
    ]
    if record.kind == "preamble":
        return all([*rules, end == 0, added > 0, added_failed == 0, numbers == Numbers()])
    ended = [one.numbers for one in before if one.kind != "preamble"]
    rules += [
        numbers.index not in {one.index for one in ended},
        numbers.succeeded <= min(numbers.total, numbers.returned),
        *(sum(getattr(one, name) for one in [*ended, numbers]) <= MAX for name in ("total", "succeeded", "returned")),
    ]
    if record.kind == "failed":
        rules += [added == 0, numbers.succeeded == 0, numbers.returned == 0]
    return all(rules)


def summary_slowly(records):
    ended = [record for record in records if record.kind != "preamble"]
    count = {kind: sum(record.kind == kind for record in records) for kind in KINDS.values()}
    short = [one for one in ended if one.kind == "committed" and one.numbers.succeeded < one.numbers.total]
    return {
        "end": records[-1].end if records else 0,
        "failed_end": records[-1].failed_end if records else 0,
        "header": sum(record.end for record in records if record.kind == "preamble"),
        "committed": count["committed"],
        "short": len(short),
        "bisected": count["bisected"],
        "failed": count["failed"],
        "items_total": sum(record.numbers.total for record in ended),
        "items_succeeded": sum(record.numbers.succeeded for record in ended),
        "returned": sum(record.numbers.returned for record in ended),
    }


# Runs in real files


def shown(record):
    """A record of the binding as one of the twin, without the CRCs, which are not shown."""
    return record.kind, Numbers(*(getattr(record, name) for name in Numbers._fields)), record.end, record.failed_end


def summary_of(writer):
    return {name: getattr(writer.summary, name) for name in summary_slowly([])}


def go_on(writer, steps):
    """Takes every step that has not been taken."""
    if writer.end_offset == 0:
        writer.preamble(HEADER_LINE, 0.0)
    for kind, numbers, payload, failed_items in steps:
        if not (writer.committed(numbers.index) or writer.failed(numbers.index)):
            writer.append(kind, Ending(**numbers._asdict()), payload, failed_items, 0.0)


@pytest.fixture
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return Files(folder / "out.csv", folder / "failed_items.jsonl", folder / "journal")


def read(paths):
    """The contents of all files, None for one that is missing."""
    return Files(*(path.read_bytes() if path.exists() else None for path in paths))


def put(paths, contents):
    for path, content in zip(paths, contents, strict=True):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)


def write_run(paths, steps):
    """A finished run; its contents, and its files for the example to damage."""
    put(paths, (None, None, None))
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        go_on(writer, steps)
    return read(paths)


def expected_records(steps):
    """What the journal of a finished run says, computed without a writer."""
    end, failed_end = len(HEADER_LINE), 0
    records = [Record("preamble", Numbers(), end, failed_end, zlib.crc32(HEADER_LINE), 0)]
    for kind, numbers, payload, failed_items in steps:
        end, failed_end = end + len(payload), failed_end + len(failed_items)
        records.append(Record(kind, numbers, end, failed_end, zlib.crc32(payload), zlib.crc32(failed_items)))
    return records


# Examples

uint32 = st.integers(0, 2**32 - 1)
lines = st.binary(max_size=30)


@st.composite
def step(draw):
    kind = draw(st.sampled_from(["committed", "committed", "bisected", "failed"]))
    total, returned = draw(uint32), draw(uint32)
    if kind == "failed":
        returned = 0
    succeeded = draw(st.integers(0, min(total, returned)) | st.just(min(total, returned)))
    index = draw(st.integers(0, 200) | st.integers(0, MAX))
    numbers = Numbers(index, draw(uint32), draw(uint32), total, succeeded, returned)
    payload = b"" if kind == "failed" else draw(st.binary(max_size=40))
    return Step(kind, numbers, payload, draw(st.just(b"") | lines))


runs = st.lists(step(), max_size=8, unique_by=lambda step: step.numbers.index)


@st.composite
def damage(draw):
    """A function that cuts bytes off, adds some, or flips a bit, at a place drawn relative to the length."""
    how = draw(st.sampled_from(["cut", "add", "flip", "none"]))
    place, noise = draw(st.floats(0, 1, exclude_max=True)), draw(st.binary(min_size=1, max_size=100))

    def apply(content, floor=0):
        at = floor + int(place * (len(content) - floor))
        if how == "cut":
            return content[:at]
        if how == "add":
            return content + noise
        if how == "flip" and at < len(content):
            return flipped(content, at, noise[0] % 8)
        return content

    return apply


def flipped(content, at, bit):
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


# Laws


@given(steps=runs)
def test_the_files_are_what_the_format_says(paths, steps):
    contents = write_run(paths, steps)
    assert contents.output == HEADER_LINE + b"".join(step.payload for step in steps)
    assert contents.failed_items == b"".join(step.failed_items for step in steps)
    expected = expected_records(steps)
    assert len(contents.journal) == HEADER + RECORD * len(expected)
    assert read_slowly(contents.journal) == expected
    assert [shown(record) for record in read_journal(paths.journal).records] == [record[:4] for record in expected]


@given(steps=runs)
def test_a_resumed_run_knows_what_had_ended_and_its_totals(paths, steps):
    write_run(paths, steps)
    absent = next(index for index in range(300) if index not in {step.numbers.index for step in steps})
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert summary_of(writer) == summary_slowly(expected_records(steps))
        assert (writer.lost, writer.torn) == (0, False)
        for kind, numbers, *_ in steps:
            assert writer.identity(numbers.index) == numbers.identity
            assert (writer.committed(numbers.index), writer.failed(numbers.index)) == (
                kind != "failed",
                kind == "failed",
            )
        assert writer.identity(absent) is None
    assert summary_of(writer) == summary_slowly(expected_records(steps))


@given(steps=runs, harm=damage())
def test_a_damaged_journal_reads_as_far_as_the_twin_reads_it(paths, steps, harm):
    content = harm(write_run(paths, steps).journal, HEADER)
    paths.journal.write_bytes(content)
    expected = read_slowly(content)
    contents = read_journal(paths.journal)
    assert [shown(record) for record in contents.records] == [record[:4] for record in expected]
    assert contents.torn is (len(content) > HEADER + RECORD * len(expected))


@given(steps=runs, harms=st.tuples(damage(), damage(), damage()))
def test_after_any_damage_resume_keeps_what_is_good_and_goes_on(paths, steps, harms):
    whole = write_run(paths, steps)
    harm_output, harm_failed_items, harm_journal = harms
    damaged = Files(
        harm_output(whole.output), harm_failed_items(whole.failed_items), harm_journal(whole.journal, HEADER)
    )
    put(paths, damaged)
    good = good_slowly(damaged)
    if good is None:
        with pytest.raises(OutputError, match="not those that the journal recorded"):
            AppendWriter.resume(*paths, **OPTIONS)
        assert read(paths) == damaged
        return
    stored = read_slowly(damaged.journal)
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert summary_of(writer) == summary_slowly(good)
        assert writer.lost == len(stored) - len(good)
        assert writer.torn is (len(damaged.journal) > HEADER + RECORD * len(stored))
        identities = {record.numbers.index: record.numbers.identity for record in good if record.kind != "preamble"}
        for record in expected_records(steps)[1:]:
            index = record.numbers.index
            assert writer.identity(index) == identities.get(index)
            assert (writer.committed(index) or writer.failed(index)) is (index in identities)
        go_on(writer, steps)
    assert read(paths) == whole


@given(steps=runs.filter(bool))
def test_whatever_byte_the_tail_of_a_file_is_cut_at_a_prefix_is_good_and_resume_completes_it(paths, steps):
    whole = write_run(paths, steps)
    tail_begins = expected_records(steps)[-3:][0]
    begins = Files(tail_begins.end, tail_begins.failed_end, len(whole.journal) - 2 * RECORD)
    for name in Files._fields:
        for length in range(getattr(begins, name), len(getattr(whole, name))):
            cut = whole._replace(**{name: getattr(whole, name)[:length]})
            put(paths, cut)
            good = good_slowly(cut)
            writer = AppendWriter.resume(*paths, **OPTIONS)
            assert summary_of(writer) == summary_slowly(good)
            assert read(paths) == Files(
                whole.output[: writer.summary.end],
                whole.failed_items[: writer.summary.failed_end],
                whole.journal[: HEADER + RECORD * len(good)],
            )
            go_on(writer, steps)
            del writer  # without closing it, which syncs, hundreds of times
            assert read(paths) == whole


@given(steps=runs, place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), name=st.sampled_from(Files._fields))
def test_a_flipped_bit_never_yields_a_record_that_was_not_written(paths, steps, place, bit, name):
    whole = write_run(paths, steps)
    content = getattr(whole, name)
    assume(content)
    damaged = whole._replace(**{name: flipped(content, int(place * len(content)), bit)})
    put(paths, damaged)
    try:
        AppendWriter.resume(*paths, **OPTIONS).close()
    except OutputError:
        assert read(paths) == damaged
        return
    found = read(paths)
    records = [shown(record) for record in read_journal(paths.journal).records]
    assert records == [record[:4] for record in expected_records(steps)[: len(records)]]
    assert len(records) <= len(steps)
    for now, before in zip(found, whole, strict=True):
        assert before.startswith(now)


@st.composite
def any_record(draw, before):
    """A record with a fitting CRC that keeps the laws most of the time."""
    broken = draw(st.sampled_from([None] * 12 + ["kind", "index", "count", "sum", "end", "failed_end", "crc"]))
    end, failed_end = (before[-1].end, before[-1].failed_end) if before else (0, 0)
    kinds = list(KINDS.values()) if end == 0 or broken == "kind" else ["committed", "bisected", "failed"]
    kind = draw(st.sampled_from(kinds))
    added, added_failed = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    total, returned = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    numbers = Numbers(len(before), 7, draw(st.integers(0, 1)), total, min(total, returned), returned)
    if kind == "failed":
        added, numbers = 0, numbers._replace(succeeded=0, returned=0)
    if kind == "preamble":
        added, added_failed, numbers = 1, 0, Numbers()
    if broken == "index":
        numbers = numbers._replace(index=draw(st.integers(0, 2)))
    if broken in ("count", "sum"):
        name = draw(st.sampled_from(Numbers._fields if broken == "count" else ["total", "returned"]))
        numbers = numbers._replace(**{name: 3 if broken == "count" else MAX - draw(st.integers(0, 2))})
    added = draw(st.integers(-1, 1)) if broken == "end" else added
    added_failed = draw(st.integers(-1, 1)) if broken == "failed_end" else added_failed
    crcs = [zlib.crc32(b"x" * max(0, count)) for count in (added, added_failed)]
    if broken == "crc":
        crcs[draw(st.integers(0, 1))] ^= 1
    return Record(kind, numbers, max(0, end + added), max(0, failed_end + added_failed), *crcs)


@given(data=st.data())
def test_any_sequence_of_sound_records_is_lawful_or_refused(paths, data):
    """The files hold as many bytes as the records could ask for, so only the laws and the CRCs of bytes decide."""
    records, journal = [], header()
    for _ in range(data.draw(st.integers(1, 6))):
        record = data.draw(any_record(records))
        records.append(record)
        journal += pack(record, int.from_bytes(journal[-4:], "little"))
    assert read_slowly(journal) == records
    contents = Files(b"x" * 20, b"x" * 20, journal)
    put(paths, contents)
    good = good_slowly(contents)
    # Up to the first record whose bytes are missing; what comes behind it is lost whatever it says.
    reached = range(len(records) if good is None else min(len(good) + 1, len(records)))
    if good is None or not all(may_follow(records[:place], records[place]) for place in reached):
        with pytest.raises(OutputError):
            AppendWriter.resume(*paths, **OPTIONS)
        assert read(paths) == contents
        return
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert summary_of(writer) == summary_slowly(good)
        assert writer.lost == len(records) - len(good)


@given(
    journal=st.none() | st.binary(max_size=HEADER - 1) | st.integers(0, HEADER - 1).map(lambda end: header()[:end]),
    others=st.tuples(*[st.sampled_from([None, b"", b"x", b"bytes\n"])] * 2),
    steps=runs,
)
def test_without_a_header_a_run_begins_anew_or_is_left_alone(paths, journal, others, steps):
    left = Files(*others, journal)
    put(paths, left)
    if any(others):
        with pytest.raises(FileNotFoundError if journal is None else OutputError, match="nothing was touched"):
            AppendWriter.resume(*paths, **OPTIONS)
        assert read(paths) == left
        return
    with AppendWriter.resume(*paths, **OPTIONS) as writer:
        assert (writer.lost, writer.torn, writer.end_offset) == (0, False, 0)
        go_on(writer, steps)
    assert read(paths) == write_run(paths, steps)


@given(content=st.binary(max_size=200))
def test_no_bytes_make_it_panic(paths, content):
    put(paths, (b"", b"", content))
    with suppress(OutputError):
        read_journal(paths.journal)
    for prefix in (b"\x89BSJ\r\n\x1a\n", b"\x89BSJ\r\n\x1a\n\1\0\0\0", b"\x89BSJ\r\n\x1a\n\2\0\0\0" + bytes(20)):
        paths.journal.write_bytes(prefix + content)
        with pytest.raises(OutputError):
            read_journal(paths.journal)
    paths.journal.write_bytes(header() + content)
    assert read_journal(paths.journal).records == []
    AppendWriter.resume(*paths, **OPTIONS).close()
    assert read(paths) == (b"", b"", header())
