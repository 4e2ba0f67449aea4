import datetime as dt
import decimal
import json

import numpy as np
import pyarrow as pa
import pytest

from batch_score.errors import ReturnTypeError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import tabular_keys
from batch_score.output.returned import accept

JSONL = encoder_for(OutputOptions("predictions.jsonl"))


def written(value, keys=None, positions=None):
    encoded = JSONL.encode(accept(value), keys, positions)
    assert encoded.columns == ()
    return encoded.payload.decode()


def test_a_record_is_one_object_with_its_keys_first():
    keys = tabular_keys("auto", 'a"b.csv', np.array([3, 4]), pa.table({}))
    assert written(np.array([0.5, 0.1], np.float32), keys, np.arange(2)) == (
        '{"source":"a\\"b.csv","row":3,"prediction":0.5}\n{"source":"a\\"b.csv","row":4,"prediction":0.1}\n'
    )


def test_strings_are_escaped_only_where_json_needs_it():
    assert written(["é 漢 \u2028", 'a"b\\c\n\x01', ""]) == (
        '{"prediction":"é 漢 \u2028"}\n{"prediction":"a\\"b\\\\c\\n\\u0001"}\n{"prediction":""}\n'
    )


@pytest.mark.parametrize(
    ("array", "value"),
    [
        (pa.array([float("nan")]), None),
        (pa.array([float("-inf")]), None),
        (pa.array([1.0]), 1),
        (pa.array([2**62]), 2**62),
        (pa.array([True]), True),
        (pa.nulls(1), None),
        (pa.array([None], pa.string()), None),
        (pa.array([None], pa.float32()), None),
        (pa.array([0], pa.timestamp("us")), "1970-01-01T00:00:00.000000"),
        (pa.array([2**52], pa.timestamp("s")), "142715360-12-06T03:48:16"),
        (pa.array([2**31 - 1], pa.date32()), "5881580-07-11"),
        (pa.array([dt.date(2024, 1, 2)]), "2024-01-02"),
        (pa.array([dt.timedelta(seconds=1.5)]), 1.5),
        (pa.array([decimal.Decimal("1.10")]), "1.10"),
        (pa.array([b"abc"]), "abc"),
        (pa.array(["a"]).dictionary_encode(), "a"),
        (pa.array([None], pa.dictionary(pa.int8(), pa.string())), None),
        (
            pa.array([{"a": [1.5, float("nan")], "b": None, "c": dt.date(2024, 1, 2), "d": dt.timedelta(seconds=2)}]),
            {"a": [1.5, None], "b": None, "c": "2024-01-02", "d": 2.0},
        ),
        (pa.array([[b"x", None]]), ["x", None]),
    ],
)
def test_every_type_has_one_json_value(array, value):
    assert json.loads(written(pa.table({"v": array}))) == {"v": value}


def test_names_are_escaped():
    assert json.loads(written([{'a"b\n': 1}])) == {'a"b\n': 1}


def test_bytes_that_are_no_text_are_refused_by_column():
    with pytest.raises(ReturnTypeError, match=r"column 'raw' .* not UTF-8"):
        written([{"raw": b"\xff"}])


def test_there_is_no_preamble():
    assert JSONL.preamble(("a",)) == b""
