import datetime as dt
import decimal
import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.errors import ReturnTypeError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import tabular_keys
from batch_score.output.returned import accept

CSV = encoder_for(OutputOptions("predictions.csv"))
TSV = encoder_for(OutputOptions("predictions.tsv"))


def written(value, encoder=CSV):
    return encoder.encode(accept(value), None, None).payload.decode()


def test_a_job_with_keys_reads_back_as_the_whole_table():
    keys = tabular_keys("auto", "in, 1.csv", np.array([5, 6]), pa.table({}))
    encoded = CSV.encode(accept(np.array([0.5, 0.25], np.float32)), keys, np.arange(2))
    assert encoded.columns == ("source", "row", "prediction")
    assert CSV.preamble(encoded.columns) == b"source,row,prediction\n"
    assert encoded.payload == b'"in, 1.csv",5,0.5\n"in, 1.csv",6,0.25\n'


def test_only_fields_that_need_quotes_get_them():
    value = pd.DataFrame({"t": ["plain", "a,b", 'say "hi"', "two\nlines", "two\rlines", " tab\t", ""], "n": range(7)})
    assert written(value) == ('plain,0\n"a,b",1\n"say ""hi""",2\n"two\nlines",3\n"two\rlines",4\n tab\t,5\n,6\n')
    assert written(value, TSV) == (
        'plain\t0\na,b\t1\n"say ""hi"""\t2\n"two\nlines"\t3\n"two\rlines"\t4\n" tab\t"\t5\n\t6\n'
    )


@pytest.mark.parametrize("others", [["a"], ["a,b"]])
def test_a_record_of_one_empty_field_is_no_empty_line(others):
    assert written(["", None, *others]).splitlines()[:2] == ['""', '""']
    assert written([None, 2]) == '""\n2\n'


def test_the_header_quotes_names():
    assert CSV.preamble(("a,b", 'c"')) == b'"a,b","c"""\n'
    assert TSV.preamble(("a,b", "c")) == b"a,b\tc\n"
    assert CSV.preamble(("c\r", "d\n")) == b'"c\r","d\n"\n'
    assert CSV.preamble(("",)) == b'""\n'
    assert CSV.preamble(()) == b""


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([1.0, 0.1, 1e20, -0.0, 1e-7, float("nan"), float("inf")]), "1 0.1 1e+20 -0 1e-7 nan inf"),
        (pa.array([0.1, 16777216], pa.float32()), "0.1 16777216"),
        (pa.array([True, False]), "true false"),
        (pa.array([dt.datetime(2024, 1, 2, 3, 4, 5)], pa.timestamp("s")), "2024-01-02T03:04:05"),  # noqa: DTZ001 - no zone is given
        (pa.array([0], pa.timestamp("ms", "Europe/Berlin")), "1970-01-01T00:00:00.000Z"),
        (pa.array([253402300800], pa.timestamp("s")), "10000-01-01T00:00:00"),
        (pa.array([2**52], pa.timestamp("s")), "142715360-12-06T03:48:16"),
        (pa.array([2**63 - 1], pa.timestamp("us", "UTC")), "294247-01-10T04:00:54.775807Z"),
        (pa.array([2**31 - 1], pa.date32()), "5881580-07-11"),
        (pa.array([-(2**31)], pa.date32()), "-5877641-06-23"),
        (pa.array([2**31 * 86_400_000], pa.date64()), "5881580-07-12"),
        (pa.array([dt.date(2024, 1, 2)]), "2024-01-02"),
        (pa.array([dt.time(1, 2, 3)], pa.time32("s")), "01:02:03"),
        (pa.array([dt.timedelta(days=1, milliseconds=500)]), "86400.5"),
        (pa.array([decimal.Decimal("1.10")]), "1.10"),
        (pa.array([b"abc"]), "abc"),
        (pa.array(["x", "y"]).dictionary_encode(), "x y"),
        (pa.nulls(1), ""),
    ],
)
def test_every_type_has_one_text(array, texts):
    table = pa.table({"a": array, "end": pa.array([0] * len(array))})
    assert written(table) == "".join(f"{text},0\n" for text in texts.split(" "))


def test_nested_values_are_json():
    assert written([{"v": [1, None], "d": {"k": "é"}}]) == '"[1,null]","{""k"":""é""}"\n'
    assert written([{"v": [0.5]}, {"v": None}]) == "[0.5]\n" + '""\n'


def test_nan_from_pandas_is_missing_as_pandas_writes_it():
    assert written(pd.DataFrame({"a": [np.nan, 1.5], "b": [1, 2]})) == ",1\n1.5,2\n"


def test_bytes_that_are_no_text_are_refused_by_column():
    with pytest.raises(ReturnTypeError, match=r"column 'raw' .* not UTF-8"):
        written([{"raw": b"\xff"}])
    with pytest.raises(ReturnTypeError, match=r"column 'raw' .* not UTF-8"):
        written([{"raw": [b"\xff"]}])


def test_no_element_means_no_byte():
    assert CSV.encode(accept([]), None, None).payload == b""
    assert CSV.encode(accept(pd.DataFrame({"a": []})), None, None).columns == ()


def test_many_rows_take_the_same_bytes_in_pieces():
    values = [f"{number},x" for number in range(200_000)]
    assert written(values) == "".join(f'"{value}"\n' for value in values)


def test_a_record_of_white_space_only_is_no_blank_line():
    assert written([" ", "\t", "x"]) == '" "\n"\t"\nx\n'
    assert written([" ", "a,b", None]) == '" "\n"a,b"\n""\n'
    assert len(pd.read_csv(io.StringIO("p\n" + written([" ", "\t", "x"])))) == 3


def test_far_years_among_others_and_nulls():
    far = pa.array([0, None, 2**52, -(2**52)], pa.timestamp("s"))
    days = pa.array([0, None, 2**31 - 1, 1], pa.date32())
    assert CSV.records(pa.table({"t": far, "d": days})).decode().splitlines() == [
        "1970-01-01T00:00:00,1970-01-01",
        ",",
        "142715360-12-06T03:48:16,5881580-07-11",
        "-142711421-01-25T20:11:44,1970-01-02",
    ]
