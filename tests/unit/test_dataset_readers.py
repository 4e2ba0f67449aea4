"""Datasets on real files: from bytes to the DataFrame that `run()` gets, and to the items that cannot be read."""

import bz2
import gzip
import json
import os
from copy import copy

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reading import DELIMITED, JSONL, PARQUET, TEXT, Read, same_for_all_sizes

from batch_score.dataset.fields import Matrix
from batch_score.dataset.files import FileDataset
from batch_score.errors import ConfigError, InputError, RecordError
from batch_score.job.plan import plan


def test_types_are_settled_from_the_first_part(file):
    read = Read(DELIMITED(file("i,n,f,t,b,d,e\n1,2,1.5,x,true,2020-01-01,\n2,,2,y,false,2020-01-02,\n")))
    assert read.dtypes() == {("int64", "float64", "float64", TEXT, "bool", TEXT, TEXT)}
    assert read.column("n") == [2.0, None]
    assert read.column("e") == [None, None]


def test_the_index_is_the_row_in_the_file(file):
    read = Read(DELIMITED(file("a\n" + "".join(f"{n}\n" for n in range(100)))), 20)
    assert len(read.frames) > 1
    assert list(read.whole.index) == list(range(100)) == read.column("a")
    assert all(one.index.name == "row" for one in read.frames)


def test_a_bool_column_can_be_negated(file):
    """As objects, ~True would be -2."""
    flags = Read(DELIMITED(file("f\ntrue\nfalse\n"))).whole["f"]
    assert list(~flags) == [False, True]


def test_dtypes_are_equal_in_all_mini_batches(file):
    text = "n,f,b,s\n1.5,,,\n,2,true,\n" + "1,1,true,x\n" * 50 + ",,,\n" * 50
    for options in ({}, {"set_column_types": {"n": "float32", "b": "bool"}}, {"infer_column_types": False}):
        assert len(Read(DELIMITED(file(text), **options), 30).dtypes()) == 1


def test_a_declared_integer_stays_one_and_an_empty_field_does_not_fit(file):
    read = Read(DELIMITED(file("a,b\n1,x\n,y\n3,z\n"), set_column_types={"a": "int64"}), 4)
    assert read.dtypes() == {("int64", TEXT)}
    assert read.column("a") == [1, 3]
    assert read.failed == [
        (
            1,
            (
                "column 'a' is empty, which its settled type int64 cannot be; "
                "declare set_column_types a=float64 if the scorer takes empty fields"
            ),
        )
    ]


def test_a_record_of_another_length_that_is_no_text_does_not_decide_on_types(file):
    read = Read(DELIMITED(file(b"a,b\n1,x\n\xff,1,1\n3,z\n")))
    assert read.dtypes() == {("int64", TEXT)}
    assert [row for row, _ in read.failed] == [1]


def test_without_inference_all_is_text(file):
    read = Read(DELIMITED(file("a,b\n007,1.50\n"), infer_column_types=False))
    assert (read.column("a"), read.column("b")) == (["007"], ["1.50"])


def test_missing_numbers_and_missing_text(file):
    text = 'n,t\nNA,NA\n,\n1,""\nnan,null\n'
    read = Read(DELIMITED(file(text)))
    assert read.column("n") == [None, None, 1.0, None]
    assert read.column("t") == ["NA", None, None, "null"]
    assert Read(DELIMITED(file(text), empty_as_string=True)).column("t") == ["NA", "", "", "null"]


def test_a_declared_datetime(file):
    read = Read(DELIMITED(file("d\n2020-01-02\n2020-01-02 03:04:05\nsoon\n"), set_column_types={"d": "datetime"}))
    assert read.dtypes() == {("datetime64[ns]",)}
    assert [row for row, _ in read.failed] == [2]


def test_what_a_datetime_may_look_like_depends_on_the_kind_of_table(file):
    """As the guide says."""
    dates = ["2024-01-02", "2024-01-02 03:04", "2024-01-02T03:04:05.123456789", "2024-01-01T00:00:00+02:00", ""]
    text = Read(DELIMITED(file("n,d\n" + "".join(f"1,{date}\n" for date in dates)), set_column_types={"d": "datetime"}))
    json_lines = "\n".join([*(json.dumps({"d": date}) for date in dates), '{"d":null}', "{}"])
    lines = Read(JSONL(file(json_lines, "t.jsonl"), set_column_types={"d": "datetime"}))
    known = [*map(pd.Timestamp, dates[:3])]
    assert (text.column("d"), [row for row, _ in text.failed]) == ([*known, None], [3])
    assert lines.column("d") == [*known, pd.Timestamp("2023-12-31 22:00"), None, None]
    assert [row for row, _ in lines.failed] == [4]


def test_records_that_do_not_fit_are_failed_items_with_row_and_reason(file):
    rows = [f"{n},x{n}\n" for n in range(2000)]
    rows[3], rows[700], rows[1999] = "2.5,x\n", "7\n", "8,y,z\n"
    read = Read(DELIMITED(file("a,b\n" + "".join(rows)), set_column_types={"a": "int64"}), 1000)
    assert read.failed == [
        (3, "column 'a': CSV conversion error to int64: invalid value '2.5'"),
        (700, "1 field for 2 columns: 7"),
        (1999, "3 fields for 2 columns: 8,y,z"),
    ]
    assert list(read.whole.index) == read.column("a") == [n for n in range(2000) if n not in (3, 700, 1999)]


def test_a_float_after_the_sample_in_a_column_of_integers(file):
    count = 600_000
    read = Read(DELIMITED(file("a\n" + "1\n" * count + "2.5\n")), "1MB")
    assert read.dtypes() == {("int64",)}
    assert read.failed == [(count, "column 'a': CSV conversion error to int64: invalid value '2.5'")]
    assert sum(len(one) for one in read.frames) == count


def test_the_message_names_the_column_also_when_only_some_are_read(file):
    dataset = DELIMITED(file("a,b,c\n1,2,x\n1,q,x\n"), set_column_types={"b": "int64"}).select(("b",), {})
    read = Read(dataset)
    assert read.failed == [(1, "column 'b': CSV conversion error to int64: invalid value 'q'")]
    assert list(read.whole.columns) == ["b"]


@pytest.mark.parametrize(
    ("encoding", "bad"), [("utf8", b"\xe9"), ("utf8bom", b"\xe9"), ("ascii", b"\xc3\xa9"), ("windows1252", b"\x81")]
)
def test_text_in_another_encoding_is_a_failed_item(file, encoding, bad):
    read = Read(DELIMITED(file(b"a,b\n1,x\n2," + bad + b"\n3,z\n"), encoding=encoding))
    assert read.column("a") == [1, 3]
    assert read.dtypes() == {("int64", TEXT)}
    [(row, message)] = read.failed
    assert row == 1
    assert "UTF8" in message or encoding in message


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        ("utf8", "utf-8"),
        ("utf8", "utf-8-sig"),
        ("utf8bom", "utf-8-sig"),
        ("latin1", "latin-1"),
        ("iso88591", "latin-1"),
        ("windows1252", "cp1252"),
        ("utf16", "utf-16"),
        ("utf16", "utf-16-be"),
        ("utf32", "utf-32"),
    ],
)
@pytest.mark.parametrize("pack", ["", ".gz"])
def test_encodings(file, encoding, codec, pack):
    head = "\ufeff" if codec.endswith("be") else ""
    text = 'é,b\n1,"ü, ß\nÄ"\n2,ÿ\n'
    raw = (head + text).encode(codec)
    read = Read(DELIMITED(file(gzip.compress(raw) if pack else raw, "t.csv" + pack), encoding=encoding), 8)
    assert list(read.whole.columns) == ["é", "b"]
    assert read.column("b") == ["ü, ß\nÄ", "ÿ"]
    lines = "".join(json.dumps({"b": text}, ensure_ascii=False) + "\n" for text in ("ü", "ÿ"))
    raw = (head + lines).encode(codec)
    read = Read(JSONL(file(gzip.compress(raw) if pack else raw, "t.jsonl" + pack), encoding=encoding), 8)
    assert read.column("b") == ["ü", "ÿ"]


@pytest.mark.parametrize("order", [("plain", "packed"), ("packed", "plain")])
def test_packed_and_plain_files_of_one_dataset(file, order):
    raw = "a\né\n".encode("latin-1")
    paths = {"plain": file(raw, "p.csv"), "packed": file(gzip.compress(raw), "q.csv.gz")}
    assert Read(DELIMITED([paths[name] for name in order], encoding="latin1")).column("a") == ["é", "é"]


def zst(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".zst", zst)])
def test_compressed_files_are_read_in_order_by_one_worker(file, suffix, pack):
    text = "a,b\n" + "".join(f"{n},{n * 2}\n" for n in range(3000))
    read = Read(DELIMITED(file(pack(text.encode()), "t.csv" + suffix)), 5000)
    assert len(read.frames) > 3
    assert len({one.affinity for one in read.minibatches}) == 1
    assert read.column("b") == [2 * n for n in range(3000)]


def test_a_compressed_file_can_be_read_again_from_an_earlier_place(file):
    dataset = DELIMITED(file(gzip.compress(b"a\n" + b"1\n2\n3\n4\n" * 100), "t.csv.gz"))
    minibatches = [one for chunk in plan([dataset], 100) for one in chunk]
    reader = dataset.reader("/")
    later = reader.read(minibatches[3]).table
    assert reader.read(minibatches[0]).table.num_rows == minibatches[0].rows
    assert reader.read(minibatches[3]).table == later


def test_a_compressed_file_that_is_cut_short(file):
    dataset = DELIMITED(file(gzip.compress(b"a\n" + b"1\n" * 10000), "t.csv.gz"))
    [minibatch] = next(iter(plan([dataset], None)))
    file(gzip.compress(b"a\n1\n"), "t.csv.gz")
    with pytest.raises(RecordError, match=r"t\.csv\.gz"):
        dataset.reader("/").read(minibatch)


def test_a_file_that_changed_after_planning(file):
    dataset = DELIMITED(file("a\n11\n22\n"))
    [minibatch] = next(iter(plan([dataset], None)))
    file("a\n1\n2\n3\n")
    with pytest.raises(RecordError, match="3 records at byte 2 where the plan counted 2; the file changed"):
        dataset.reader("/").read(minibatch)


NAMES = st.sampled_from(["a", "b", "a.1", "a.2", "", "Unnamed: 1", " a", "é"])


@given(st.lists(NAMES, min_size=2, max_size=6))
def test_headers_are_named_as_pandas_names_them(tmp_path, names):
    (tmp_path / "h.csv").write_text(",".join(names) + "\n" + ",".join("1" for _ in names) + "\n", encoding="utf-8")
    wanted = list(pd.read_csv(tmp_path / "h.csv").columns)
    assert DELIMITED(tmp_path / "h.csv").schema.names == wanted


def test_without_a_header_columns_are_numbered(file):
    read = Read(DELIMITED(file("1,x\n2,y\n"), header=False))
    assert list(read.whole.columns) == ["Column1", "Column2"]
    assert read.column("Column1") == [1, 2]


def test_separators(file):
    assert Read(DELIMITED(file("a\tb\n1\tx,y\n", "t.tsv"))).column("b") == ["x,y"]
    assert Read(DELIMITED(file(gzip.compress(b"a\tb\n1\tx,y\n"), "t.tsv.gz"))).column("b") == ["x,y"]
    assert Read(DELIMITED(file("a;b\n1;x,y\n"), separator=";")).column("b") == ["x,y"]


def test_line_breaks_inside_quotes(file):
    text = 'a,b\n1,"x\n2,y"\n3,"p\r\nq"\n'
    assert Read(DELIMITED(file(text))).column("b") == ["x\n2,y", "p\r\nq"]


@pytest.mark.parametrize("size", [4, 8, 12, 1000])
def test_without_multi_line_every_line_break_ends_a_record(file, size):
    read = Read(DELIMITED(file('a,b\n1,"x\n2,y"\n3,z\n4,"w\n'), support_multi_line=False), size)
    assert read.column("a") == [1, 2, 3, 4]
    assert read.column("b") == ["x", 'y"', "z", "w"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_and_empty_lines(file, end):
    text = end.join(["", "a,b", "1,x", "", "2,y", "", ""])
    for one in (text, text.rstrip("\r\n")):
        read = Read(DELIMITED(file(one)), 5)
        assert (read.column("a"), list(read.whole.index)) == ([1, 2], [0, 1])


def test_the_path_column(file):
    path = file("a\n1\n2\nx\n")
    dataset = DELIMITED(path, include_path=True, set_column_types={"a": "int64"})
    assert dataset.schema.names == ["a", "Path"]
    assert Read(dataset).column("Path") == [str(path)] * 2
    with pytest.raises(ConfigError, match="column 'Path'"):
        DELIMITED(file("Path\n1\n"), include_path=True)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_columns_of_files_paths_and_keys_can_be_kept(tmp_path, form):
    path = tmp_path / "s" / "2024" / f"t.{form}"
    path.parent.mkdir(parents=True)
    table = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    if form == "parquet":
        table.to_parquet(path, index=False)
    else:
        path.write_text(table.to_csv(index=False) if form == "csv" else table.to_json(orient="records", lines=True))
    make = {"csv": DELIMITED, "jsonl": JSONL, "parquet": PARQUET}[form]
    dataset = make(str(path), include_path=True, partition_format="{store}/{year:yyyy}/{file}")
    assert dataset.schema.names == ["a", "b", "Path", "store", "year", "file"]
    for kept in (["b", "store"], ["a", "b"], ["a", "Path", "year", "file"], ["file", "Path", "b"]):
        found = dataset.keep(kept)
        wanted = [name for name in dataset.schema.names if name in kept]
        assert list(Read(found).whole.columns) == found.schema.names == wanted
        (group,) = next(found.grouped(["store"]).plan(None, dataset=0, first_index=0))
        assert group.partition == (("store", "s"),)
        assert list(copy(found.reader("/")).read(group).table.column_names) == wanted
    assert found.keep(["b"]).keep(["b"]).schema.names == ["b"]
    with pytest.raises(ConfigError, match="there is no column 'store'; the columns are b, Path, file"):
        found.keep(["store"])
    with pytest.raises(ConfigError, match="of the columns of the files none is left, only Path, store; keep one of a"):
        dataset.keep(["Path", "store"])


def test_a_header_without_rows_is_nothing_to_score(file):
    with pytest.raises(InputError, match="a header but no records"):
        DELIMITED(file("a,b\n"))


def test_types_come_from_the_first_file_that_has_records(file):
    paths = [file("a,b\n", "1.csv"), file("", "2.csv"), file("a,b\n1,x\n", "3.csv")]
    assert Read(DELIMITED(paths)).dtypes() == {("int64", TEXT)}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ("a\n1\n", "does not have the column 'b'"),
        ("a,b,c\n1,2,3\n", "has the column 'c'"),
        ("b,a\n1,2\n", "in the same order"),
    ],
)
def test_files_with_different_headers(file, other, message):
    with pytest.raises(InputError, match=rf"2\.csv: .*{message}.*1\.csv"):
        DELIMITED([file("a,b\n1,2\n", "1.csv"), file(other, "2.csv")])


def test_inputs_that_cannot_be_used(file, tmp_path):
    with pytest.raises(InputError, match="no records"):
        DELIMITED(file(""))
    with pytest.raises(InputError, match=r"gone\.csv"):
        DELIMITED(tmp_path / "gone.csv")
    with pytest.raises(InputError, match="not utf8 text"):
        DELIMITED(file(b"\xe9,b\n1,2\n"))
    with pytest.raises(ConfigError, match="names column 'z'"):
        DELIMITED(file("a\n1\n"), set_column_types={"z": "int64"})
    with pytest.raises(ConfigError, match="did you mean 'separator'"):
        DELIMITED(file("a\n1\n"), seperator=";")


@pytest.mark.parametrize("opened", [DELIMITED, JSONL, PARQUET, FileDataset.from_files])
@pytest.mark.parametrize("path", [[], "t.csv/x", "x" * 300, "x" * 300 + "/*.csv"])
def test_inputs_that_are_none(file, tmp_path, opened, path):
    file("a\n1\n")
    with pytest.raises(InputError, match=r"is empty|no such file|matches no file"):
        opened(path if isinstance(path, list) else tmp_path / path)


@pytest.mark.parametrize("separator", ["\0", "\n", '"', "é", "", "ab"])
def test_separators_that_are_none(file, separator):
    with pytest.raises(ConfigError, match=r"separator|delimiter"):
        DELIMITED(file("a,b\n1,2\n"), separator=separator)


@pytest.mark.parametrize("count", [1, 3, 10, 25])
@pytest.mark.parametrize("size", [1, 3, 10, "4"])
def test_files_are_counted_off_in_sorted_order(tmp_path, count, size):
    for number in reversed(range(count)):
        (tmp_path / f"{number:03}.bin").touch()
    dataset = FileDataset.from_files(tmp_path)
    minibatches = [one for chunk in plan([dataset], size) for one in chunk]
    names = [path for one in minibatches for path in one.files]
    assert names == [str(tmp_path / f"{number:03}.bin") for number in range(count)]
    assert [len(one.files) for one in minibatches[:-1]] == [int(size)] * (len(minibatches) - 1)
    assert [one.index for one in minibatches] == list(range(len(minibatches)))
    assert [one.first_row for one in minibatches] == list(range(0, count, int(size)))


def test_a_reader_of_files_gives_absolute_paths(tmp_path, monkeypatch):
    (tmp_path / "a.bin").touch()
    monkeypatch.chdir(tmp_path)
    dataset = FileDataset.from_files("a.bin")
    [minibatch] = next(iter(plan([dataset], None)))
    batch = dataset.reader(str(tmp_path)).read(minibatch)
    assert (batch.files, batch.items) == ((str(tmp_path / "a.bin"),), 1)


def test_indices_run_through_all_inputs(file):
    first, second = DELIMITED(file("a\n1\n2\n3\n", "1.csv")), DELIMITED(file("a\n4\n5\n", "2.csv"))
    found = [(one.index, one.dataset, one.first_row) for chunk in plan([first, second], 2) for one in chunk]
    assert found == [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 1, 0), (4, 1, 1)]


def test_a_byte_order_mark_inside_a_file_is_part_of_its_field(file):
    rows, failed = same_for_all_sizes(DELIMITED(file('\ufeffa\n\ufeffx\n\ufeff"y"\n')))
    assert [row["a"] for row in rows.values()] == ["\ufeffx", '\ufeff"y"']
    assert failed == []


@pytest.mark.parametrize(("encoding", "codec"), [("latin1", "latin-1"), ("windows1252", "cp1252")])
def test_long_records_that_grow_in_utf8_are_read(file, encoding, codec):
    text = ("é" if encoding == "latin1" else "€") * 500
    rows, failed = same_for_all_sizes(DELIMITED(file(f"a\n{text}\n{text}\n".encode(codec)), encoding=encoding))
    assert [row["a"] for row in rows.values()] == [text, text]
    assert failed == []


def test_a_first_record_may_have_a_very_long_field(file):
    rows, _ = same_for_all_sizes(DELIMITED(file("x" * 200_000 + ",1\ny,2\n"), header=False))
    assert [len(row["Column1"]) for row in rows.values()] == [200_000, 1]


def test_a_quote_left_open_ends_with_the_file_whatever_else_is_wrong(file):
    rows, _ = same_for_all_sizes(DELIMITED(file('a,b\n1,x\n2,x,y\n3,"open\nquote')))
    assert rows[2] == {"a": 3, "b": "open\nquote"}


def test_hexadecimal_text_and_digits_among_flags_stay_text(file):
    read = Read(DELIMITED(file("h,f,n\n0x10,true,1\n0x1f,1,2\n")))
    assert read.column("h") == ["0x10", "0x1f"]
    assert read.column("f") == ["true", "1"]
    assert read.column("n") == [1, 2]


@pytest.mark.parametrize("text", ["0x10", "0XfF", '"0x1"', "0x"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.int8(), pa.uint8(), pa.int32()])
def test_hexadecimal_text_is_no_integer_behind_the_first_part_either(file, kind, text):
    path = file(f"id,s,f\n1,0x1,1.5\n{text},0x2,1.5\n3,0X3,1.5\n")
    dataset = DELIMITED(path, set_column_types={"id": "int64"}).select(("id", "s", "f"), {"id": kind})
    rows, failed = same_for_all_sizes(dataset)
    assert {row: (values["id"], values["s"]) for row, values in rows.items()} == {0: (1, "0x1"), 2: (3, "0X3")}
    value = text.strip('"')
    assert failed == [(1, f"column 'id': CSV conversion error to {kind}: invalid value '{value}'")]


@pytest.mark.parametrize("encoding", ["utf16", "utf32"])
def test_what_is_no_text_in_a_wide_encoding_fails_its_record(file, encoding):
    codec, lone = encoding[:3] + "-" + encoding[3:] + "-le", {"utf16": b"\x00\xd8", "utf32": b"\x00\xd8\x00\x00"}
    parts = [part.encode(codec) for part in ("a,b\n1,x\n2,p", "q\n3,z\n", '{"a":1}\n{"a":2,"b":"', '"}\n')]
    rows, failed = same_for_all_sizes(DELIMITED(file(parts[0] + lone[encoding] + parts[1]), encoding=encoding))
    assert [row["a"] for row in rows.values()] == [1, 3]
    assert [row for row, _ in failed] == [1]
    lines = file(parts[2] + lone[encoding] + parts[3] + parts[2][:-1], "t.jsonl")
    rows, failed = same_for_all_sizes(JSONL(lines, encoding=encoding))
    assert (list(rows), [row for row, _ in failed]) == ([0, 2], [1, 3])


def test_zeros_behind_a_compressed_file_are_no_data(file):
    padded = gzip.compress(b"a\n1\n2\n") + bytes(1000)
    assert Read(DELIMITED(file(padded, "t.csv.gz"))).column("a") == [1, 2]


@pytest.mark.parametrize("encoding", ["latin1", "windows1252"])
def test_the_bytes_of_a_mark_are_text_in_other_encodings(file, encoding):
    rows, failed = same_for_all_sizes(DELIMITED(file(b"a\n\xef\xbb\xbfx\n\xef\xbb\xbfy\n", "t.csv"), encoding=encoding))
    assert ([row["a"] for row in rows.values()], failed) == (["\u00ef\u00bb\u00bfx", "\u00ef\u00bb\u00bfy"], [])


def test_a_stream_is_opened_anew_after_a_failure(file):
    whole = gzip.compress(b"a\n" + b"".join(b"%d\n" % number for number in range(50_000)), 0)
    path = file(whole, "t.csv.gz")
    dataset = DELIMITED(path)
    first, second, *_ = [one for chunk in plan([dataset], "100KB") for one in chunk]
    reader = dataset.reader("/")
    reader.read(first)
    path.write_bytes(whole[:70_000])
    broken = dataset.reader("/")
    with pytest.raises(RecordError):
        broken.read(second)
    path.write_bytes(whole)
    assert broken.read(second).table["a"].to_pylist() == reader.read(second).table["a"].to_pylist()


@pytest.mark.parametrize(
    ("read", "name", "content"),
    [
        (DELIMITED, "t.csv", "a,f\n1.5,true\n-2,false\n"),
        (JSONL, "t.jsonl", '{"a":1.5,"f":true}\n{"a":-2,"f":false}\n'),
    ],
)
def test_text_can_serve_models_of_half_floats_and_take_flags_for_numbers(file, read, name, content):
    dataset = read(file(content, name)).select(["a", "f"], {"a": pa.float16(), "f": pa.float32()})
    rows, failed = same_for_all_sizes(dataset)
    assert rows == {0: {"a": 1.5, "f": True}, 1: {"a": -2.0, "f": False}}
    assert failed == []


def test_a_name_that_is_not_utf8_can_be_scored(file, tmp_path):
    path = file("a\n1\n", os.fsdecode(b"\xe9.csv"))
    read = Read(DELIMITED(path, include_path=True))
    assert read.column("Path") == [f"{tmp_path}/\\xe9.csv"]


@pytest.mark.parametrize("content", [b"junk", gzip.compress(b"a\n1\n")[:-9], gzip.compress(b"a\n1\n") + b"junk"])
def test_a_first_part_that_cannot_be_decompressed_is_an_error_of_the_input(file, content):
    with pytest.raises(InputError, match=r"t\.csv\.gz"):
        DELIMITED(file(content, "t.csv.gz"))


FEATURES = Matrix("x", "float32", ("b", "a"))


def test_features_are_read_side_by_side_and_parts_of_them_are_not_copied(file):
    """What a model takes is in no table; the keys are."""
    rows = [(number, number / 4, -number) for number in range(50)]
    text = "id,a,b\n" + "".join(f"{number},{a},{b}\n" for number, a, b in rows)
    dataset = DELIMITED(file(text)).select(("id", "a", "b"), dict.fromkeys("ab", pa.float32()), [FEATURES])
    minibatch, batch = first(dataset)
    assert batch.table.column_names == ["id"]
    assert batch.tensors["x"].tolist() == [[b, a] for _, a, b in rows]
    part = batch.part(minibatch, 10, 13)
    assert (part.items, part.table["id"].to_pylist()) == (3, [10, 11, 12])
    assert part.tensors["x"].base is batch.tensors["x"]
    assert part.tensors["x"].tolist() == [[b, a] for _, a, b in rows[10:13]]
    assert batch.describe([49], ["id"])[0].key == {"id": 49}
    assert batch.describe([49], ["id"])[0].record == "49,12.25,-49"


def test_a_table_of_features_alone_can_have_its_path(file):
    path = file("a,b\n1,2\n3,4\n")
    dataset = DELIMITED(path, include_path=True).select(("a", "b"), dict.fromkeys("ab", pa.float32()), [FEATURES])
    _, batch = first(dataset)
    assert (batch.items, batch.table.to_pydict()) == (2, {"Path": [str(path)] * 2})


def test_one_unusual_field_makes_a_table_of_the_whole_mini_batch(file):
    dataset = DELIMITED(file("a,b\n1,2\n3,inf\n")).select(("a", "b"), dict.fromkeys("ab", pa.float32()), [FEATURES])
    _, batch = first(dataset)
    assert (batch.tensors, batch.table.to_pydict()) == (None, {"a": [1.0, 3.0], "b": [2.0, float("inf")]})


def first(dataset):
    """The first mini-batch, and what a worker reads of it."""
    [[minibatch]] = list(plan([dataset], None))
    return minibatch, dataset.reader("/").read(minibatch)
