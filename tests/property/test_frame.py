"""Frames made the short way, against those that Arrow makes."""

import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch_score.dataset.frame import Frames, frame

VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.string(): st.text(max_size=3),
    pa.bool_(): st.booleans(),
    pa.timestamp("ms"): st.integers(0, 10**12),
}


@st.composite
def tables(draw):
    """Up to four tables of one schema, some in several chunks."""
    kinds = draw(st.lists(st.sampled_from(list(VALUES)), min_size=1, max_size=5))
    schema = pa.schema([(f"c{place}", kind) for place, kind in enumerate(kinds)])

    def chunk():
        rows = draw(st.integers(0, 4))
        values = [draw(st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)) for kind in kinds]
        columns = [pa.array(column, kind) for column, kind in zip(values, kinds, strict=True)]
        return pa.RecordBatch.from_arrays(columns, schema=schema)

    return [
        pa.Table.from_batches([chunk() for _ in range(draw(st.integers(1, 2)))], schema=schema)
        for _ in range(draw(st.integers(1, 4)))
    ]


@given(tables())
def test_a_frame_is_what_arrow_makes_of_the_table(made):
    frames = Frames()
    for table in made:
        ours, theirs = frames.make(table), frame(table)
        assert list(ours.index) == list(range(table.num_rows))
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_column_type=True, check_index_type=True)
        assert ours.dtypes.tolist() == theirs.dtypes.tolist()


def test_a_script_may_write_to_its_frame():
    table = pa.table({"a": [1, 2], "b": [0.5, None], "c": ["x", None]})
    frames = Frames()
    first = frames.make(table)
    first["a"] += 1
    first.loc[0, "b"] = 7.0
    first.loc[1, "c"] = "y"
    first.columns.name = "mine"
    first.index.name = "mine"
    first["d"] = 1
    assert table.to_pydict() == {"a": [1, 2], "b": [0.5, None], "c": ["x", None]}
    second = frames.make(table)
    pd.testing.assert_frame_equal(second, frame(table))
    assert (second.columns.name, second.index.name) == (None, "row")
