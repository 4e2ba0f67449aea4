"""Which dataset the inputs of a command line make, by the extensions of their files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from batch_score import _native
from batch_score.dataset.files import FileDataset
from batch_score.dataset.origin import Origin
from batch_score.dataset.source import COMPRESSED
from batch_score.dataset.tabular import TabularDataset, listed
from batch_score.errors import ConfigError, InputError
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.config import ReaderOptions

KINDS = {"delimited": (".csv", ".tsv"), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}


def suffixes(kind: str) -> list[str]:
    """The extensions of a kind of table, compressed ones included."""
    packed = ("",) if kind == "parquet" else ("", *COMPRESSED)
    return [suffix + pack for suffix in KINDS[kind] for pack in packed]


def dataset_of(
    inputs: Sequence[str], options: ReaderOptions, input_type: str | None = None
) -> TabularDataset | FileDataset:
    """The dataset of `inputs`.

    Args:
        inputs: Files, folders and globs.
        options: How tables are read.
        input_type: `tabular` or `file`; None decides by the extensions.

    Raises:
        InputError: Nothing is there, the extensions are mixed, or a table cannot be read.
        ConfigError: An option of tables is given for files.
    """
    if input_type == "file":
        return _files(inputs, options)
    tables = [suffix for kind in KINDS for suffix in suffixes(kind)]
    matching, other, table, file = _native.count_by_suffix(inputs, tables)
    if matching and other and input_type is None:
        raise InputError(
            f"the input mixes tables ({table}) and other files ({file}); give --input-type tabular or file, "
            "or inputs of one kind"
        )
    if not matching and input_type is None:
        return _files(inputs, options)
    paths = listed(list(inputs))
    found = TabularDataset.detect(paths, options, _kind(paths))
    return replace(found, origin=Origin(_kind(paths), tuple(inputs), options))  # a resumed run lists them again


def _files(inputs: Sequence[str], options: ReaderOptions) -> FileDataset:
    given = [name for name in plain(options) if name != "partition_format"]
    if given:
        raise ConfigError(
            f"{given[0]} is for tables, but the input is files ({inputs[0]}); leave it out or give --input-type tabular"
        )
    return FileDataset.from_files(list(inputs), partition_format=options.partition_format)


def _kind(paths: Sequence[str]) -> str:
    """The one kind of table all paths are; files without a known extension count as delimited text."""
    found: dict[str, str] = {}
    for path in paths:
        kind = next((kind for kind in KINDS if path.lower().endswith(tuple(suffixes(kind)))), "delimited")
        found.setdefault(kind, path)
    if len(found) > 1:
        examples = " and ".join(f"{kind} ({path})" for kind, path in found.items())
        raise InputError(f"the input mixes {examples}; score each kind of table apart")
    return next(iter(found))
