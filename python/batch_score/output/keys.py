"""The columns that tie an output record to its item."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from batch_score.arrow import compute as pc
from batch_score.column import EXACT, ROUNDED, as_column, as_texts, constant_text, has_large
from batch_score.errors import ConfigError, RecordError, ReturnTypeError
from batch_score.minibatch import ROW, path_text
from batch_score.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.minibatch import Range
    from batch_score.output.align import Positions
    from batch_score.output.tabulate import Column

Key: TypeAlias = Literal["auto", "none"] | tuple[str, ...]

SOURCE = "source"


def parse_key(value: str | Sequence[str]) -> Key:
    """Reads the key option.

    Args:
        value: `auto`, `none`, column names separated by commas, or a list of column names as they are (the only way
            to name a column that is called `auto`, or has a comma in its name).

    Returns:
        `auto`, `none`, or the column names.

    Raises:
        ConfigError: For an empty list, an empty name or a repeated one.
    """
    if value == "auto":
        return "auto"
    if value == "none":
        return "none"
    names = tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else tuple(value)
    if not names or "" in names or len(set(names)) < len(names):
        raise ConfigError(f"key {value!r} is not usable: give auto, none, or the names of different input columns")
    return names


def check_key(key: Key, schema: pa.Schema | None) -> None:
    """Refuses a key that names what the input does not have, or what does not tell rows apart.

    Args:
        key: What `parse_key()` returned.
        schema: Of a table; None for files, which have no columns.

    Raises:
        ConfigError: It does; the message has the nearest name.
    """
    if isinstance(key, str):
        return
    if schema is None:
        raise ConfigError(f"key {','.join(key)} names input columns, but files have none; use auto or none")
    for name in key:
        if name not in schema.names:
            near = nearest(name, schema.names)
            hint = f"did you mean {near!r}?" if near else f"its columns are {', '.join(schema.names)}"
            raise ConfigError(f"key names column {name!r}, which the input does not have; {hint}")
        if schema.field(name).metadata == ROUNDED:
            raise ConfigError(_rounded(name))


def tabular_keys(key: Key, source: str, ordinals: npt.NDArray[np.integer[Any]], table: pa.Table) -> pa.Table | None:
    """Builds the keys of a mini-batch of rows.

    Args:
        key: What `parse_key()` returned.
        source: Path of the file the rows come from.
        ordinals: `[items]`, ordinals of the rows in that file, counted from 0.
        table: The rows, one per ordinal; only a list of columns reads it, all of which it has.

    Returns:
        One row per item: `source` and `row`, or the named columns of the input; None without keys.

    Raises:
        RecordError: A column has integers that were read as floats, and that no float holds.
    """
    if key == "none":
        return None
    if key == "auto":
        rows = as_column(np.asarray(ordinals, dtype=np.int64))
        return pa.table({SOURCE: constant_text(path_text(source), len(rows)), ROW: rows})
    found = table.select(list(key))
    for field, values in zip(found.schema, found.columns, strict=True):
        if field.metadata == EXACT and has_large(values):
            raise RecordError(f"{source}: {_rounded(field.name)}")
    return pa.table(found.columns, names=found.column_names)  # without what was noted of the fields


def _rounded(name: str) -> str:
    """The message for a key column whose values no longer tell rows apart."""
    return (
        f"key column {name!r} has integers beyond 2^53 and empty fields, and is read as floats, of which one stands "
        f"for several integers; declare set_column_types {name}=string (in JSON Lines, put the values in quotes)"
    )


def joined_keys(
    key: Key, ranges: Sequence[Range], ordinals: npt.NDArray[np.integer[Any]], table: pa.Table
) -> pa.Table | None:
    """Builds the keys of a mini-batch of rows from several files; arguments and result are those of `tabular_keys`.

    Args:
        key: What `parse_key()` returned.
        ranges: The rows of each file.
        ordinals: `[items]`, ordinals of the rows, counted from 0 through all the files.
        table: The rows, one per ordinal; only a list of columns reads it.
    """
    if key != "auto":
        return tabular_keys(key, ranges[0].source, ordinals, table)
    starts = np.cumsum([0, *(one.rows for one in ranges[:-1])], dtype=np.int64)
    first = np.array([one.first_row for one in ranges], dtype=np.int64)
    files = np.searchsorted(starts, ordinals, side="right") - 1
    names = as_texts([path_text(one.source) for one in ranges])
    source = pa.DictionaryArray.from_arrays(as_column(files.astype(np.int32)), names)
    return pa.table({SOURCE: source, ROW: as_column(ordinals - starts[files] + first[files])})


def file_keys(key: Key, files: Sequence[str]) -> pa.Table | None:
    """Builds the keys of a mini-batch of files.

    Args:
        key: What `parse_key()` returned; no list of columns.
        files: Paths of the files.

    Returns:
        One row per file with its path as `source`; None without keys.
    """
    if key == "none":
        return None
    return pa.table({SOURCE: as_texts([path_text(file) for file in files])})


def attach(table: pa.Table, keys: pa.Table | None, positions: Positions | None, rows: int) -> pa.Table:
    """Puts the key columns before the columns of the result.

    Without alignment a key that is the same for all items (`source`, for rows of one file) is still known and
    kept; of the others, a result column of the same name takes the place, else the key is null.

    Args:
        table: `[rows]`, what `tabulate()` made.
        keys: `[items]`, one row per item; None for no keys.
        positions: `[rows]` positions into the items, None when they are unknown.
        rows: Number of elements that `run()` returned.

    Returns:
        A table of `rows` rows.

    Raises:
        ReturnTypeError: If a result column has the name of a key column but other values, or if there is no
            column at all.
    """
    if keys is None:
        if table.num_columns == 0:
            raise ReturnTypeError("run() returned elements without any column: return at least one value per element")
        return table
    result: dict[str, Column] = dict(zip(table.column_names, table.columns, strict=True))
    keyed: dict[str, Column] = {}
    for name, values in zip(keys.column_names, keys.columns, strict=True):
        known = _carried(values, positions, rows)
        returned = result.pop(name, None)
        if known is not None and returned is not None and not _same(known, returned):
            raise ReturnTypeError(
                f"run() returned a column {name!r} whose values differ from those of the key column of that name: "
                "rename it, or choose another key (none writes no key columns)"
            )
        if known is None:
            known = pa.nulls(rows, values.type) if returned is None else returned
        keyed[name] = known
    return pa.table({**keyed, **result})


def _carried(values: Column, positions: Positions | None, rows: int) -> Column | None:
    """Gives every record the key of its item, or None where it is unknown."""
    if positions is None:
        if len(values) == 0 or len(pc.unique(values)) > 1:
            return None
        return values.take(as_column(np.zeros(rows, dtype=np.int64)))
    return values if isinstance(positions, range) else values.take(as_column(positions))


def _same(key: Column, returned: Column) -> bool:
    """Whether a script returned a copy of the key. It may have come through pandas, which takes NaN for missing."""
    wanted = key.type.value_type if pa.types.is_dictionary(key.type) else key.type
    plain = returned.cast(returned.type.value_type) if pa.types.is_dictionary(returned.type) else returned
    try:
        known, copied = _chunked(key.cast(wanted)), _chunked(plain.cast(wanted))
        if known.equals(copied):
            return True
    except pa.ArrowException:
        known, copied = key, plain
    if pa.types.is_floating(wanted) and copied.type == wanted:
        return bool(_without_nan(known).equals(_without_nan(copied)))
    return pa.types.is_nested(wanted) and _same_values(known.to_pylist(), copied.to_pylist())


def _without_nan(column: Column) -> Column:
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _same_values(known: list[Any], copied: list[Any]) -> bool:
    """The same for nested values, of which those that have no common type were copied as text."""
    return all(
        (str(one) if isinstance(other, str) else _bare(one)) == _bare(other)
        for one, other in zip(known, copied, strict=True)
    )


def _bare(value: Any) -> Any:
    """A nested value without the difference of NaN and missing, and of tuples and lists."""
    if isinstance(value, dict):
        return {name: _bare(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _chunked(column: Column) -> Column:
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])
