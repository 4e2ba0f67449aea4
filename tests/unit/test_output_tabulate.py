import datetime as dt
import decimal
import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.errors import ReturnTypeError
from batch_score.output.returned import accept
from batch_score.output.tabulate import tabulate

IDS = [uuid.UUID(int=2**127), uuid.UUID(int=2**127 + 1)]


def columns(value):
    return tabulate(accept(value)).to_pydict()


def kinds(value):
    return [str(field.type) for field in tabulate(accept(value)).schema]


def test_a_frame_keeps_its_columns_and_loses_its_index():
    value = pd.DataFrame({"a": [1, 2], 7: ["x", None], ("b", 1): [0.5, np.nan]}, index=[5, 6])
    assert columns(value) == {"a": [1, 2], "7": ["x", None], "('b', 1)": [0.5, None]}
    assert tabulate(accept(value)).schema.metadata is None


def test_a_frame_column_of_mixed_types_becomes_text():
    assert columns(pd.DataFrame({"m": [1, "a", None], "n": [1, 2, 3]})) == {"m": ["1", "a", None], "n": [1, 2, 3]}


def test_periods_intervals_and_sparse_columns_become_readable():
    value = pd.DataFrame(
        {
            "p": pd.period_range("2024-01", periods=2, freq="M"),
            "i": pd.interval_range(0, 2),
            "s": pd.arrays.SparseArray([0, 1]),
        }
    )
    assert columns(value) == {"p": ["2024-01", "2024-02"], "i": ["(0, 1]", "(1, 2]"], "s": ["0", "1"]}
    assert columns(value["p"]) == {"p": ["2024-01", "2024-02"]}
    bins = {"bin": ["(0, 2]", "(2, 10]", None]}
    assert columns(pd.DataFrame({"bin": pd.cut([1, 5, 11], [0, 2, 10])})) == bins
    assert columns(pd.DataFrame({"p": value["p"].astype("category")})) == {"p": ["2024-01", "2024-02"]}
    assert columns(pd.DataFrame({"u": pd.Categorical(IDS)})) == {"u": sorted(map(str, IDS))}


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]),
        [{1: "x", "1": "y"}],
    ],
)
def test_two_columns_of_one_name_are_refused(value):
    with pytest.raises(ReturnTypeError, match=r"more than one column named '(a|1)'"):
        columns(value)


def test_a_series_is_named_by_itself():
    assert columns(pd.Series([1, 2], name="score")) == {"score": [1, 2]}
    assert columns(pd.Series([1.0, np.nan])) == {"prediction": [1.0, None]}
    assert columns(pd.Series([1, "a"], name=0)) == {"0": ["1", "a"]}


def test_an_array_gives_one_column_per_value():
    assert columns(np.array([1, 2])) == {"prediction": [1, 2]}
    assert columns(np.array([[1, 2], [3, 4]])) == {"prediction_0": [1, 3], "prediction_1": [2, 4]}
    assert kinds(np.zeros((1, 2), np.float32)) == ["float", "float"]


def test_an_array_of_more_axes_gives_lists_of_the_same_type():
    value = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    assert columns(value) == {"prediction": value.tolist()}
    assert kinds(value) == ["list<item: list<item: float>>"]
    assert columns(np.zeros((2, 0, 3))) == {"prediction": [[], []]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([1.5, 2.5], dtype=">f8"), [1.5, 2.5]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([1, "a", None], dtype=object), ["1", "a", None]),
        (np.array([1j]), ["1j"]),
        (np.array([1.5, np.nan], np.longdouble), ["1.5", None]),
        (np.ones((1, 1, 2), np.longdouble), [[["1.0", "1.0"]]]),
        (np.array([*IDS, None], object), [*map(str, IDS), None]),
        (np.array([True, False]), [True, False]),
        (np.array(["2024-01-02"], dtype="M8[D]"), [dt.date(2024, 1, 2)]),
    ],
)
def test_arrays_of_every_kind_are_held(value, expected):
    assert columns(value) == {"prediction": expected}


def test_a_structured_array_gives_its_fields():
    value = np.array([(1, 0.5), (2, 0.25)], dtype=[("id", "i4"), ("p", "f4")])
    assert columns(value) == {"id": [1, 2], "p": [0.5, 0.25]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", "b"], ["a", "b"]),
        ([1, 2.5], [1.0, 2.5]),
        ([np.float32(0.5), 2.0], [0.5, 2.0]),
        ([np.array(1.5), np.int8(2)], [1.5, 2.0]),
        ([None, None], [None, None]),
        ([pd.NA, 3], [None, 3]),
        ([pd.Timestamp("2024-01-02"), pd.NaT], [dt.datetime(2024, 1, 2), None]),  # noqa: DTZ001 - no zone is given
        ([np.datetime64("2024-01-02")], [dt.datetime(2024, 1, 2)]),  # noqa: DTZ001 - no zone is given
        ([1, "a", None, float("nan")], ["1", "a", None, None]),
        ([True, 1], ["True", "1"]),
        ([2**70], [str(2**70)]),
        ([IDS[0], None], [str(IDS[0]), None]),
        ([decimal.Decimal("1.10")], [decimal.Decimal("1.10")]),
        ([[1], [1, 2]], [[1], [1, 2]]),
        ([[], []], [[], []]),
        ([[1, 2], "a"], ["[1, 2]", "a"]),
        ([{"a": 1}, 3], ["{'a': 1}", "3"]),
    ],
)
def test_a_list_of_values_is_one_column(value, expected):
    assert columns(value) == {"prediction": expected}


DAY, MOMENT = dt.date(2024, 1, 2), dt.datetime(2024, 1, 2, 3, 4, 5)  # noqa: DTZ001 - no zone is given
THERE = MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=2)))
FINE = pd.Timestamp("2024-01-02T03:04:05.123456789")
FAR = dt.datetime(3024, 1, 1)  # noqa: DTZ001 - as above


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([DAY, MOMENT], ["2024-01-02", "2024-01-02 03:04:05"]),
        ([DAY, FINE], ["2024-01-02", "2024-01-02 03:04:05.123456789"]),
        ([MOMENT, None, THERE], ["2024-01-02 03:04:05", None, "2024-01-02 03:04:05+02:00"]),
        ([THERE, MOMENT], ["2024-01-02 03:04:05+02:00", "2024-01-02 03:04:05"]),
        ([THERE.timetz(), dt.time(1)], ["03:04:05+02:00", "01:00:00"]),
        ([FINE, FAR], ["2024-01-02 03:04:05.123456789", "3024-01-01 00:00:00"]),
        ([pd.Timedelta(1, "ns"), dt.timedelta(200_000)], ["0 days 00:00:00.000000001", "200000 days, 0:00:00"]),
    ],
)
def test_dates_and_times_of_which_a_type_would_lose_something_become_text(value, expected):
    assert columns(value) == {"prediction": expected}
    assert columns([{"when": one} for one in value]) == {"when": expected}
    assert columns(pd.DataFrame({"when": pd.Series(value, dtype=object)})) == {"when": expected}
    nested = [f"[{one!r}]" for one in value]
    assert columns([[one] * (1 + at) for at, one in enumerate(value)])["prediction"][0] == nested[0]
    assert columns([{"in": {"when": one}} for one in value])["in"][0] == str({"when": value[0]})


@pytest.mark.parametrize(
    ("value", "kind", "numbers"),
    [
        ([FINE, MOMENT, None], "timestamp[ns]", [1704164645123456789, 1704164645000000000, None]),
        ([pd.NaT, FINE], "timestamp[ns]", [None, 1704164645123456789]),
        ([FINE.tz_localize("UTC"), THERE], "timestamp[ns, tz=UTC]", [1704164645123456789, 1704157445000000000]),
        ([pd.Timedelta(1, "ns"), dt.timedelta(seconds=1)], "duration[ns]", [1, 10**9]),
        ([MOMENT, pd.Timestamp(MOMENT)], "timestamp[us]", [1704164645000000] * 2),
        ([THERE, FINE.floor("s").tz_localize("UTC")], "timestamp[us, tz=+02:00]", [1704157445000000, 1704164645000000]),
        ([FAR, pd.Timestamp(MOMENT)], "timestamp[us]", [33260976000000000, 1704164645000000]),
    ],
)
def test_dates_and_times_keep_their_nanoseconds_and_their_instants(value, kind, numbers):
    for found in (value, [{"prediction": one} for one in value], pd.DataFrame({"prediction": value}, dtype=object)):
        [column] = tabulate(accept(found)).columns
        assert (str(column.type), column.cast(pa.int64()).to_pylist()) == (kind, numbers)


def test_moments_of_numpy_of_several_units_are_in_the_finest():
    assert kinds([FINE.to_datetime64(), np.datetime64(DAY)]) == ["timestamp[ns]"]
    found = tabulate(accept([np.timedelta64(1, "ns"), np.timedelta64(5, "s"), np.timedelta64("NaT")])).column(0)
    assert found.cast(pa.int64()).to_pylist() == [1, 5 * 10**9, None]
    assert columns([np.datetime64("NaT"), 1]) == {"prediction": [None, 1]}


def test_nanoseconds_are_kept_also_inside_of_lists_and_dicts():
    assert kinds([[FINE], [FINE, MOMENT], None]) == ["list<item: timestamp[ns]>"]
    inside = [{"in": {"when": FINE, "x": float("nan")}}, {"in": None}, {"in": {"when": MOMENT}}]
    assert kinds(inside) == ["struct<when: timestamp[ns], x: double>"]
    assert str(columns(inside)["in"][0]) == str({"when": FINE, "x": float("nan")})
    assert kinds([np.array([FINE], "M8[ns]"), np.array([], "M8[ns]")]) == ["list<item: timestamp[ns]>"]


def test_a_list_of_dicts_gives_the_union_of_their_keys():
    assert columns([{"a": 1}, None, {"b": "x", "a": 2}]) == {"a": [1, None, 2], "b": [None, None, "x"]}
    assert columns([{"id": IDS[0]}, {"id": IDS[1]}]) == {"id": [*map(str, IDS)]}


@pytest.mark.parametrize("row", [list, tuple, np.array])
def test_a_list_of_rows_of_one_length_gives_a_column_each(row):
    assert columns([row([1, 2]), row([3, 4])]) == {"prediction_0": [1, 3], "prediction_1": [2, 4]}


def test_a_missing_row_is_null_in_every_column():
    assert columns([[1, "a"], None]) == {"prediction_0": [1, None], "prediction_1": ["a", None]}


def test_an_arrow_table_passes_as_it_is():
    table = pa.table({"a": pa.array([1], pa.int8()), "b": [[1]], "c": pa.array(["x"]).dictionary_encode()})
    assert tabulate(accept(table)).equals(table)


def test_arrow_types_that_no_form_can_write_are_replaced():
    table = pa.table(
        {
            "view": pa.array(["a"], pa.string_view()),
            "bytes": pa.array([b"a"], pa.binary_view()),
            "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
            "runs": pa.RunEndEncodedArray.from_arrays([1], [7]),
        }
    )
    assert kinds(table) == ["string", "binary", "string", "int64"]
    assert columns(table)["runs"] == [7]
    bins = pa.table({"bin": pa.array(pd.Series(pd.cut([1, 5], [0, 2, 10])))})
    assert columns(bins) == {"bin": [{"left": 0, "right": 2}, {"left": 2, "right": 10}]}


@pytest.mark.parametrize("value", [["\ud800"], pd.DataFrame({"a": ["\ud800"]}, dtype=object)])
def test_a_lone_surrogate_is_refused(value):
    with pytest.raises(ReturnTypeError, match="not valid Unicode"):
        columns(value)
