"""Tables of many columns: what they cost grows with their number, not with its square."""

import json
import time

import pyarrow as pa
import pytest
from tests.unit.reading import DELIMITED, JSONL, PARQUET, Read

MOST = 4.0  # seconds of the processor; each of these took at least twice as long when it was quadratic


def lines(count, value):
    return "\n".join([",".join(f"c{place}" for place in range(count)), *[",".join([value] * count)] * 3])


@pytest.mark.parametrize(
    ("count", "value", "declared"), [(12_000, "1", {}), (3000, "1", {"c0": "bool"}), (6000, "", {"c0": "bool"})]
)
def test_delimited_text(file, count, value, declared):
    path = file(lines(count, value))
    begun = time.process_time()
    assert Read(DELIMITED(path, set_column_types=declared)).whole.shape == (3, count)
    assert time.process_time() - begun < MOST


def test_json_lines(file):
    path = file("\n".join([json.dumps({f"c{place}": place for place in range(3000)})] * 3), "t.jsonl")
    begun = time.process_time()
    assert Read(JSONL(path)).whole.shape == (3, 3000)
    assert time.process_time() - begun < MOST


@pytest.mark.parametrize("declared", [False, True])
def test_parquet(parquet, declared):
    names = [f"c{place}" for place in range(3000)]
    path = parquet(pa.table({name: [1, 2, 3] for name in names}))
    types = dict.fromkeys(names, "float64") if declared else {}
    begun = time.process_time()
    assert Read(PARQUET(path, set_column_types=types)).whole.shape == (3, 3000)
    assert time.process_time() - begun < MOST
