"""Text to numbers and numbers to text, on one core and in memory, beside Arrow's reader and writer."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest

from batch_score import _native

pytestmark = pytest.mark.timeout(600)
MOST_BYTES = 4_000_000  # a mini-batch


@pytest.fixture(scope="module")
def text(floats):
    """Whole lines from the beginning of the first file of floats, without the header."""
    with open(floats.paths[0], "rb") as file:  # noqa: PTH123 - read in part
        file.readline()
        return b"".join(file.readlines(MOST_BYTES))


def read_native(text, rows):
    columns = [np.empty((rows, 1), np.int64), np.empty((rows, 20), np.float32)]
    reader = _native.FieldReader([(0, 0, False), *((1, place, True) for place in range(20))])
    reader.read(text, rows, columns)
    return columns[0][:, 0], columns[1]


def read_arrow(text, rows):
    names = ["id", *(f"f{place:02d}" for place in range(20))]
    types = {"id": pa.int64(), **dict.fromkeys(names[1:], pa.float32())}
    table = pacsv.read_csv(
        io.BytesIO(text),
        pacsv.ReadOptions(use_threads=False, column_names=names),
        convert_options=pacsv.ConvertOptions(column_types=types),
    )
    matrix = np.empty((rows, 20), np.float32)
    for place, name in enumerate(names[1:]):
        matrix[:, place] = table[name]
    return table["id"].to_numpy(), matrix


@pytest.mark.parametrize("read", [read_native, read_arrow], ids=["native", "arrow"])
def test_numbers_of_text(measure, floats, text, read):
    """A row-major matrix of float32, and a column of int64."""
    rows = text.count(b"\n")
    ids, matrix = measure.run(read, text, rows, rounds=20, warmup_rounds=2)
    np.testing.assert_array_equal(ids, floats.ids[:rows])
    np.testing.assert_array_equal(matrix, floats.matrix[:rows])
    measure.note({"rows_per_s": rows, "gb_per_s": len(text) / 1e9}, rows=rows)


def write_native(ids, scores):
    return _native.delimited_rows([(ids, None), (scores, None)], len(ids))


def write_arrow(ids, scores):
    out = io.BytesIO()
    table = pa.table({"id": ids, "p": scores})
    pacsv.write_csv(table, out, pacsv.WriteOptions(include_header=False))
    return out.getvalue()


@pytest.mark.parametrize("write", [write_native, write_arrow], ids=["native", "arrow"])
def test_text_of_numbers(measure, floats, text, write):
    """A column of int64 and one of float32."""
    rows = text.count(b"\n")
    ids, scores = floats.ids[:rows], np.random.default_rng(0).random(rows).astype(np.float32)
    written = measure.run(write, ids, scores, rounds=20, warmup_rounds=2)
    found = [line.split(",") for line in written.decode().splitlines()]
    assert [int(first) for first, _ in found] == ids.tolist()
    np.testing.assert_array_equal(np.array([second for _, second in found], np.float32), scores)
    measure.note({"rows_per_s": rows, "mb_per_s": len(written) / 1e6}, rows=rows)
