"""Laws of the output layer, against slow and obvious twins."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from batch_score.output.align import missing_items, positions
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import attach, tabular_keys
from batch_score.output.parquet import finish_parquet
from batch_score.output.returned import accept
from batch_score.output.tabulate import tabulate

TEXT = st.text(st.sampled_from("a,\t\"'\r\n \0é漢\\") | st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): TEXT,
}
NAMES = st.lists(TEXT, min_size=1, max_size=4, unique=True)


@st.composite
def tables(draw, names=NAMES):
    labels = draw(names)
    rows = draw(st.integers(1, 8))
    columns = []
    for _ in labels:
        kind = draw(st.sampled_from(list(VALUES)))
        cells = st.lists(st.none() | VALUES[kind], min_size=rows, max_size=rows)
        columns.append(pa.array(draw(cells), kind))
    return pa.Table.from_arrays(columns, names=labels)


def field_twin(field, delimiter, alone):
    if any(character in field for character in (delimiter, '"', "\r", "\n")) or (alone and not field):
        return '"' + field.replace('"', '""') + '"'
    return field


def same(value, field):
    if value is None:
        return field == ""
    if isinstance(value, bool):
        return field == str(value).lower()
    if isinstance(value, float):
        return float(field) == value or (math.isnan(value) and field == "nan")
    return field == str(value)


def rounded(table, name, value):
    """What a reader makes of a value that it knows to be a 32-bit float."""
    return value if value is None or table.schema.field(name).type != pa.float32() else float(np.float32(value))


@given(tables(), st.sampled_from([(".csv", ","), (".tsv", "\t")]))
def test_delimited_text_reads_back_and_is_minimal(table, form):
    suffix, delimiter = form
    encoder = encoder_for(OutputOptions(f"out{suffix}"))
    encoded = encoder.encode(accept(table), None, None)
    text = (encoder.preamble(encoded.columns) + encoded.payload).decode()
    records = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    assert records[0] == table.column_names
    assert len(records) == table.num_rows + 1
    for row, record in zip(table.to_pylist(), records[1:], strict=True):
        for name, field in zip(table.column_names, record, strict=True):
            read = field
            if table.schema.field(name).type == pa.float32() and field:
                read = str(float(np.float32(field)))
            assert same(row[name], read)
    alone = table.num_columns == 1
    twin = "".join(delimiter.join(field_twin(field, delimiter, alone) for field in record) + "\n" for record in records)
    assert text == twin


@given(st.lists(st.floats() | st.floats(-1e12, 1e12) | st.floats(-1e-3, 1e-3), min_size=1), st.sampled_from([32, 64]))
def test_floats_are_spelled_as_arrow_spells_them(values, bits):
    """One spelling in all text forms, whichever writes it."""
    with np.errstate(over="ignore"):
        floats = pa.array(np.asarray(values, f"float{bits}"))
    table = pa.table({"a": floats, "b": pa.array([0] * len(values))})
    payload = encoder_for(OutputOptions("out.csv")).encode(accept(table), None, None).payload.decode()
    assert payload == "".join(f"{text},0\n" for text in floats.cast(pa.string()).to_pylist())


@given(tables())
def test_json_lines_read_back(table):
    payload = encoder_for(OutputOptions("out.jsonl")).encode(accept(table), None, None).payload
    lines = payload.decode().split("\n")
    assert lines.pop() == ""
    expected = [
        {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    read = [{name: rounded(table, name, value) for name, value in json.loads(line).items()} for line in lines]
    assert read == expected


@given(st.lists(tables(st.just(["a", "b"])), max_size=4))
def test_parquet_holds_the_segments_of_one_schema_in_order(tmp_path_factory, segments):
    same_schema = [segment for segment in segments if segment.schema == segments[0].schema]
    folder = tmp_path_factory.mktemp("parquet")
    encoder = encoder_for(OutputOptions("out.parquet"))
    content, ends = b"", []
    for segment in same_schema:
        content += encoder.encode(accept(segment), None, None).payload
        ends.append(len(content))
    (folder / "spool").write_bytes(content)
    rows = finish_parquet(folder / "spool", ends, folder / "out.parquet", b"run")
    expected = [row for segment in same_schema for row in segment.to_pylist()]
    assert rows == len(expected)
    assert repr(parquet.read_table(folder / "out.parquet").to_pylist()) == repr(expected)  # repr: NaN equals NaN


@given(st.lists(st.none() | st.integers() | st.floats() | TEXT | st.lists(TEXT, max_size=2), max_size=6))
def test_the_text_form_of_a_list_is_one_str_a_line(items):
    payload = encoder_for(OutputOptions("out.txt")).encode(accept(items), None, None).payload
    assert payload == "".join(str(item) + "\n" for item in items).encode()


@given(st.lists(st.none() | st.integers() | st.floats() | TEXT | st.booleans(), min_size=1, max_size=6))
def test_any_list_of_values_keeps_its_length_in_every_form(items):
    returned = accept(items)
    for suffix in (".csv", ".jsonl"):
        payload = encoder_for(OutputOptions(f"out{suffix}")).encode(returned, None, None).payload.decode()
        assert len(list(csv.reader(io.StringIO(payload, newline="")))) == len(items) or suffix == ".jsonl"
        assert payload.count("\n") == len(items) or suffix == ".csv"


ONE_TYPE = st.sampled_from([st.text(max_size=4), st.floats(), st.integers(), st.booleans(), st.none() | st.text()])


@given(ONE_TYPE.flatmap(lambda values: st.lists(values, min_size=1, max_size=6)))
def test_a_list_becomes_the_column_that_arrow_makes_of_it(values):
    try:
        wanted = pa.array(values)
    except (pa.ArrowException, OverflowError):  # integers that need more than 64 bits
        wanted = pa.array(list(map(str, values)))
    made = tabulate(accept(values)).column("prediction")
    assert made.type == wanted.type
    assert str(made.to_pylist()) == str(wanted.to_pylist()), "as text, for NaN"


@given(st.integers(1, 12), st.data())
def test_rows_chosen_by_index_are_aligned_with_their_items(items, data):
    chosen = data.draw(st.lists(st.integers(0, items - 1), max_size=20))
    returned = accept(pd.DataFrame({"p": range(len(chosen))}, index=pd.Index(chosen, dtype="int64", name="row")))
    where = positions(returned, items, indexed=True)
    assert list(where) == chosen
    assert list(missing_items(where, items)) == sorted(set(range(items)) - set(chosen))


@given(st.lists(st.integers(-1, 6), max_size=6), st.integers(0, 6), st.sampled_from(["row", None, "other"]))
def test_an_index_is_believed_only_when_it_is_that_of_the_mini_batch(labels, items, name):
    series = pd.Series(range(len(labels)), index=pd.Index(labels, dtype="int64", name=name))
    found = positions(accept(series), items, indexed=True)
    believed = set(labels) <= set(range(items)) if name == "row" else sorted(labels) == list(range(items))
    if believed and name != "other":
        assert list(found) == labels
    elif len(labels) == items:
        assert list(found) == list(range(items))
    else:
        assert found is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), TEXT)
def test_every_record_carries_the_key_of_its_item(where, source):
    ordinals = np.arange(100, 106)
    keys = tabular_keys("auto", source, ordinals, pa.table({}))
    table = attach(pa.table({"p": where}), keys, np.array(where), len(where))
    assert table.to_pydict() == {
        "source": [source] * len(where),
        "row": [100 + item for item in where],
        "p": where,
    }


@given(tables(st.just(["a", "b"])))
def test_the_bytes_depend_on_the_mini_batch_alone(table):
    copy = pa.concat_tables([table.slice(0, 1), table.slice(1)])  # the same rows in other pieces of memory
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        encoder = encoder_for(OutputOptions(f"out{suffix}"))
        assert encoder.encode(accept(table), None, None) == encoder.encode(accept(copy), None, None)
