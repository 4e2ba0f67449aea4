"""`MLTable` files: which files a table is made of, and how they are read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.column_types import bool_type, datetime_type
from batch_score.azureml.jobs.document import plain_path, told
from batch_score.azureml.names import check_names
from batch_score.config import ReaderOptions
from batch_score.config_file import yaml_mapping
from batch_score.dataset.origin import FILE
from batch_score.dataset.schema import PATH_COLUMN
from batch_score.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAME = "MLTable"
KEYS = ("$schema", "type", "paths", "transformations", "metadata", "traits", "description", "name", "version")
HEADERS = {
    "no_header": False,
    "from_first_file": True,
    "all_files_same_headers": True,
    "all_files_different_headers": True,
}
TYPES = {"int": "int64", "float": "float64", "string": "string", "boolean": "bool", "datetime": "datetime"}
# What may be said of a type, and what becomes of that.
DETAILED: Mapping[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "boolean": (("true_values", "false_values", "mismatch_as"), bool_type),
    "datetime": (("formats",), datetime_type),
}
# Options of the original's readers by our names.
COMMON = {"include_path_column": "include_path", "encoding": "encoding"}
DELIMITED = {
    **COMMON,
    "delimiter": "separator",
    "header": "header",
    "empty_as_string": "empty_as_string",
    "infer_column_types": "infer_column_types",
    "support_multi_line": "support_multi_line",
}
READERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "read_delimited": ("delimited", DELIMITED),
    "read_json_lines": ("jsonl", {**COMMON, "invalid_lines": "invalid_lines"}),
    "read_parquet": ("parquet", {"include_path_column": "include_path"}),
}
# What `mltable` writes when it saves a table: how it would cut files, and the name of the column with their paths.
PARTITION_SIZE, PATH_NAME = "partition_size", "path_column"
REFUSED = (
    *("filter", "skip", "take", "take_random_sample", "random_split", "convert_to_datetime", "read_delta_lake"),
    *("convert_column_types_json", "extract_partition_columns"),
)


@dataclass(frozen=True)
class Table:
    """What an MLTable file says.

    Attributes:
        paths: Files, folders and globs.
        kind: `file` without a reader among the transformations, else the kind of table.
        options: Reader options.
        keep: Columns to keep, all if empty.
        drop: Columns to leave out.
        without_effect: Options that were given and have no meaning here.
    """

    paths: tuple[str, ...]
    kind: str = FILE
    options: Mapping[str, Any] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    without_effect: tuple[str, ...] = ()


def read_mltable(folder: str) -> Table:
    """The table in a folder with an `MLTable` file, or in that file.

    Raises:
        InputError: There is no such file.
        ConfigError: It says what cannot be done here.
    """
    path = Path(folder)
    path = path / NAME if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: no such file; an input of type mltable is a folder with a file {NAME}")
    content = yaml_mapping(path)
    check_names(content, KEYS, str(path))
    table = Table(tuple(_path(one, path) for one in content.get("paths") or ()))
    if not table.paths:
        raise ConfigError(f"{path}: paths is missing; name files, folders or patterns")
    for step in content.get("transformations") or ():
        name, value = _named(step, path)
        table = STEPS[name](table, value, path)
    if table.kind == FILE and (table.keep or table.drop or "set_column_types" in table.options):
        raise ConfigError(f"{path}: columns are named, but no reader comes before; add one of {', '.join(READERS)}")
    try:
        ReaderOptions(**table.options)
    except ConfigError as error:
        raise ConfigError(f"{path}: {told(error, DELIMITED)}") from error
    return table


def _path(entry: Any, path: Path) -> str:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ConfigError(f"{path}: a path is 'file: PATH', 'folder: PATH' or 'pattern: GLOB', not {entry!r}")
    check_names(entry, ("file", "folder", "pattern"), str(path), "kind of path")
    text = plain_path(str(next(iter(entry.values()))))
    if ":" in text.split("/", maxsplit=1)[0]:
        raise InputError(f"{path}: {text} is not on this machine; download it and name the local path")
    return os.path.normpath(path.parent / text)


def _named(step: Any, path: Path) -> tuple[str, Any]:
    """Name and value of a transformation."""
    if isinstance(step, str):
        step = {step: None}
    if not isinstance(step, dict) or len(step) != 1:
        raise ConfigError(f"{path}: a transformation is one name with its settings, not {step!r}")
    name, value = next(iter(step.items()))
    if name in REFUSED:
        raise ConfigError(
            f"{path}: the transformation {name} is not done by this version; do it in the entry script, or to the files"
        )
    check_names([name], STEPS, str(path), "transformation")
    return str(name), value


def _reader(name: str) -> Callable[[Table, Any, Path], Table]:
    kind, known = READERS[name]

    def read(table: Table, value: Any, path: Path) -> Table:
        given = value or {}
        check_names(given, (*known, PARTITION_SIZE, PATH_NAME), f"{path}: {name}", "option")
        options = {known[key]: one for key, one in given.items() if key in known}
        if options.get("include_path") and given.get(PATH_NAME, PATH_COLUMN) != PATH_COLUMN:
            raise ConfigError(
                f"{path}: {name}: {PATH_NAME} is {given[PATH_NAME]!r}, but this version calls that column "
                f"{PATH_COLUMN}; write so, and read it by that name"
            )
        if "header" in options:
            options["header"] = _header(options["header"], table, path)
        if "encoding" in options:
            options["encoding"] = str(options["encoding"]).replace("-", "").replace("_", "")
        unused = (PARTITION_SIZE,) if PARTITION_SIZE in given else ()
        return replace(table, kind=kind, options={**table.options, **options}, without_effect=unused)

    return read


def _header(value: Any, table: Table, path: Path) -> bool:
    if isinstance(value, bool):
        return value
    check_names([value], HEADERS, f"{path}: header", "value")
    if value == "from_first_file" and (len(table.paths) > 1 or not Path(table.paths[0]).is_file()):
        raise ConfigError(
            f"{path}: header from_first_file needs a single file here, for each file is read by itself; "
            "give all files a header or none"
        )
    return HEADERS[value]


def _partition(table: Table, value: Any, path: Path) -> Table:
    if isinstance(value, dict):
        check_names(value, ("partition_format",), f"{path}: extract_columns_from_partition_format", "option")
        value = value.get("partition_format")
    return replace(table, options={**table.options, "partition_format": str(value)})


def _types(table: Table, value: Any, path: Path) -> Table:
    types = dict(table.options.get("set_column_types") or {})
    for one in value or ():
        if not isinstance(one, dict) or not {"columns", "column_type"} <= set(one):
            raise ConfigError(f"{path}: convert_column_types takes columns and their column_type, not {one!r}")
        check_names(one, ("columns", "column_type"), f"{path}: convert_column_types", "option")
        columns = [one["columns"]] if isinstance(one["columns"], str) else one["columns"]
        types |= dict.fromkeys(map(str, columns), _type(one["column_type"], f"{path}: convert_column_types"))
    return replace(table, options={**table.options, "set_column_types": types})


def _type(given: Any, where: str) -> str:
    """Our name of a type, which may have details: `datetime`, or `datetime` with `formats` below it."""
    if not isinstance(given, dict):
        given = {given: None}
    if len(given) != 1:
        raise ConfigError(f"{where}: column_type is one type with its details, not {given!r}")
    ((kind, details),) = given.items()
    check_names([kind], TYPES, where, "type")
    known, found = DETAILED.get(kind, ((), None))
    if details is not None and not isinstance(details, dict):
        raise ConfigError(f"{where}: the details of {kind} must be 'name: value' lines, found {details!r}")
    check_names(details or (), known, f"{where}: {kind}", "option")
    try:
        return TYPES[kind] if found is None else found(**(details or {}))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _keep(table: Table, value: Any, path: Path) -> Table:
    return replace(table, keep=_columns(value, path))


def _drop(table: Table, value: Any, path: Path) -> Table:
    return replace(table, drop=(*table.drop, *_columns(value, path)))


def _columns(value: Any, path: Path) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise ConfigError(f"{path}: keep_columns and drop_columns take names of columns, got {value!r}")
    return tuple(map(str, value))


STEPS: Mapping[str, Callable[[Table, Any, Path], Table]] = {
    **{name: _reader(name) for name in READERS},
    "extract_columns_from_partition_format": _partition,
    "convert_column_types": _types,
    "keep_columns": _keep,
    "drop_columns": _drop,
}
