"""The laws of mini-batches, against slow obvious twins and against the parsers that later read them."""

import bz2
import csv
import gzip
import io
import itertools

import pyarrow as pa
import pyarrow.csv as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score._native import TextPlan, TextStream, is_stream, read_header, read_range, split_records
from batch_score.errors import ConfigError, RecordError

MARK = b"\xef\xbb\xbf"
PIECES = ['"', '"', '""', ",", ",", "\n", "\r", "\r\n", "\n\n", " ", "a", "é", '"x\ny"', '"x""\r\n"', "word" * 20]
texts = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
cells = st.text(st.sampled_from('ab ",\n\ré'), max_size=8)


def field(cell, *, always):
    needs_quotes = always or any(char in cell for char in ',"\r\n')
    return '"{}"'.format(cell.replace('"', '""')) if needs_quotes else cell


@st.composite
def well_formed(draw):
    """Text that a CSV writer made: any cell content, any line end, empty lines between rows."""
    width = draw(st.integers(1, 3))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=12))
    text = ""
    for row in rows:
        always = draw(st.booleans()) or row == [""]
        text += ",".join(field(cell, always=always) for cell in row)
        text += draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"]))
    return text.rstrip("\r\n") if draw(st.booleans()) else text


def twin_records(text, quote='"', delimiter=","):
    """Begin and end of each record, one character after the other."""
    begins, state, in_record = [], "start", False
    for at, char in enumerate(text):
        line_break = char in "\r\n"
        if not in_record and not line_break:
            begins.append(at)
            in_record = True
        if state == "quoted":
            state = "closed" if char == quote else "quoted"
        elif state in {"start", "closed"} and char == quote:
            state = "quoted"
        elif line_break:
            state, in_record = "start", False
        else:
            state = "start" if char == delimiter else "plain"
    return list(itertools.pairwise([*begins, len(text)]))


def twin_cut(records, max_bytes):
    """As many records as fit, one after the other: (offset, length, first_row, rows)."""
    cut = []
    for row, (begin, end) in enumerate(records):
        if cut and end - cut[-1][0] <= max_bytes:
            offset, _, first_row, rows = cut[-1]
            cut[-1] = (offset, end - offset, first_row, rows + 1)
        else:
            cut.append((begin, end - begin, row, 1))
    return cut


def as_bytes(text, records):
    """Offsets in characters as offsets in UTF-8."""
    return [tuple(len(text[:at].encode()) for at in record) for record in records]


def write(folder, data, name="file.csv"):
    path = folder / name
    path.write_bytes(data)
    return path


def plan(paths, max_bytes, limit=7, **options):
    text_plan = TextPlan(paths, max_bytes=max_bytes, **options)
    found = []
    while portion := text_plan.next_batch(limit):
        assert len(portion) <= limit
        found += portion
    assert text_plan.next_batch(limit) == []
    assert text_plan.records_scanned == sum(rows for *_, rows in found)
    return found


sizes = st.one_of(st.integers(1, 40), st.integers(1, 1000), st.just(1 << 62))
chunks = st.one_of(st.integers(1, 9), st.integers(1, 300), st.just(1 << 20))
threads = st.integers(1, 4)
ways = st.fixed_dictionaries({"chunk_bytes": chunks, "threads": threads})
# All at once: what is asked for piece by piece is too little to be shared out among threads.
ALL = 1 << 30


@given(texts, sizes, ways, st.booleans(), st.booleans())
def test_mini_batches_of_any_text_are_those_of_the_twin(tmp_path, text, max_bytes, way, header, marked):
    before = MARK if marked else b""
    path = write(tmp_path, before + text.encode())
    records = as_bytes(text, twin_records(text))[1 if header else 0 :]
    expected = [
        (0, offset + len(before), length, first_row, rows)
        for offset, length, first_row, rows in twin_cut(records, max_bytes)
    ]
    assert plan([path], max_bytes, header=header, **way) == expected
    assert plan([path], max_bytes, limit=ALL, header=header, **way) == expected


@given(st.lists(texts, min_size=1, max_size=4), sizes, ways)
def test_the_laws_of_mini_batches(tmp_path, contents, max_bytes, way):
    paths = [write(tmp_path, text.encode(), f"{number}.csv") for number, text in enumerate(contents)]
    found = plan(paths, max_bytes, limit=ALL, **way)
    assert [file for file, *_ in found] == sorted(file for file, *_ in found)
    for number, path in enumerate(paths):
        mine = [ranges for file, *ranges in found if file == number]
        data = path.read_bytes()
        begins = [begin for begin, _ in split_records(data)][1:]
        # Exact cover, in order, without gap or overlap, from the first record to the end of the file.
        at, row = begins[0] if begins else len(data), 0
        for offset, length, first_row, rows in mine:
            assert (offset, first_row) == (at, row)
            assert length <= max_bytes or rows == 1
            assert rows == sum(offset <= begin < offset + length for begin in begins) >= 1
            at, row = offset + length, row + rows
        assert (at, row) == (len(data), len(begins))
        for one, other in itertools.pairwise(mine):
            assert one[1] + other[1] > max_bytes


@given(st.lists(texts, min_size=1, max_size=4), st.integers(1, 9), threads)
def test_threads_find_what_one_finds_in_files_of_any_size(tmp_path, contents, chunk_bytes, threads):
    # Long stretches without a quote, of quoted breaks, and of empty fields, in which a wrong guess never comes right.
    long = [text * 20 + '"' + "\n" * 99 + '",' + '"",' * 99 for text in contents]
    paths = [write(tmp_path, text.encode(), f"{number}.csv") for number, text in enumerate([*contents, *long])]
    alone = plan(paths, 100, threads=1)
    assert plan(paths, 100, limit=ALL, chunk_bytes=chunk_bytes * 7, threads=threads) == alone


@given(texts, sizes, chunks)
def test_without_multi_line_every_line_break_ends_a_record(tmp_path, text, max_bytes, chunk_bytes):
    path = write(tmp_path, text.encode())
    expected = twin_cut(as_bytes(text, twin_records(text, quote="")), max_bytes)
    for options in ({"multi_line": False}, {"quote": None}):
        found = plan([path], max_bytes, header=False, chunk_bytes=chunk_bytes, **options)
        assert [ranges for _, *ranges in found] == [list(ranges) for ranges in expected]


@given(st.one_of(texts, well_formed()), sizes)
def test_records_are_those_of_the_csv_module(tmp_path, text, max_bytes):
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    path = write(tmp_path, text.encode())
    found = plan([path], max_bytes, header=False)
    pieces = [read_range(path, offset, length).decode() for _, offset, length, *_ in found]
    counts = [len([row for row in csv.reader(io.StringIO(piece, newline="")) if row]) for piece in pieces]
    assert counts == [count for *_, count in found]
    reread = [row for piece in pieces for row in csv.reader(io.StringIO(piece, newline="")) if row]
    assert reread == rows


@given(well_formed(), sizes, st.booleans())
def test_records_are_those_of_pyarrow(tmp_path, text, max_bytes, marked):
    path = write(tmp_path, (MARK if marked else b"") + text.encode())
    width = len(next(row for row in csv.reader(io.StringIO(text, newline="")) if row))
    names = [f"c{number}" for number in range(width)]

    def count(source):
        table = pc.read_csv(
            source,
            read_options=pc.ReadOptions(column_names=names),
            parse_options=pc.ParseOptions(newlines_in_values=True),
            convert_options=pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
        return table.num_rows

    found = plan([path], max_bytes, header=False)
    assert sum(rows for *_, rows in found) == count(path)
    for _, offset, length, _, rows in found:
        assert count(pa.BufferReader(read_range(path, offset, length))) == rows


@given(
    st.lists(st.sampled_from(["{}", "[1]", " 1", " ", "\t", "\r", "\n", "\n", "\r\n", "1" * 70])).map("".join),
    sizes,
    ways,
)
def test_json_lines_end_at_line_feeds_and_blank_lines_are_none(tmp_path, text, max_bytes, way):
    path = write(tmp_path, text.encode(), "file.jsonl")
    lines = [line for line in text.split("\n") if line.strip(" \t\r")]
    found = plan([path], max_bytes, limit=ALL, format="jsonl", **way)
    data = path.read_bytes()
    pieces = [data[offset : offset + length] for _, offset, length, *_ in found]
    read = [piece[begin:end].decode() for piece in pieces for begin, end in split_records(piece, format="jsonl")]
    assert read == [line.removesuffix("\r") for line in lines]
    ends = [offset + length for _, offset, length, *_ in found]
    assert [offset for _, offset, *_ in found[1:]] == ends[:-1]
    assert ends[-1:] in ([], [len(data)])
    assert all(length <= max_bytes or rows == 1 for _, _, length, _, rows in found)
    assert all(one[2] + other[2] > max_bytes for one, other in itertools.pairwise(found))
    assert [first_row for *_, first_row, _ in found] == [sum(row[4] for row in found[:at]) for at in range(len(found))]


@given(texts, st.booleans())
def test_the_header_is_the_first_record_and_the_data_follow_it(tmp_path, text, marked):
    before = MARK if marked else b""
    path = write(tmp_path, before + text.encode())
    records = as_bytes(text, twin_records(text))
    header, begin = read_header(path)
    assert begin == len(before) + (records[1][0] if len(records) > 1 else len(text.encode()))
    first = text.encode()[slice(*records[0])] if records else b""
    assert first.startswith(header)
    assert first[len(header) :].strip(b"\r\n") == b""
    with_header, without = plan([path], 50), plan([path], 50, header=False)
    assert [row[1] for row in with_header[:1]] == [begin][: len(records) - 1 if records else 0]
    assert sum(row[4] for row in without) - sum(row[4] for row in with_header) == min(1, len(records))


@given(texts)
def test_split_records_are_trimmed_of_their_line_ends(text):
    data = text.encode()
    whole = as_bytes(text, twin_records(text))
    split = split_records(data)
    assert [begin for begin, _ in split] == [begin for begin, _ in whole]
    for (_, end), (_, after) in zip(split, whole, strict=True):
        assert data[end:after].strip(b"\r\n") == b""
    for (begin, end), _ in zip(split[:-1], whole, strict=False):
        assert not data[begin:end].endswith((b"\r", b"\n"))


def zstandard(data):
    return pa.compress(data, codec="zstd", asbytes=True)


COMPRESSIONS = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.bz2": bz2.compress, ".csv.zst": zstandard}
CODECS = {"utf8": "utf-8", "utf16": "utf-16", "utf32": "utf-32"}


@given(texts, st.sampled_from(list(COMPRESSIONS)), st.sampled_from(list(CODECS)), sizes, chunks)
def test_a_stream_has_the_mini_batches_of_its_plain_text(tmp_path, text, suffix, encoding, max_bytes, chunk_bytes):
    plain = write(tmp_path, text.encode())
    stored = write(tmp_path, COMPRESSIONS[suffix](text.encode(CODECS[encoding])), f"stored{suffix}")
    expected = plan([plain], max_bytes)
    found = plan([stored], max_bytes, encoding=encoding, chunk_bytes=chunk_bytes)
    assert found == expected
    assert is_stream(stored, encoding) == (suffix != ".csv" or encoding != "utf8")
    stream = TextStream(stored, encoding=encoding)
    for _, offset, length, *_ in found:
        assert stream.read_range(offset, length) == read_range(plain, offset, length)
        assert stream.position == offset + length
    assert read_header(stored, encoding=encoding) == read_header(plain)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_the_byte_order_mark_decides_the_order_and_is_no_data(tmp_path, codec):
    path = write(tmp_path, "\ufeffa,b\n1,é\n".encode(codec))
    encoding = codec.replace("-", "")[:5]
    assert read_header(path, encoding=encoding) == (b"a,b", 4)
    assert plan([path], 100, encoding=encoding) == [(0, 4, 5, 0, 1)]


def test_a_latin1_file_is_read_in_place(tmp_path):
    path = write(tmp_path, "n\né,1\nü,2\n".encode("latin-1"))
    assert plan([path], 4, encoding="latin1") == [(0, 2, 4, 0, 1), (0, 6, 4, 1, 1)]


@pytest.mark.parametrize("content", [b"", MARK, b"\n\r\n\n", b"header", b"header\n\n"])
def test_a_file_without_records_has_no_mini_batch(tmp_path, content):
    assert plan([write(tmp_path, content)], 10) == []


def test_files_damaged_or_changed_are_record_errors(tmp_path):
    whole = gzip.compress(b"a,b\n1,2\n" * 1000)
    with pytest.raises(RecordError, match=r"broken\.gz"):
        plan([write(tmp_path, whole[:-5], "broken.gz")], 100)
    half = write(tmp_path, b"a\0\n\0b\0\n")
    assert plan([half], 100, encoding="utf16") == [(0, 2, 2, 0, 1)]
    assert TextStream(half, encoding="utf16").read_range(2, 2) == b"b\xff"
    short = write(tmp_path, b"0123456789")
    assert read_range(short, 2, 8) == b"23456789"
    with pytest.raises(RecordError, match="shorter"):
        read_range(short, 2, 9)
    with pytest.raises(RecordError, match="shorter"):
        read_range(short, 1 << 60, 1 << 62)


def test_a_stream_does_not_go_back(tmp_path):
    stream = TextStream(write(tmp_path, gzip.compress(b"0123456789"), "file.gz"))
    assert stream.read_range(4, 2) == b"45"
    with pytest.raises(ConfigError, match="behind"):
        stream.read_range(5, 1)
    with pytest.raises(RecordError, match="too early"):
        stream.read_range(9, 2)


@pytest.mark.parametrize("threads", [1, 4])
def test_what_was_found_before_a_missing_file_is_not_lost(tmp_path, threads):
    there = write(tmp_path, b"a\n1\n2\n")
    text_plan = TextPlan([there, tmp_path / "missing.csv", there], max_bytes=2, threads=threads)
    assert len(text_plan.next_batch(9)) == 2
    with pytest.raises(FileNotFoundError, match=r"missing\.csv"):
        text_plan.next_batch(9)
    with pytest.raises(ConfigError, match="ended with an error"):
        text_plan.next_batch(9)


@pytest.mark.parametrize(
    "options",
    [
        {"delimiter": ",,"},
        {"delimiter": "é"},
        {"delimiter": "\n"},
        {"quote": ","},
        {"quote": ""},
        {"encoding": "utf7"},
        {"format": "xml"},
        {"max_bytes": 0},
        {"chunk_bytes": 0},
        {"threads": 0},
    ],
)
def test_options_that_cannot_be_used_are_config_errors(options):
    with pytest.raises(ConfigError):
        TextPlan([], **{"max_bytes": 1, **options})
