"""Records with too many or too few fields: found in one pass as they are one by one."""

import time

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reading import DELIMITED, Read

from batch_score import TabularDataset
from batch_score.dataset.salvage import salvage

cell = st.sampled_from(["1", "x", "", '"q"', '"a\nb"', '"a""b"', "é" * 60, "z" * 97, "z" * 101, 'a"b', '"open', "0x1"])
record = st.lists(cell, min_size=1, max_size=4).map(",".join)
broken = st.sampled_from([b"\xff,1", b"1,\xff,3"])


@given(
    records=st.lists(st.one_of(record.map(str.encode), broken), min_size=1, max_size=12),
    multi_line=st.booleans(),
    kind=st.sampled_from(["string", "int64"]),
)
def test_one_pass_finds_what_one_by_one_is_found(tmp_path_factory, records, multi_line, kind):
    path = tmp_path_factory.mktemp("ragged") / "t.csv"
    path.write_bytes(b"a,b\n1,2\n")
    dataset = TabularDataset.from_delimited_files(
        path, support_multi_line=multi_line, set_column_types={"a": kind, "b": "string"}
    )
    data = b"\n".join(records)
    records = [data[start:end] for start, end in dataset.format.split(data)]
    alone = dict(salvage(records, dataset.format.parse).bad)
    for position, message in dataset.format.ragged(records).items():
        assert alone[position] == message
    path.write_bytes(b"a,b\n" + data)
    read = Read(dataset)
    assert len(read.failed) + sum(map(len, read.frames)) == len(records)
    assert sorted(row for row, message in read.failed if "is empty" not in message) == sorted(alone)


def test_a_file_of_such_records_is_read_soon(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n" + "3\n" * 50_000)
    begun = time.process_time()
    read = Read(DELIMITED(path))
    assert (len(read.failed), read.column("b")) == (50_000, [2])
    assert time.process_time() - begun < 6  # seconds; one by one it takes 15
