"""Column types, settled once per dataset so that they never change from one mini-batch to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch_score.column import EXACT, ROUNDED, has_large
from batch_score.errors import ConfigError
from batch_score.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

TYPES: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "int": pa.int64(),
    "long": pa.int64(),
    "float64": pa.float64(),
    "float32": pa.float32(),
    "float": pa.float64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "str": pa.string(),
    "datetime": pa.timestamp("ns"),
}
PATH_COLUMN = "Path"


def seen(sample: pa.Table) -> pa.Schema:
    """Name and type of the columns of a part of the input.

    Nullable are those in which a value is missing; those with integers that no float holds are marked as ROUNDED.
    """
    columns = zip(sample.schema, sample.columns, strict=True)
    return pa.schema([_seen(field, column) for field, column in columns])


def _seen(field: pa.Field[Any], column: pa.ChunkedArray[Any]) -> pa.Field[Any]:
    return pa.field(field.name, field.type, column.null_count > 0, ROUNDED if has_large(column) else None)


def joined(first: Iterable[pa.Field[Any]], other: Iterable[pa.Field[Any]]) -> pa.Schema:
    """What was seen in two parts together. What one of them lacks is missing there.

    Of two types of a column the wider one holds for both, as for integers and floats; where none is wider, the first.
    """
    one, two = {field.name: field for field in first}, {field.name: field for field in other}
    fields = one | two
    both = one.keys() & two.keys()
    return pa.schema(
        [_wider(one[name], two[name]) if name in both else fields[name].with_nullable(True) for name in fields]
    )


def _wider(first: pa.Field[Any], other: pa.Field[Any]) -> pa.Field[Any]:
    missing = first.nullable or other.nullable
    if isinstance(first.type, pa.StructType) and isinstance(other.type, pa.StructType):
        return pa.field(first.name, pa.struct(list(joined(first.type, other.type))), missing)
    try:
        found = pa.unify_schemas([pa.schema([first]), pa.schema([other])], promote_options="permissive").field(0)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        found = first
    return pa.field(first.name, found.type, missing, first.metadata or other.metadata)


def settle(sample: pa.Schema, declared: Mapping[str, str] | None) -> pa.Schema:
    """The dataset's schema from its first part.

    Integers, floats and booleans are taken as they look; all other text stays text (dates too, unless declared:
    reading them is the script's choice). An integer column with empty fields becomes float64, as pandas has it.
    A column of integers without empty fields is not nullable: a later empty field does not fit it. Neither does
    one fit a column that was declared as integers.

    Args:
        sample: What was seen in the first part.
        declared: Types by column name; they win.

    Raises:
        ConfigError: A declared column or type is unknown.
    """
    declared = declared or {}
    check_declared(declared, sample.names)
    return pa.schema([_settled(field, declared.get(field.name)) for field in sample])


def check_declared(declared: Iterable[str], columns: Sequence[str]) -> None:
    """Refuses the name of a column that there is none of, with ConfigError."""
    known = set(columns)
    for name in declared:
        if name not in known:
            near = nearest(name, columns)
            hint = f"did you mean {near!r}?" if near else f"the columns are {', '.join(columns)}"
            raise ConfigError(f"set_column_types names column {name!r}, which the input does not have; {hint}")


def _settled(column: pa.Field[Any], declared: str | None) -> pa.Field[Any]:
    name = column.name
    if declared is not None:
        return declared_field(name, declared)
    if pa.types.is_integer(column.type):
        whole = pa.field(name, pa.int64(), nullable=False)
        return pa.field(name, pa.float64(), metadata=column.metadata or EXACT) if column.nullable else whole
    if pa.types.is_boolean(column.type):
        return pa.field(name, pa.bool_(), nullable=column.nullable)
    if pa.types.is_floating(column.type):
        return pa.field(name, column.type, metadata=column.metadata)
    return pa.field(name, _dates_as_text(column.type) if pa.types.is_nested(column.type) else pa.string())


def _dates_as_text(kind: pa.DataType) -> pa.DataType:
    """A type of JSON values in which text that looks like a date is text, as it is in a column of its own."""
    if isinstance(kind, pa.StructType):
        return pa.struct([pa.field(one.name, _dates_as_text(one.type)) for one in kind])
    if isinstance(kind, pa.ListType):
        return pa.list_(_dates_as_text(kind.value_type))
    return pa.string() if pa.types.is_timestamp(kind) else kind


def declared_field(name: str, kind: str) -> pa.Field[Any]:
    """A column of a type in `set_column_types`. One of integers has no empty fields: pandas would make it floats."""
    found = named_type(kind)
    return pa.field(name, found, nullable=not pa.types.is_integer(found))


def nullable(schema: pa.Schema) -> pa.Schema:
    """The same columns, all of which may be empty: what a parser gets, so that it does not refuse a whole file part."""
    return pa.schema([pa.field(column.name, column.type) for column in schema])


def named_type(name: str) -> pa.DataType:
    """The Arrow type of a name in `set_column_types`."""
    found = TYPES.get(name.lower())
    if found is None:
        raise ConfigError(f"set_column_types: unknown type {name!r}; known are {', '.join(TYPES)}")
    return found


def unfit(table: pa.Table, schema: pa.Schema) -> dict[int, str]:
    """Rows that are empty in a column that `schema` has not as nullable: position in the table to the message."""
    found: dict[int, str] = {}
    for name, values in zip(table.column_names, table.columns, strict=True):
        if not values.null_count or (column := schema.field(name)).nullable:
            continue
        for row in values.is_null().combine_chunks().to_numpy(zero_copy_only=False).nonzero()[0]:
            found.setdefault(int(row), _empty_field(column))
    return found


def _empty_field(column: pa.Field[Any]) -> str:
    """The message for an empty field in a column whose settled type has no value for it."""
    if pa.types.is_string(column.type):  # of a model: all other text may be empty
        remedy = "fill the gaps in the data (in delimited text, --empty-as-string does)"
    else:
        wider = "float64" if pa.types.is_integer(column.type) else "bool"
        remedy = f"declare set_column_types {column.name}={wider} if the scorer takes empty fields"
    return f"column {column.name!r} is empty, which its settled type {column.type} cannot be; {remedy}"


def narrowed(schema: pa.Schema, columns: Sequence[str], types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of `schema` that are to be read, in that order, with another type where `types` gives one.

    `types` are what a model takes: of these, only floats have a value (NaN) for an empty field.
    """
    fields = [schema.field(name) for name in columns]
    return pa.schema([_served(one, types[one.name]) if one.name in types else one for one in fields])


def _served(field: pa.Field[Any], kind: pa.DataType) -> pa.Field[Any]:
    """`field` as `kind`, or as what the readers of text can make, if the model's side can make `kind` of that."""
    if pa.types.is_boolean(field.type):
        return pa.field(field.name, field.type, nullable=pa.types.is_floating(kind))  # `true` is no number in a text
    wanted = pa.float64() if pa.types.is_float16(kind) else kind
    return pa.field(field.name, wanted, nullable=pa.types.is_floating(wanted))
