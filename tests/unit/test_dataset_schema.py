"""Column types: settled once, declared ones win, and what does not fit is said in one sentence."""

import pyarrow as pa
import pytest

from batch_score.dataset.delimited import unique_names
from batch_score.dataset.schema import TYPES, declared_field, named_type, nullable, seen, settle, unfit
from batch_score.errors import ConfigError


def settled(values, declared=None, kind=None):
    return settle(seen(pa.table({"c": pa.array(values, kind)})), declared).field("c")


@pytest.mark.parametrize(
    ("values", "kind", "wanted", "empty"),
    [
        ([1, 2], pa.int64(), pa.int64(), False),
        ([1, None], pa.int64(), pa.float64(), True),
        ([1, 2], pa.int32(), pa.int64(), False),
        ([1.5, 2], pa.float64(), pa.float64(), True),
        ([True, False], pa.bool_(), pa.bool_(), False),
        ([True, None], pa.bool_(), pa.bool_(), True),
        (["a", None], pa.string(), pa.string(), True),
        ([None, None], pa.null(), pa.string(), True),
        ([1, 2], pa.date32(), pa.string(), True),
        ([1, 2], pa.timestamp("s"), pa.string(), True),
        ([[1], None], pa.list_(pa.int64()), pa.list_(pa.int64()), True),
    ],
)
def test_what_a_sample_settles(values, kind, wanted, empty):
    found = settled(values, kind=kind)
    assert (found.type, found.nullable) == (wanted, empty)


@pytest.mark.parametrize("name", TYPES)
def test_a_declared_type_wins(name):
    assert settled(["x", None], {"c": name}).type == TYPES[name]
    assert named_type(name.upper()) == TYPES[name]


@pytest.mark.parametrize(("name", "empty"), [("int64", False), ("int32", False), ("float32", True), ("bool", True)])
def test_a_declared_integer_is_never_empty(name, empty):
    assert declared_field("c", name).nullable == empty


@pytest.mark.parametrize(
    ("declared", "message"),
    [({"d": "int64"}, "'d', which the input does not have; the columns are c"), ({"c": "uuid"}, "unknown type 'uuid'")],
)
def test_unknown_declarations(declared, message):
    with pytest.raises(ConfigError, match=message):
        settled([1], declared)


def test_columns_keep_their_order():
    assert settle(seen(pa.table({"b": [1], "a": ["x"]})), {"a": "string"}).names == ["b", "a"]


SCHEMA = pa.schema(
    [pa.field("i", pa.int64(), nullable=False), pa.field("b", pa.bool_(), nullable=False), ("s", pa.string())]
)


def test_rows_that_are_empty_where_they_must_not_be():
    table = pa.table({"i": [1, None, 3, None], "b": [True, None, None, True], "s": [None] * 4}, nullable(SCHEMA))
    found = unfit(table, SCHEMA)
    assert sorted(found) == [1, 2, 3]
    assert "'i' is empty" in found[1]
    assert "set_column_types i=float64" in found[3]
    assert "'b' is empty" in found[2]


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (pa.int8(), "set_column_types c=float64"),
        (pa.bool_(), "set_column_types c=bool"),
        (pa.string(), "--empty-as-string"),
    ],
)
def test_the_advice_for_an_empty_field_helps(kind, advice):
    schema = pa.schema([pa.field("c", kind, nullable=False)])
    assert advice in unfit(pa.table({"c": [None]}, nullable(schema)), schema)[0]


def test_rows_in_several_chunks():
    part = pa.table({"i": [1, None]})
    assert sorted(unfit(pa.concat_tables([part, part]), SCHEMA)) == [1, 3]


def test_no_such_rows():
    assert unfit(pa.table({"i": [1], "b": [True], "s": [None]}), SCHEMA) == {}
    assert all(field.nullable for field in nullable(SCHEMA))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (["a", "b"], ("a", "b")),
        (["a", "a", "a"], ("a", "a.1", "a.2")),
        (["", "a", ""], ("Unnamed: 0", "a", "Unnamed: 2")),
        (["a", "a", "a.1"], ("a", "a.2", "a.1")),
        (["a.1", "a", "a"], ("a.1", "a", "a.2")),
        ([" a", "a"], (" a", "a")),
    ],
)
def test_names_as_pandas_has_them(fields, names):
    assert unique_names(fields) == names
