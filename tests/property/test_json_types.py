"""The types of JSON Lines, against a twin that looks at one line after the other."""

import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch_score import TabularDataset

MISSING = object()
ORDER = ("a", "b", "c")
value = st.sampled_from([1, -7, 2.5, "x", "", True, None, MISSING])
row = st.fixed_dictionaries(dict.fromkeys(ORDER, value))
NOISE = ["nope", "[1]", '{"a":', '{"a":1}{"a":2}', '{"b":1,"late":2', "null"]
lines = st.lists(st.one_of(row, st.sampled_from(NOISE)), min_size=1, max_size=30)
KINDS = {bool: "flag", int: "number", float: "number", str: "text"}


def text(line):
    return line if isinstance(line, str) else json.dumps({k: v for k, v in line.items() if v is not MISSING})


def twin(rows):
    """Name, type and nullability of each column, by the words of the guide."""
    for name in ORDER:
        values = [row[name] for row in rows]
        if all(one is MISSING for one in values):
            continue
        there = [one for one in values if one is not None and one is not MISSING]
        kinds = [KINDS[type(one)] for one in there]
        of_first = [one for one, kind in zip(there, kinds, strict=True) if kind == kinds[0]]
        gaps = len(there) < len(values)
        if not there or kinds[0] == "text":
            yield name, pa.string(), True
        elif kinds[0] == "flag":
            yield name, pa.bool_(), gaps
        elif gaps or any(isinstance(one, float) for one in of_first):
            yield name, pa.float64(), True
        else:
            yield name, pa.int64(), False


@given(lines)
def test_bad_lines_do_not_decide_and_of_two_types_the_first_does(tmp_path_factory, lines):
    rows = [line for line in lines if not isinstance(line, str)]
    wanted = sorted(twin(rows), key=lambda column: column[0])
    if not wanted:
        return
    path = tmp_path_factory.mktemp("types") / "t.jsonl"
    path.write_text("\n".join(map(text, lines)) + "\n")
    schema = TabularDataset.from_json_lines_files(path).schema
    assert sorted((field.name, field.type, field.nullable) for field in schema) == wanted
