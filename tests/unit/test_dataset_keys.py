"""Columns of large integers, which tell rows apart only as long as nothing makes floats of them."""

import pyarrow as pa
import pytest
from tests.unit.reading import DELIMITED, JSONL, PARQUET, TEXT, Read

from batch_score.column import EXACT, ROUNDED
from batch_score.errors import RecordError
from batch_score.output.keys import tabular_keys

LARGE = 1234567890123456789


def noted(dataset, name="id"):
    return dataset.schema.field(name).metadata


@pytest.mark.parametrize(("first", "second"), [("123456789012345678901", "123456789012345678902"), (str(2**63), "7")])
def test_integers_that_are_too_large_are_text(file, first, second):
    read = Read(DELIMITED(file(f"id,x\n{first},1\n,2\n{second},3\n")))
    assert read.dtypes() == {(TEXT, "int64")}
    assert read.column("id") == [first, None, second]


@pytest.mark.parametrize(
    "values", ["1e20\n1e21", "12345678901234567890.5\n1", "123456789012345678901\n1.0", "1e400\n1"]
)
def test_other_large_numbers_are_numbers(file, values):
    assert Read(DELIMITED(file(f"id,x\n{values.replace(chr(10), ',1' + chr(10))},2\n"))).dtypes() == {
        ("float64", "int64")
    }


@pytest.mark.parametrize(("value", "note"), [(LARGE, ROUNDED), (-LARGE, ROUNDED), (2**53, EXACT), (7, EXACT)])
def test_integers_with_gaps_are_noted(file, parquet, value, note):
    assert noted(DELIMITED(file(f"id,x\n{value},1\n,2\n3,3\n"))) == note
    assert noted(JSONL(file(f'{{"id":{value}}}\n{{"id":null}}\n', "t.jsonl"))) == note
    tables = [pa.table({"id": [1, None]}), pa.table({"id": [value, None]})]
    paths = [parquet(one, f"{place}.parquet") for place, one in enumerate(tables)]
    assert noted(PARQUET(paths)) == note


def test_nothing_is_noted_of_numbers_that_stay_themselves(file, parquet):
    assert noted(DELIMITED(file(f"id\n{LARGE}\n7\n"))) is None
    assert noted(DELIMITED(file("id\n1.5\n7\n"))) is None
    assert noted(DELIMITED(file(f"id,x\n{LARGE},1\n,2\n"), set_column_types={"id": "string"})) is None
    assert noted(PARQUET(parquet(pa.table({"id": [LARGE, 1]})))) is None
    assert noted(PARQUET(parquet(pa.table({"id": [2.0**60, None]})))) is None


def test_of_pieces_with_odd_lines_between_them_it_is_noted_too(file):
    lines = ['{"id":18446744073709551615}', "nope", '{"id":1}']
    assert noted(JSONL(file("\n".join(lines), "t.jsonl"))) == ROUNDED


def test_large_keys_behind_the_first_part_are_refused_where_they_are_met(file):
    path = file("id,x\n1,1\n,2\n7,7\n")
    dataset = DELIMITED(path)
    path.write_text(f"id,x\n{LARGE},1\n,2\n")
    read = Read(dataset)
    with pytest.raises(RecordError, match=r"key column 'id' has integers beyond 2\^53.*set_column_types id=string"):
        tabular_keys(("id",), "t.csv", read.batches[0].ordinals, read.batches[0].table)


def test_small_keys_with_gaps_are_as_ever(file):
    read = Read(DELIMITED(file("id,x\n1,1\n,2\n")))
    keys = tabular_keys(("id",), "t.csv", read.batches[0].ordinals, read.batches[0].table)
    assert keys.to_pydict() == {"id": [1.0, None]}
    assert keys.schema.field("id").metadata is None
