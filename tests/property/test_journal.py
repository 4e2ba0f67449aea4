"""The journal against a slow, obvious reader of the documented format."""

import struct
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score._native import AppendWriter, read_journal
from batch_score.errors import OutputError

RUN = bytes(range(16))
OPTIONS = {"run_id": RUN, "sync_bytes": 1 << 40, "sync_seconds": 1e9, "now": 0.0}
HEADER, RECORD = 32, 48
KINDS = {1: "preamble", 2: "committed", 3: "failed"}
HEADER_LINE = b"key,score\n"


def read_slowly(content):
    """What docs/formats/journal.md says, field by field: the good records, each with the CRC of its bytes."""
    magic, version, run_id, stored = struct.unpack("<8sI16sI", content[:HEADER])
    crc = zlib.crc32(content[: HEADER - 4])
    assert (magic, version, run_id, stored) == (b"\x89BSJ\r\n\x1a\n", 1, RUN, crc)
    records = []
    for start in range(HEADER, len(content), RECORD):
        record = content[start : start + RECORD]
        if len(record) < RECORD:
            break
        kind, attempt, index, total, succeeded, end, bytes_crc, stored = struct.unpack("<IIQQQQII", record)
        crc = zlib.crc32(record[:-4], crc)
        if crc != stored:
            break
        records.append((KINDS[kind], index, attempt, total, succeeded, end, bytes_crc))
    return records


def good_slowly(output, journal):
    """The records whose bytes, and those of all before, are in `output`; None when the first bytes differ."""
    good, start = [], 0
    for record in read_slowly(journal):
        end, bytes_crc = record[5:]
        if end > len(output):
            break
        if zlib.crc32(output[start:end]) != bytes_crc:
            if start == 0:
                return None
            break
        good.append(record)
        start = end
    return good


uint32 = st.integers(0, 2**32 - 1)
ending = st.tuples(st.integers(0, 2**64 - 1), uint32, uint32, uint32).map(
    lambda drawn: (drawn[0], drawn[1], max(drawn[2:]), min(drawn[2:]))
)
endings = st.lists(
    st.tuples(ending, st.none() | st.binary(max_size=40)),
    max_size=8,
    unique_by=lambda step: step[0][0],
)


def go_on(writer, steps):
    """Takes every step that has not been taken; None for a payload is a mini-batch that failed for good."""
    if writer.end_offset == 0:
        writer.preamble(HEADER_LINE, 0.0)
    for step, payload in steps:
        if writer.committed(step[0]) or writer.failed(step[0]):
            continue
        if payload is None:
            writer.fail(*step, 0.0)
        else:
            writer.append(*step, payload, 0.0)


@pytest.fixture
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


def write_run(folder, steps):
    """A finished run in files that the example may damage."""
    paths = folder / "out.csv", folder / "journal"
    for path in paths:
        path.unlink(missing_ok=True)
    with AppendWriter.create(*paths, **OPTIONS) as writer:
        go_on(writer, steps)
    return paths


@given(steps=endings)
def test_the_files_are_what_the_format_says(folder, steps):
    output, journal = write_run(folder, steps)
    assert output.read_bytes() == HEADER_LINE + b"".join(payload or b"" for _, payload in steps)
    expected, end = [("preamble", 0, 0, 0, 0, len(HEADER_LINE), zlib.crc32(HEADER_LINE))], len(HEADER_LINE)
    for step, payload in steps:
        end += len(payload or b"")
        kind = "failed" if payload is None else "committed"
        expected.append((kind, *step, end, zlib.crc32(payload or b"")))
    content = journal.read_bytes()
    assert len(content) == HEADER + RECORD * len(expected)
    assert read_slowly(content) == expected
    assert read_journal(journal).records == [record[:6] for record in expected]


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
            return content[:at] + bytes([content[at] ^ (1 << noise[0] % 8)]) + content[at + 1 :]
        return content

    return apply


@given(steps=endings, harm=damage())
def test_a_damaged_journal_reads_as_far_as_the_twin_reads_it(folder, steps, harm):
    _, journal = write_run(folder, steps)
    content = harm(journal.read_bytes(), HEADER)
    journal.write_bytes(content)
    expected = read_slowly(content)
    contents = read_journal(journal)
    assert contents.records == [record[:6] for record in expected]
    assert contents.torn is (len(content) > HEADER + RECORD * len(expected))


@given(steps=endings, harm_output=damage(), harm_journal=damage())
def test_after_any_damage_resume_keeps_what_is_good_and_goes_on(folder, steps, harm_output, harm_journal):
    output, journal = write_run(folder, steps)
    whole = output.read_bytes(), journal.read_bytes()
    damaged = harm_output(whole[0]), harm_journal(whole[1], HEADER)
    output.write_bytes(damaged[0])
    journal.write_bytes(damaged[1])
    good = good_slowly(*damaged)
    if good is None:
        with pytest.raises(OutputError, match="not those that the journal recorded"):
            AppendWriter.resume(output, journal, **OPTIONS)
        assert (output.read_bytes(), journal.read_bytes()) == damaged
        return
    with AppendWriter.resume(output, journal, **OPTIONS) as writer:
        assert writer.end_offset == (good[-1][5] if good else 0)
        assert {index for (index, *_), _ in steps if writer.committed(index)} == {
            record[1] for record in good if record[0] == "committed"
        }
        go_on(writer, steps)
    assert (output.read_bytes(), journal.read_bytes()) == whole


@given(content=st.binary(max_size=200))
def test_no_bytes_make_it_panic(folder, content):
    journal = folder / "journal"
    journal.write_bytes(content)
    with suppress(OutputError):
        read_journal(journal)
    for prefix in (b"\x89BSJ\r\n\x1a\n", b"\x89BSJ\r\n\x1a\n\1\0\0\0"):
        journal.write_bytes(prefix + content)
        with pytest.raises(OutputError):
            read_journal(journal)
