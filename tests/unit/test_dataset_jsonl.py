"""JSON Lines as the workers read them: types, lines that do not fit, lines that are dropped."""

import json

import pytest
from tests.unit.reading import JSONL, TEXT, Read, same_for_all_sizes

from batch_score.errors import InputError


def test_lines_of_json_that_do_not_fit_are_failed_items_also_where_invalid_ones_are_dropped(file):
    path = file('{"a": 1}\nno json\n{"a": "text"}\n[1]\n{"a": 4}\n', "t.jsonl")
    read = Read(JSONL(path, set_column_types={"a": "int64"}, invalid_lines="drop"))
    assert read.column("a") == [1, 4]
    assert [row for row, _ in read.failed] == [2]


MIXED = '{"a":1,"b":"x"}\nnope\n{"a":null,"b":"y"}\n\n{"a":2,"b":7}\n[1]\n{"a":1}{"a":2}\n{"b":"z","a":3}\n'


def test_json_lines_that_do_not_fit_are_failed_items(file):
    read = Read(JSONL(file(MIXED, "t.jsonl")))
    assert read.dtypes() == {("float64", TEXT)}
    assert (read.column("a"), read.column("b")) == ([1.0, None, 3.0], ["x", "y", "z"])
    assert list(read.whole.index) == [0, 2, 6]
    assert [row for row, _ in read.failed] == [1, 3, 4, 5]
    assert not any("in row 0" in message for _, message in read.failed)


def test_json_lines_that_cannot_be_parsed_can_be_dropped(file):
    read = Read(JSONL(file(MIXED, "t.jsonl"), invalid_lines="drop"))
    assert read.dropped == 3
    assert [row for row, _ in read.failed] == [3]  # an object whose value does not fit is no invalid line
    assert list(read.whole.index) == [0, 2, 6]


def test_of_two_json_types_the_first_decides(file):
    lines = '{"a":1}\n{"a":2}\n{"a":"x"}\n{"a":"y"}\n'
    read = Read(JSONL(file(lines, "t.jsonl")))
    assert read.dtypes() == {("int64",)}
    assert [row for row, _ in read.failed] == [2, 3]


@pytest.mark.parametrize("bad", ['{"id":10,"x":', '{"id":10,"x":"n/a"}'])
def test_one_bad_line_of_json_costs_itself(file, bad):
    rows = [json.dumps({"id": n, "x": n} if n < 1500 else {"id": n, "x": n + 0.5, "late": 1}) for n in range(3000)]
    rows[10] = bad
    read = Read(JSONL(file("\n".join(rows), "t.jsonl"), set_column_types={"id": "int64"}))
    assert read.dtypes() == {("int64", "float64", "float64")}
    assert [row for row, _ in read.failed] == [10]


def test_a_first_part_that_is_no_json_is_given_up_soon(file):
    with pytest.raises(InputError, match="no line of the first part"):
        JSONL(file("no json\n" * 2000 + '{"a":1}\n', "t.jsonl"))


@pytest.mark.parametrize(
    ("lines", "types"),
    [
        (['{"a":1}', '{"a":"x","c":5}', '{"c":6}'], {"a": "double", "c": "double"}),
        (['{"a":true}', '{"a":null}', '{"a":"true"}'], {"a": "bool"}),
        (
            ['{"a":{"p":1}}', '{"a":{"p":"x","q":1}}', '{"a":{"q":1.5,"r":[1]}}'],
            {"a": "struct<p: int64, q: double, r: list<item: int64>>"},
        ),
    ],
)
def test_a_column_of_two_types_does_not_hide_the_others(file, lines, types):
    dataset = JSONL(file("\n".join(lines), "t.jsonl"))
    assert {column.name: str(column.type) for column in dataset.schema} == types
    odd = [number for number, line in enumerate(lines) if '"x"' in line or '"true"' in line]
    assert [[row for row, _ in Read(dataset, size).failed] for size in (1, None)] == [odd, odd]


def test_flags_with_gaps_behind_the_first_part_can_be_declared(file):
    path = file('{"v":true}\n' * 100_000 + '{"v":null}\n', "t.jsonl")
    [(row, message)] = Read(JSONL(path)).failed
    assert (row, "declare set_column_types v=bool" in message) == (100_000, True)
    assert Read(JSONL(path, set_column_types={"v": "bool"})).failed == []


def test_json_lines_that_are_not_ascii_do_not_fit_where_that_was_said(file):
    rows, failed = same_for_all_sizes(JSONL(file('{"a":"e"}\n{"a":"é"}\n', "t.jsonl"), encoding="ascii"))
    assert (list(rows), [row for row, _ in failed]) == ([0], [1])
    assert failed[0][1].startswith("not ascii text")


def test_a_json_type_may_be_declared(file):
    read = Read(JSONL(file('{"a":1,"t":"x"}\n{"t":"y"}\n', "t.jsonl"), set_column_types={"a": "int64"}))
    assert read.dtypes() == {("int64", TEXT)}
    assert read.failed[0][0] == 1
    assert "declare set_column_types a=float64" in read.failed[0][1]


def test_json_dtypes_are_equal_in_all_mini_batches(file):
    lines = ['{"i":1,"n":null,"b":true,"o":{"x":1},"l":[1,2]}', '{"i":2,"n":2,"b":false}']
    lines += ['{"i":3,"n":3,"b":true,"o":{"x":null},"l":[]}'] * 50
    read = Read(JSONL(file("\n".join(lines), "t.jsonl")), 150)
    assert len(read.frames) > 10
    assert read.dtypes() == {("int64", "float64", "bool", "object", "object")}
    assert read.failed == []


def test_a_later_json_field_that_the_sample_does_not_have_is_left_out(file):
    lines = '{"a":1}\n' * 200_000 + '{"a":2,"late":3}\n'
    read = Read(JSONL(file(lines, "t.jsonl")))
    assert list(read.frames[-1].columns) == ["a"]
    assert read.failed == []


@pytest.mark.parametrize(("text", "message"), [("", "no records"), ("nope\n", "no line of the first part is a JSON")])
def test_json_lines_without_an_object(file, text, message):
    with pytest.raises(InputError, match=message):
        JSONL(file(text, "t.jsonl"))


@pytest.mark.parametrize("line", ["null", "5", '{"a":', "1}", '{"a":2}{"a":3}', '{"a":2}, {"a":3}', '{"a":"\xff"}'])
def test_a_line_that_is_not_one_object_fails_alone(file, line):
    content = b"\n".join([b'{"a":"x"}', line.encode("latin-1"), b'{"a":"y"}'])
    rows, failed = same_for_all_sizes(JSONL(file(content, "t.jsonl")))
    assert {row: values["a"] for row, values in rows.items()} == {0: "x", 2: "y"}
    assert [row for row, _ in failed] == [1]


def test_lines_that_make_up_for_each_other_fail_all_the_same(file):
    rows, failed = same_for_all_sizes(JSONL(file('{"a":0}\n{"a":\n1}\n{"a":2}{"a":3}\n{"a":4}\r\n', "t.jsonl")))
    assert {row: values["a"] for row, values in rows.items()} == {0: 0, 4: 4}
    assert [row for row, _ in failed] == [1, 2, 3]


def test_deeply_nested_values_do_not_overflow_the_stack(file):
    deep = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
    for invalid in ("error", "drop"):
        rows, failed = same_for_all_sizes(JSONL(file(f'{{"a":1}}\n{deep}\n', "t.jsonl"), invalid_lines=invalid))
        assert (list(rows), [row for row, _ in failed]) == ([0], [1])


def test_a_bracket_in_a_text_nests_nothing(file):
    text = '{"a":"' + '[\\"' * 500 + '"}\n'
    assert Read(JSONL(file(text, "t.jsonl"))).column("a") == ['["' * 500]


def test_dates_inside_of_json_values_are_text_too(file):
    read = Read(JSONL(file('{"a":{"d":"2020-01-01"}}\n{"a":{"d":"2020-01-02"}}\n', "t.jsonl")), 30)
    assert list(read.whole["a"]) == [{"d": "2020-01-01"}, {"d": "2020-01-02"}]


def test_records_without_any_field_are_refused(file):
    """They would be rows of a DataFrame without columns, of which nobody could tell the number."""
    with pytest.raises(InputError, match="no columns"):
        JSONL(file("{}\n{}\n", "t.jsonl"))


@pytest.mark.parametrize("end", ["\n", "\r\n", " \n\n", ""])
def test_line_ends_of_json_lines_do_not_matter(file, end):
    rows, failed = same_for_all_sizes(JSONL(file('{"a":1}' + (end or "\n") + '{"a":2}' + end, "t.jsonl")))
    assert [row["a"] for row in rows.values()] == [1, 2]
    assert failed == []


def test_integers_inside_of_values_stay_integers_beside_missing_ones(file):
    content = '{"a":{"p":9223372036854775807,"q":1}}\n{"a":{"p":null,"q":2}}\n'
    rows, _ = same_for_all_sizes(JSONL(file(content, "t.jsonl")))
    assert [row["a"] for row in rows.values()] == [{"p": 2**63 - 1, "q": 1}, {"p": None, "q": 2}]
