import asyncio
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.errors import ReturnTypeError
from batch_score.output.returned import accept


async def answer():
    await asyncio.sleep(0)


async def answers():
    yield 1


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ([], 0),
        (["a", "b"], 2),
        (("a",), 1),
        (pd.DataFrame({"x": [1, 2, 3]}), 3),
        (pd.DataFrame(index=range(4)), 4),
        (pd.Series([1, 2]), 2),
        (np.zeros((5, 3)), 5),
        (np.zeros((0, 3)), 0),
        (pa.table({"x": [1, 2]}), 2),
        (pa.record_batch({"x": [1, 2, 3]}), 3),
        (pa.table({"x": [1, 2]}).to_reader(max_chunksize=1), 2),
        ((item for item in "abc"), 3),
        (map(str, range(4)), 4),
    ],
)
def test_counts_elements_or_the_first_axis(value, length):
    assert accept(value).length == length


def test_a_generator_is_consumed_once_into_a_list():
    returned = accept(item * 2 for item in range(3))
    assert returned.value == [0, 2, 4]


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (None, "NoneType"),
        ("done", "str"),
        (b"done", "bytes"),
        ({"a": 1}, "dict"),
        ({1, 2}, "set"),
        (3, "int"),
        (0.5, "float"),
        (np.float32(1), "float32"),
        (np.array(1.5), "an array without axes"),
        (object(), "object"),
    ],
)
def test_a_value_without_items_is_refused_by_the_name_of_its_type(value, name):
    with pytest.raises(ReturnTypeError, match=rf"run\(\) returned {name}: return a list, tuple, DataFrame"):
        accept(value)


def test_a_coroutine_is_refused_with_a_hint_and_closed():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # "never awaited" would surface here
        with pytest.raises(ReturnTypeError, match=r"coroutine, which nothing awaits.*asyncio\.run"):
            accept(answer())


def test_an_asynchronous_generator_is_refused_with_a_hint():
    with pytest.raises(ReturnTypeError, match=r"async_generator, which nothing awaits"):
        accept(answers())


def test_an_error_inside_a_generator_is_the_error_of_run():
    with pytest.raises(ZeroDivisionError):
        accept(1 // item for item in [1, 0])
