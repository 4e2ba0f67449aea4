"""Whatever type a column has in a file, it can be filtered and handed to pandas, or is refused before the start."""

import itertools

import pyarrow as pa
import pytest
from tests.unit.reading import PARQUET, Read

from batch_score.dataset.convertible import convertible
from batch_score.errors import InputError

PLAIN = [
    *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float16(), pa.string(), pa.large_string(), pa.large_binary()),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.timestamp("us", "UTC"), pa.duration("s")),
    *(pa.decimal128(5, 2), pa.decimal256(50, 2), pa.dictionary(pa.int8(), pa.string())),
]
ODD = [pa.string_view(), pa.binary_view(), pa.binary(3), pa.decimal32(5, 2), pa.decimal64(5, 2), pa.uuid(), pa.bool8()]
OUTER = {
    "itself": lambda kind: kind,
    "list": pa.list_,
    "large": pa.large_list,
    "fixed": lambda kind: pa.list_(kind, 2),
    "struct": lambda kind: pa.struct([("x", kind)]),
    "map": lambda kind: pa.map_(pa.string(), kind),
    "list in struct": lambda kind: pa.struct([("x", pa.list_(kind))]),
}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("kind", PLAIN + ODD, ids=str)
def test_every_type_is_filtered_and_handed_to_pandas(kind, outer):
    given = OUTER[outer](kind)
    found = convertible(given)
    assert found == given or kind in ODD
    column = pa.chunked_array([pa.nulls(2, given)])
    table = pa.table({"c": column if found == given else column.cast(found)})
    table.validate(full=True)
    for mask in itertools.product([True, False], repeat=2):
        assert len(table.filter(pa.array(mask)).to_pandas(integer_object_nulls=True)) == sum(mask)


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["x", None, "y" * 20], pa.string_view()),
        pa.array([["x"], None, [None]], pa.list_(pa.string_view())),
        pa.array([{"a": ["x"]}, None, {"a": None}], pa.struct([("a", pa.list_(pa.string_view()))])),
        pa.array([[b"x"], None, []], pa.list_(pa.binary(1))),
        pa.array([[[None, None]], [], [[None], []]], pa.list_(pa.list_(pa.null()))),
    ],
    ids=lambda column: str(column.type),
)
def test_values_of_views_are_those_of_the_file(column, parquet):
    read = Read(PARQUET(parquet(pa.table({"c": column, "n": [1, 2, 3]}), row_group_size=2)), 1)
    assert len(read.frames) == 3
    values = [row for batch in read.batches for row in batch.table["c"].to_pylist()]
    assert values == column.to_pylist()
    assert read.failed == []


@pytest.mark.parametrize(
    "kind", [pa.list_view(pa.int64()), pa.struct([("a", pa.large_list_view(pa.string()))])], ids=str
)
def test_list_views_are_refused_before_the_start(kind, parquet):
    """For an empty one, pandas gets the process ended."""
    path = parquet(pa.table({"n": [1, 2], "c": pa.nulls(2, kind)}))
    with pytest.raises(InputError, match=f"{path}: column 'c' is .*list_view<.* which cannot be handed to run"):
        PARQUET(path)
