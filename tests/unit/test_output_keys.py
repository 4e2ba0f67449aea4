import numpy as np
import pyarrow as pa
import pytest

from batch_score.dataset.frame import frame
from batch_score.errors import ConfigError, ReturnTypeError
from batch_score.output.keys import attach, check_key, file_keys, parse_key, tabular_keys
from batch_score.output.returned import accept
from batch_score.output.tabulate import tabulate

ROWS = pa.table({"id": ["a", "b", "c"], "x": [1.0, 2.0, 3.0]})
KEYS = tabular_keys("auto", "in.csv", np.array([5, 6, 8]), ROWS)


def attached(table, positions=None, keys=KEYS):
    where = None if positions is None else np.array(positions)
    return attach(table, keys, where, table.num_rows).to_pydict()


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("id", ("id",)),
        ("id, date", ("id", "date")),
        (["auto"], ("auto",)),
        (("a,b", "c"), ("a,b", "c")),
    ],
)
def test_the_key_option_is_read(value, key):
    assert parse_key(value) == key


@pytest.mark.parametrize("value", ["", "a,,b", "a,a", [], [""]])
def test_an_unusable_key_is_refused(value):
    with pytest.raises(ConfigError, match="give auto, none, or the names of different input columns"):
        parse_key(value)


def test_rows_are_keyed_by_file_and_ordinal():
    assert KEYS.to_pydict() == {"source": ["in.csv"] * 3, "row": [5, 6, 8]}
    assert tabular_keys("none", "in.csv", np.array([5]), ROWS) is None


def test_rows_are_keyed_by_columns_of_the_input():
    assert tabular_keys(("id",), "in.csv", np.arange(3), ROWS).to_pydict() == {"id": ["a", "b", "c"]}


def test_an_unknown_key_column_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"column 'idd', which the input does not have; did you mean 'id'\?"):
        check_key(("x", "idd"), ROWS.schema)
    with pytest.raises(ConfigError, match="its columns are id, x"):
        check_key(("zebra",), ROWS.schema)


@pytest.mark.parametrize(
    ("key", "schema"), [("auto", None), ("none", None), ("auto", ROWS.schema), (("x", "id"), ROWS.schema)]
)
def test_a_key_that_is_there_is_taken(key, schema):
    check_key(key, schema)


def test_files_are_keyed_by_their_path():
    assert file_keys("auto", ["a.png", "b.png"]).to_pydict() == {"source": ["a.png", "b.png"]}
    assert file_keys("none", ["a.png"]) is None
    with pytest.raises(ConfigError, match="key id names input columns, but files have none"):
        check_key(("id",), None)


def test_a_path_that_is_not_utf8_is_shown_with_escapes():
    path = b"caf\xe9.png".decode(errors="surrogateescape")
    assert file_keys("auto", [path]).to_pydict() == {"source": ["caf\\xe9.png"]}
    assert tabular_keys("auto", path, np.arange(1), ROWS).to_pydict()["source"] == ["caf\\xe9.png"]


def test_keys_stand_first_and_follow_the_positions():
    assert attached(pa.table({"p": [1, 2, 3]}), [2, 2, 0]) == {
        "source": ["in.csv"] * 3,
        "row": [8, 8, 5],
        "p": [1, 2, 3],
    }
    assert list(attached(pa.table({"p": [1, 2, 3]}), [0, 1, 2])) == ["source", "row", "p"]


def test_without_alignment_only_a_key_common_to_all_items_is_known():
    assert attached(pa.table({"p": [1, 2]})) == {"source": ["in.csv"] * 2, "row": [None, None], "p": [1, 2]}
    files = file_keys("auto", ["a.png", "b.png"])
    assert attached(pa.table({"p": [1]}), keys=files) == {"source": [None], "p": [1]}


def test_without_alignment_a_returned_key_column_is_the_key():
    assert attached(pa.table({"p": [1, 2], "row": [8, 5]})) == {"source": ["in.csv"] * 2, "row": [8, 5], "p": [1, 2]}


def test_a_returned_copy_of_a_key_is_written_once():
    table = pa.table({"p": [1, 2, 3], "row": pa.array([5, 6, 8], pa.int32()), "source": ["in.csv"] * 3})
    assert list(attached(table, [0, 1, 2])) == ["source", "row", "p"]


NAN = float("nan")
MAP = pa.map_(pa.string(), pa.float64())


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1.0, NAN, None]),
        pa.array([1.0, NAN, None], pa.float32()),
        pa.array([{"x": 1.0, "t": "a"}, {"x": NAN, "t": None}, None]),
        pa.array([[1.0, NAN], [], None]),
        pa.array([[("a", 1.0)], [("b", None)], None], MAP),
        pa.array([[("a", "b")], [], None], pa.map_(pa.string(), pa.string())),
    ],
)
def test_a_copy_of_a_key_that_came_through_pandas_is_the_key(column):
    table = pa.table({"k": column})
    copied = frame(table)[["k"]]
    assert str(attached(tabulate(accept(copied)), [0, 1, 2], table)) == str(table.to_pydict())
    with pytest.raises(ReturnTypeError, match=r"'k' whose values differ"):
        attached(tabulate(accept(copied)), [1, 0, 2], table)


@pytest.mark.parametrize("column", [[5, 6, 7], ["five", "six", "eight"]])
def test_another_column_of_the_name_of_a_key_is_refused(column):
    with pytest.raises(ReturnTypeError, match=r"'row' whose values differ"):
        attached(pa.table({"row": column}), [0, 1, 2])


def test_records_without_any_column_are_refused_unless_a_key_makes_them():
    with pytest.raises(ReturnTypeError, match="without any column"):
        attach(pa.table({}), None, None, 3)
    assert attach(pa.table({}), KEYS, np.array([1, 2]), 2).to_pydict() == {"source": ["in.csv"] * 2, "row": [6, 8]}
