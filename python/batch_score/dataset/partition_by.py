"""Writing a table as one folder for each combination of keys, in bounded memory."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.arrow import compute as pc
from batch_score.arrow import parquet as pq
from batch_score.column import as_column
from batch_score.errors import ConfigError, InputError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from batch_score.dataset.tabular import TabularDataset

# Bytes of a file that are read at a time.
READ_BYTES = 32 << 20
# Bytes in memory from which each combination gets another file: no file stays open, however many combinations there
# are, and nothing grows.
HELD_BYTES = 128 << 20
LONGEST_NAME = 255
MOMENT = "yyyy-MM-ddTHH-mm-ss"
DAY = "yyyy-MM-dd"


def write_partitions(dataset: TabularDataset, keys: tuple[str, ...], folder: Path) -> str:
    """Writes the rows of `dataset` into folders below `folder`, and gives the `partition_format` that reads them.

    The folder appears when all is written. Arguments and errors are those of `TabularDataset.partition_by`.
    """
    names = _checked(dataset.schema, keys)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is there already and not an empty folder; give another target")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        draft.mkdir(parents=True)
        _write(dataset, keys, draft)
        draft.replace(folder)
    except OSError as error:
        raise OutputError(f"{folder} could not be written: {error}; give a target that can be written") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return f"/{'/'.join(names)}/*.parquet"


def _checked(schema: pa.Schema, keys: tuple[str, ...]) -> list[str]:
    """The keys as the format has them."""
    if not keys or len(set(keys)) < len(keys):
        raise ConfigError(f"partition_by needs different columns as keys, got {', '.join(keys) or 'none'}")
    for name in keys:
        if name not in schema.names:
            raise ConfigError(f"partition_by: there is no column {name!r}; the columns are {', '.join(schema.names)}")
        if not name or set(name) & set("{}:"):
            raise ConfigError(f"partition_by: {name!r} cannot stand in a partition_format; rename the column")
    if len(keys) == len(schema.names):
        raise ConfigError("partition_by: all columns are keys, which leaves none for the files; leave one out")
    return [_placeholder(schema.field(name)) for name in keys]


def _placeholder(column: pa.Field[Any]) -> str:
    kind, known = column.type, pa.types
    if known.is_timestamp(kind) and kind.tz is None:
        return f"{{{column.name}:{MOMENT}}}"
    if known.is_date(kind):
        return f"{{{column.name}:{DAY}}}"
    if known.is_integer(kind) or known.is_boolean(kind) or known.is_string(kind) or known.is_large_string(kind):
        return f"{{{column.name}}}"
    raise ConfigError(
        f"partition_by: folders cannot be named by column {column.name!r}, which is {kind}; "
        "text, whole numbers, flags, dates and times without a zone can be keys"
    )


def _write(dataset: TabularDataset, keys: tuple[str, ...], folder: Path) -> None:
    waiting: list[pa.Table] = []
    size = number = 0
    for table in _tables(dataset, keys):
        waiting.append(table)
        size += table.nbytes
        if size >= HELD_BYTES:
            _write_parts(waiting, keys, folder, number)
            waiting, size, number = [], 0, number + 1
    if waiting:
        _write_parts(waiting, keys, folder, number)


def _tables(dataset: TabularDataset, keys: tuple[str, ...]) -> Iterator[pa.Table]:
    """All rows, the keys as names of folders."""
    reader = dataset.reader(os.getcwd())  # noqa: PTH109 - text is what is joined
    for chunk in dataset.plan(READ_BYTES, dataset=0, first_index=0):
        for minibatch in chunk:
            table = reader.read(minibatch).all_rows()
            for name in keys:
                table = table.set_column(table.column_names.index(name), name, _names(name, table[name]))
            yield table


def _write_parts(tables: list[pa.Table], keys: tuple[str, ...], folder: Path, number: int) -> None:
    """One file for each combination in `tables`, in the order of their rows."""
    table = pa.concat_tables(tables).combine_chunks()
    tables.clear()
    combination = np.zeros(table.num_rows, np.int64)
    for name in keys:
        values: Any = table[name].combine_chunks().dictionary_encode()
        # Numbered anew for each key, so that they cannot become too large.
        combination = combination * len(values.dictionary) + values.indices.to_numpy()
        combination = np.unique(combination, return_inverse=True)[1]
    order = np.argsort(combination, kind="stable")
    names, rest = table.select(list(keys)), table.drop_columns(list(keys))
    for rows in np.split(order, np.flatnonzero(np.diff(combination[order])) + 1):
        first = names.slice(int(rows[0]), 1).to_pylist()[0]
        place = folder.joinpath(*first.values())
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(rest.take(as_column(rows)), place / f"part-{number:05}.parquet")


def _names(key: str, column: pa.ChunkedArray[Any]) -> Any:
    """The values of a key as names of folders."""
    kind: Any = column.type
    if pa.types.is_temporal(kind):
        found = _moments(key, column, DAY if pa.types.is_date(kind) else MOMENT)
    else:
        found = column.cast(pa.string())
    for value in pc.unique(found).to_pylist():
        reason = _unfit(value)
        if reason:
            raise InputError(
                f"partition_by: {_shown(value)} in column {key!r} cannot name a folder: {reason}; give another value"
            )
    return found


def _moments(key: str, column: pa.ChunkedArray[Any], form: str) -> Any:
    try:
        whole: Any = column.cast(pa.timestamp("s"))
    except pa.ArrowInvalid as error:
        raise InputError(
            f"partition_by: column {key!r} has a time with a fraction of a second, which no path can have; round it"
        ) from error
    return pc.strftime(whole, format="%Y-%m-%d" if form == DAY else "%Y-%m-%dT%H-%M-%S")


def _unfit(value: str | None) -> str:
    """Why a value cannot name a folder; empty when it can."""
    if not value:
        return "it is empty"
    if "/" in value or "\0" in value:
        return "it has a slash or a zero byte"
    if value.startswith("."):
        return "a dot at the beginning hides the folder"
    return "it is too long" if len(value.encode()) > LONGEST_NAME else ""


def _shown(value: str | None) -> str:
    return "null" if value is None else repr(value if len(value) <= LONGEST_NAME else f"{value[:40]} ...")
