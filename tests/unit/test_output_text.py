import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.errors import ConfigError, ReturnTypeError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.returned import accept

FRAME = pd.DataFrame({"file": ["a b", 'say "hi"', "plain"], "p": [0.5, 1.0, np.nan]}, index=[7, 8, 9])


def encoder(**options):
    return encoder_for(OutputOptions("parallel_run_step.txt", **options))


def text(value, **options):
    return encoder(**options).encode(accept(value), None, None).payload.decode()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (["a", 1, 0.5, None], "a\n1\n0.5\nNone\n"),
        ([("a", 1)], "('a', 1)\n"),
        ([{"a": 1}], "{'a': 1}\n"),
        (np.array([[1.0, 2.0], [3.0, 4.0]]), "[1.0, 2.0]\n[3.0, 4.0]\n"),
        (np.arange(2000).reshape(1, -1), str(list(range(2000))) + "\n"),
        (pd.Series([1.5, 2.5], name="x"), "1.5\n2.5\n"),
        ([], ""),
        (["é\u2028ü"], "é\u2028ü\n"),
    ],
)
def test_a_list_like_is_one_str_a_line(value, expected):
    assert text(value) == expected


def test_a_frame_is_separated_by_spaces_without_header_and_index():
    assert text(FRAME) == '"a b" 0.5\n"say ""hi""" 1.0\nplain \n'


def test_an_arrow_table_is_written_like_a_frame_and_keeps_integers():
    assert text(pa.table({"a": [1, None], "b": ["x y", "z"]})) == '1 "x y"\n z\n'


def test_no_keys_are_written():
    keys = pa.table({"source": ["s"] * 3})
    assert encoder().encode(accept(FRAME), keys, np.arange(3)).payload.decode() == text(FRAME)
    assert not encoder().keyed


def test_the_settings_override_to_csv():
    assert (
        text(FRAME, to_csv={"sep": ",", "index": True, "na_rep": "-"}) == '7,a b,0.5\n8,"say ""hi""",1.0\n9,plain,-\n'
    )


@pytest.mark.parametrize(
    "to_csv",
    [
        {},
        {"sep": ",", "index": True},
        {"index": True, "index_label": "id"},
        {"columns": ["p"]},
        {"quoting": 1, "quotechar": "'"},
        {"index": True, "header": ["F F", "P"]},
    ],
)
@pytest.mark.parametrize("by_flag", [True, False])
def test_a_header_comes_once_from_the_preamble_and_is_the_one_of_to_csv(to_csv, by_flag):
    wanted = {"header": True, **to_csv}
    options = {"to_csv": to_csv, "header_in_text": True} if by_flag else {"to_csv": wanted}
    encoded = encoder(**options).encode(accept(FRAME), None, None)
    whole = encoder(**options).preamble(encoded.columns) + encoded.payload
    assert whole.decode() == FRAME.to_csv(**{"sep": " ", "index": False, **wanted})


def test_there_is_no_header_without_asking_or_for_lists():
    assert encoder().encode(accept(FRAME), None, None).columns == ()
    encoded = encoder(header_in_text=True).encode(accept(["a"]), None, None)
    assert encoder(header_in_text=True).preamble(encoded.columns) == b""


def test_overrides_that_pandas_refuses_are_a_configuration_error():
    with pytest.raises(ConfigError, match=r"DataFrame\.to_csv cannot be used"):
        encoder(to_csv={"sep": "ab"})


def test_a_lone_surrogate_is_refused():
    with pytest.raises(ReturnTypeError, match="not valid Unicode"):
        text(["\ud800"])
