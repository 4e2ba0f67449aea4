"""Text straight into arrays, against Arrow's parser on the same text."""

import math

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch_score import TabularDataset, _native
from batch_score.dataset.fields import FieldTable, Matrix

SPELLINGS = [
    *("", "NA", "null", "nan", "NaN", "inf", "-inf", "+1", " 7", "7 ", ".5", "5.", ".", "-", "1e3", "1E-7", "0x1F"),
    *("007", "-0", "1e400", "123456789012345678", "9223372036854775808", '"1.5"', '""', "1_0", "x", "1.2.3", "é"),
]

number = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(-(10**7), 10**7, places=4).map(str),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-999, 999).map(str),
)
text = st.text(st.characters(codec="utf-8", exclude_characters='"\r\n,'), max_size=12)
quoted = st.text(st.sampled_from('a",\r\né'), max_size=8).map(lambda one: '"' + one.replace('"', '""') + '"')
field = st.one_of(number, st.sampled_from(SPELLINGS))
row = st.tuples(field, number, st.one_of(text, quoted), number, st.one_of(number, st.sampled_from(["", "NA"])))
NAMES = ("id", "a", "word", "b", "c")
TYPES = [pa.field("id", pa.int64(), nullable=False), pa.field("a", pa.float64()), pa.field("word", pa.string())]
TYPES += [pa.field("b", pa.float32()), pa.field("c", pa.float32(), nullable=False)]


def opened(folder):
    """A dataset whose columns have the types above, whatever is in its file."""
    path = folder / "rows.csv"
    path.write_text(",".join(NAMES) + "\n1,1.5,x,1.5,1.5\n")
    dataset = TabularDataset.from_delimited_files(str(path))
    return dataset.select(NAMES, {}).format.__class__(**{**vars(dataset.format), "schema": pa.schema(TYPES)})


@given(rows=st.lists(row, min_size=1, max_size=30), end=st.sampled_from(["\n", "\r\n", "\n\n"]), last=st.booleans())
def test_what_is_read_straight_is_what_arrow_reads(tmp_path_factory, rows, end, last):
    text_format = opened(tmp_path_factory.mktemp("fields"))
    lines = [",".join(fields) for fields in rows]
    data = (end.join(lines) + (end if last else "")).encode()
    fields = FieldTable.of(text_format, [Matrix("x", "float32", ("c", "b"))])
    try:
        table, tensors = fields.read(data, len(rows))
    except _native.Misfit:
        return  # Arrow decides
    wanted = text_format.parse(data)
    assert wanted.num_rows == len(rows)
    for name in ("id", "a", "word"):
        assert table[name].to_pylist() == wanted[name].to_pylist() or same_floats(table[name], wanted[name])
    assert wanted["c"].null_count == 0
    assert wanted["id"].null_count == 0
    for place, name in enumerate(("c", "b")):
        expected = wanted[name].to_numpy().astype(np.float32)
        assert np.array_equal(tensors["x"][:, place].view(np.int32)[~np.isnan(expected)], bits(expected))
        assert np.array_equal(np.isnan(tensors["x"][:, place]), np.isnan(expected))


def bits(values):
    return values[~np.isnan(values)].view(np.int32)


def same_floats(found, wanted):
    pairs = zip(found.to_pylist(), wanted.to_pylist(), strict=True)
    return all(one == two or (one is not None and math.isnan(one) and math.isnan(two)) for one, two in pairs)


plain = st.one_of(st.decimals(-(10**7), 10**7, places=4).map(str), st.floats(-1e9, 1e9).map(repr))


@given(rows=st.lists(st.tuples(st.integers(0, 10**12).map(str), plain, text, plain, plain), min_size=1, max_size=300))
def test_ordinary_rows_are_read_straight(tmp_path_factory, rows):
    """The twin above may refuse; of what files mostly hold it must not."""
    text_format = opened(tmp_path_factory.mktemp("fields"))
    data = "".join(",".join(fields) + "\n" for fields in rows).encode()
    table, tensors = FieldTable.of(text_format, [Matrix("x", "float32", ("b", "c"))]).read(data, len(rows))
    assert table["a"].to_pylist() == [float(fields[1]) for fields in rows]
    assert table["word"].to_pylist() == [fields[2] or None for fields in rows]
    assert tensors["x"].shape == (len(rows), 2)
