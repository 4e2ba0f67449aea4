"""The laws of Parquet's columns: whatever segments are admitted become one file with the values that were returned.

Arrays are made of raw buffers' worth of numbers, with values under nulls, so that no type is too odd. The twin walks
through them value by value.
"""

import itertools
import math

import numpy as np
import pyarrow as pa
from hypothesis import event, given
from hypothesis import strategies as st
from pyarrow import parquet

from batch_score.errors import OutputError, ReturnTypeError
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.parquet import UnitedSchema, finish_parquet, join_segments, spool_schema
from batch_score.output.publish import draft_of
from batch_score.output.returned import accept
from batch_score.output.widening import NoTypeError, wider

PARQUET = encoder_for(OutputOptions("out.parquet"))
UNITS = ("s", "ms", "us", "ns")
NS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
DAY_MS = 86_400_000

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]
DECIMALS = [pa.decimal128(5, 2), pa.decimal32(5, 0), pa.decimal128(5, -2), pa.decimal128(38, 0), pa.decimal256(70, 60)]
FAMILIES = [
    [*INTEGERS, *FLOATS, pa.null()],
    [*INTEGERS, *DECIMALS],
    [pa.timestamp(unit, zone) for unit in UNITS for zone in (None, "UTC")],
    [pa.duration(unit) for unit in UNITS],
    [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")],
    [pa.date32(), pa.date64()],
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())],
    [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(0), pa.binary(2), pa.binary(3), pa.string()],
    [pa.bool_(), pa.null(), pa.dictionary(pa.int8(), pa.int64()), pa.int32(), pa.month_day_nano_interval()],
]
# What may be on the outside of the same column.
OUTER = {"list": ["list", "large", "view", "fixed"], "struct": ["struct"], "map": ["map"]}
EDGES = [0, 1, 127, 2**24 + 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
FAR = [0, 1, 10**10, 2**63 // 10**9, 2**63 // 10**6, 2**63 // 10**3, 2**63 - 1]


@st.composite
def leaves(draw, kind, rows):
    """An array of one of the types above, as raw as pyarrow lets one make it."""
    if pa.types.is_null(kind):
        return pa.nulls(rows)
    if pa.types.is_dictionary(kind):
        return draw(leaves(kind.value_type, rows)).dictionary_encode().cast(kind)
    cells = draw(st.lists(st.none() | values_of(kind), min_size=rows, max_size=rows))
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return pa.array(cells, pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)
    if pa.types.is_decimal(kind):
        whole = [None if cell is None else int(cell) for cell in cells]
        return pa.array(whole, pa.decimal128(3, 0)).cast(pa.decimal256(76, 5)).cast(kind, safe=False)
    return pa.array(cells, kind)


def values_of(kind):
    """Values as pyarrow takes them for an array of the type, or of the integers below it."""
    found = next((form for applies, form in VALUES if applies(kind)), None)
    return st.sampled_from(["", "a", "é"]) if found is None else found(kind)


def integers(kind):
    low = 0 if pa.types.is_unsigned_integer(kind) else -(2 ** (kind.bit_width - 1))
    high = 2**kind.bit_width - 1 + low
    return st.sampled_from([edge for near in EDGES for edge in (near, -near) if low <= edge <= high])


def floats(kind):
    return st.floats(width=kind.bit_width).map(np.dtype(f"f{kind.bit_width // 8}").type)


def dates(kind):
    return st.integers(-(10**5), 10**5).map(lambda days: days * (DAY_MS if kind == pa.date64() else 1))


VALUES = [
    (pa.types.is_integer, integers),
    (pa.types.is_floating, floats),
    (pa.types.is_timestamp, lambda _: st.sampled_from([far * sign for far in FAR for sign in (1, -1)])),
    (pa.types.is_duration, lambda _: st.sampled_from([far * sign for far in FAR for sign in (1, -1)])),
    (pa.types.is_interval, lambda _: st.just((1, 2, 3))),
    (pa.types.is_time, lambda _: st.integers(0, 86_399)),
    (pa.types.is_date, dates),
    (pa.types.is_decimal, lambda _: st.sampled_from([0, 100, -200])),
    (pa.types.is_boolean, lambda _: st.booleans()),
    (pa.types.is_fixed_size_binary, lambda kind: st.just(b"x" * kind.byte_width)),
    (lambda kind: "binary" in str(kind), lambda _: st.sampled_from([b"", b"\xff"])),
]


@st.composite
def arrays(draw, family, shape, rows):
    """An array of one of the family's types inside of what `shape` says from the outside to the inside."""
    if not shape:
        return draw(leaves(draw(st.sampled_from(family)), rows))
    outer, *rest = shape
    mask = pa.array(draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), pa.bool_())
    if outer == "struct":
        names = draw(st.sampled_from([["a"], ["b"], ["b", "a"], []]))
        children = [draw(arrays(family, rest, rows)) for _ in names]
        fields = [pa.field(name, child.type) for name, child in zip(names, children, strict=True)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=mask) if names else pa.array([{}] * rows)
    if outer == "fixed":
        size = draw(st.integers(1, 2))
        return pa.FixedSizeListArray.from_arrays(draw(arrays(family, rest, rows * size)), size, mask=mask)
    sizes = draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))
    return lists(outer, sizes, draw(arrays(family, rest, sum(sizes))), mask)


def lists(outer, sizes, child, mask):
    offsets = pa.array([0, *itertools.accumulate(sizes)], pa.int64() if outer == "large" else pa.int32())
    if outer == "map":
        return pa.MapArray.from_arrays(offsets, pa.array(range(len(child)), pa.int8()), child, mask=mask)
    if outer == "view":
        return pa.ListViewArray.from_arrays(offsets[:-1], pa.array(sizes, pa.int32()), child)
    return (pa.LargeListArray if outer == "large" else pa.ListArray).from_arrays(offsets, child, mask=mask)


@st.composite
def returns(draw):
    """What calls of `run()` return: tables with some of the columns `a` and `b`, in pieces of memory."""
    columns = {
        name: (draw(st.sampled_from(FAMILIES)), draw(st.lists(st.sampled_from(list(OUTER)), max_size=2)))
        for name in "ab"
    }
    found = []
    for _ in range(draw(st.integers(1, 6))):
        rows = draw(st.integers(1, 3))
        names = draw(st.sampled_from([["a"], ["b", "a"]]))
        shapes = {name: [draw(st.sampled_from(OUTER[outer])) for outer in columns[name][1]] for name in names}
        table = pa.table({name: draw(arrays(columns[name][0], shapes[name], rows)) for name in names})
        found.append(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    return found


def twin(array):
    """The values of an array, exact and comparable over types; a null in a struct is as if it were not there."""
    kind = array.type
    if pa.types.is_struct(kind):
        children = {kind.field(at).name: twin(array.field(at)) for at in range(kind.num_fields)}
        return [
            {name: cells[row] for name, cells in children.items() if cells[row] is not None} if there else None
            for row, there in enumerate(array.is_valid().to_pylist())
        ]
    if pa.types.is_nested(kind):
        return [twin(scalar.values) if scalar.is_valid else None for scalar in array]
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        return [None if raw is None else raw * factor(kind) for raw in array.view(f"int{kind.bit_width}").to_pylist()]
    cells = [str(scalar) if pa.types.is_interval(kind) and scalar.is_valid else scalar.as_py() for scalar in array]
    return ["NaN" if isinstance(cell, float) and math.isnan(cell) else cell for cell in cells]


def factor(kind):
    return {"date32[day]": DAY_MS, "date64[ms]": 1}.get(str(kind)) or NS[kind.unit]


def rows_of(table, names):
    columns = {name: [cell for chunk in table[name].chunks for cell in twin(chunk)] for name in table.column_names}
    empty = [None] * table.num_rows
    return [columns.get(name, empty) for name in names]


def admitted(united, tables):
    """Those of the tables that can be written together, with their segments."""
    for table in tables:
        try:
            payload = PARQUET.encode(accept(table), None, None).payload
            united.admit(payload)
        except (ReturnTypeError, OutputError) as error:
            event(type(error).__name__)
            continue
        yield table, payload


@given(returns(), st.data())
def test_whatever_was_admitted_becomes_one_file_with_every_value(tmp_path, returned, data):
    united = UnitedSchema()
    pairs = data.draw(st.permutations(list(admitted(united, returned))))
    event(f"admitted {len(pairs)}")
    content, ends, start = b"", [], 0
    while start < len(pairs):
        stop = data.draw(st.integers(start + 1, len(pairs)))
        payloads = [payload for _, payload in pairs[start:stop]]
        content += payloads[0] if len(payloads) == 1 else join_segments(payloads)
        ends.append(len(content))
        start = stop
    (tmp_path / "spool").write_bytes(content)
    target = tmp_path / "out.parquet"
    for left in (target, draft_of(target, b"run")):  # by the example before
        left.unlink(missing_ok=True)
    finish_parquet(tmp_path / "spool", ends, target, b"run")
    file = parquet.read_table(target)
    names = united.schema.names
    assert sorted(file.column_names) == sorted(names)
    expected = [list(itertools.chain(*cells)) for cells in zip(*(rows_of(one, names) for one, _ in pairs), strict=True)]
    assert rows_of(file, names) == expected
    known = spool_schema(tmp_path / "spool", ends)
    assert known.schema.equals(
        pa.schema([known.schema.field(name) for name in known.schema.names]), check_metadata=True
    )
    assert {one.name: ordered(one.type) for one in known.schema} == {
        one.name: ordered(one.type) for one in united.schema
    }


def ordered(kind):
    """A type in words that do not depend on the order of fields."""
    if pa.types.is_map(kind):
        return "map", ordered(kind.key_type), ordered(kind.item_type)
    if pa.types.is_nested(kind):
        fields = [kind.field(at) for at in range(kind.num_fields)]
        size = kind.list_size if pa.types.is_fixed_size_list(kind) else None
        inside = sorted((one.name if pa.types.is_struct(kind) else "", str(ordered(one.type))) for one in fields)
        return type(kind).__name__, size, tuple(inside)
    return str(kind)


@given(returns(), st.data())
def test_the_order_decides_neither_whether_columns_fit_nor_their_type(returned, data):
    fields = []
    for table in returned:
        try:
            payload = PARQUET.encode(accept(table.select(["a"])), None, None).payload
        except ReturnTypeError:
            continue
        found = pa.ipc.open_stream(payload).schema.field("a")
        if not pa.types.is_dictionary(found.type):
            fields.append(found)
    kinds = {str(joined(fields)), str(joined(data.draw(st.permutations(fields))))}
    event(f"{len(fields)} {'None' not in kinds}")
    assert len(kinds) == 1


def joined(fields):
    try:
        whole = fields[0] if fields else pa.field("a", pa.null())
        for one in fields[1:]:
            whole = wider(whole, one)
    except NoTypeError:
        return None
    return ordered(whole.type)
