"""Datasets and outputs as pipeline code of SDK v1 spells them: `azureml.core.Dataset` and what `azureml.data` has.

A dataset is one of batch_score's own with a few more methods. Mounting, downloading and uploading are the same here:
the script gets a path of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self
from uuid import uuid4

from batch_score.azureml import registered
from batch_score.azureml.column_types import INSTEAD, bool_type, datetime_type
from batch_score.azureml.data.absent import OF_FILES, OF_ROWS, Advising
from batch_score.dataset import files as own_files
from batch_score.dataset import tabular as own_tables
from batch_score.dataset.origin import FILE, Origin
from batch_score.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

DELIMITED, PARQUET, JSONL = "delimited", "parquet", "jsonl"
DATASETS = "BATCH_SCORE_DATASETS"


class DataType:
    """Types of columns for `set_column_types`."""

    @staticmethod
    def to_bool(true_values: Any = None, false_values: Any = None, mismatch_as: Any = None) -> str:
        """True or false.

        Raises:
            ConfigError: The values are other ones than true, false, 1 and 0, or a mismatch is to be a value.
        """
        return bool_type(true_values, false_values, mismatch_as)

    @staticmethod
    def to_datetime(formats: Any = None) -> str:
        """A date with a time.

        Raises:
            ConfigError: A format is not ISO 8601, the only one that is read.
        """
        return datetime_type(formats)

    @staticmethod
    def to_float(decimal_mark: str = ".") -> str:
        """A number of 64 bits; ConfigError for another decimal mark than a point."""
        if decimal_mark != ".":
            raise ConfigError(f"numbers with the decimal mark {decimal_mark!r} are not read by this version; {INSTEAD}")
        return "float64"

    @staticmethod
    def to_long(*_: Any, **_others: Any) -> str:
        """A whole number of 64 bits."""
        return "int64"

    @staticmethod
    def to_string(*_: Any, **_others: Any) -> str:
        """Text."""
        return "string"


class FileDataset(Advising, own_files.FileDataset):
    """Files to score; also what a script step gets as a folder."""

    _instead = OF_FILES

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """The dataset as an input of that name."""
        return DatasetConsumptionConfig(name, self)

    def as_mount(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """The dataset as an input without a name of its own."""
        return DatasetConsumptionConfig("", self).as_mount(path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> DatasetConsumptionConfig:
        """As `as_mount`: the files are here already."""
        return self.as_mount(path_on_compute)

    def to_path(self) -> list[str]:
        """The paths of all files."""
        return own_tables.listed(list(self.inputs))

    def download(self, target_path: str | Path, overwrite: bool = False, **_: Any) -> list[str]:  # noqa: FBT001, FBT002 - as existing code gives it
        """Copies the files into a folder; gives the paths of the copies."""
        paths = [Path(name) for name in self.to_path()]
        root = Path(os.path.commonpath([path.absolute().parent for path in paths]))
        found = []
        for path in paths:
            target = Path(target_path, path.absolute().relative_to(root))
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and not overwrite:
                raise InputError(f"{target} is there already; give overwrite=True or another folder")
            found.append(str(shutil.copy2(path, target)))
        return found

    def register(self, workspace: Any, name: str, description: str | None = None, **about: Any) -> Self:
        """Keeps the dataset under a name; see `Dataset.get_by_name`."""
        registered.register(workspace, name, self.origin, description, **about)
        return self


@dataclass(frozen=True)
class TabularDataset(Advising, own_tables.TabularDataset):
    """Rows to score.

    Attributes:
        narrowed: Not all columns of the files are read.
    """

    narrowed: bool = field(default=False, kw_only=True)
    _instead = OF_ROWS

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """The dataset as an input of that name."""
        return DatasetConsumptionConfig(name, self)

    def keep_columns(self, columns: str | Sequence[str], validate: bool = False) -> Self:  # noqa: FBT001, FBT002 - as existing code gives it
        """The same rows with these columns only."""
        del validate
        return replace(self.keep([columns] if isinstance(columns, str) else list(columns)), narrowed=True)

    def drop_columns(self, columns: str | Sequence[str]) -> Self:
        """The same rows without these columns."""
        dropped = {columns} if isinstance(columns, str) else set(columns)
        return self.keep_columns([name for name in self.schema.names if name not in dropped])

    def to_pandas_dataframe(self, *_: Any, **_others: Any) -> pd.DataFrame:
        """All rows, numbered from 0.

        Raises:
            RecordError: A row cannot be read.
        """
        import pandas as pd  # noqa: PLC0415 - slow to import, and pipelines do without it

        reader = self.reader(str(Path.cwd()))
        tables = [
            reader.read(one).all_rows().to_pandas(integer_object_nulls=True)
            for chunk in self.plan(None, dataset=0, first_index=0)
            for one in chunk
        ]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=self.schema.names)

    def partition_by(  # type: ignore[override] # the SDK's own parameters
        self,
        partition_keys: Sequence[str],
        target: Any,
        name: str | None = None,
        show_progress: bool = True,  # noqa: FBT001, FBT002 - as existing code gives it
        partition_as_file_dataset: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> TabularDataset | FileDataset:
        """Writes the rows as Parquet into a new folder below `target`, one folder for each combination of keys.

        Args:
            partition_keys: Columns, outermost folder first.
            target: A folder, or `(datastore, path)`.
            name: The dataset is also registered under this name.
            show_progress: Not used: nothing is shown.
            partition_as_file_dataset: The result is a dataset of files instead of rows.

        Returns:
            The written files with their keys; raises as `batch_score.TabularDataset.partition_by`.
        """
        del show_progress
        found = super().partition_by(partition_keys, Path(paths_of(target)[0], uuid4().hex))
        made: TabularDataset | FileDataset = found
        if partition_as_file_dataset and found.origin is not None:
            made = FileDataset.from_files(found.origin.inputs, partition_format=found.origin.options.partition_format)
        return made if name is None else made.register(None, name, create_new_version=True)

    def register(self, workspace: Any, name: str, description: str | None = None, **about: Any) -> Self:
        """Keeps the dataset under a name; see `Dataset.get_by_name`."""
        if self.origin is None or self.narrowed:
            raise ConfigError(f"dataset {name!r} has not all columns of its files; register the one with all of them")
        registered.register(workspace, name, self.origin, description, **about)
        return self


@dataclass(frozen=True)
class DatasetConsumptionConfig:
    """A dataset as the input of a step.

    Attributes:
        name: Of the input; empty: the step gives it one.
        dataset: The data: a dataset, an output of another step, or a PipelineParameter that has one.
        mode: `mount`, `download` or `direct`; a script gets a path whatever it is.
        path_on_compute: Kept; the path that the script gets is the one in its arguments.
    """

    name: str
    dataset: Any
    mode: str = "direct"
    path_on_compute: str | None = None

    def as_mount(self, path_on_compute: str | None = None) -> Self:
        """The input as a path."""
        return replace(self, mode="mount", path_on_compute=path_on_compute)

    def as_download(self, path_on_compute: str | None = None) -> Self:
        """As `as_mount`: the files are here already."""
        return self.as_mount(path_on_compute)

    def as_direct(self) -> Self:
        """The input as a dataset, which `Run.get_context().input_datasets` has."""
        return replace(self, mode="direct")


class _Files:
    """`Dataset.File`."""

    @staticmethod
    def from_files(
        path: Any,
        validate: bool = True,  # noqa: FBT001, FBT002 - as existing code gives it
        partition_format: str | None = None,
        is_file: bool = False,  # noqa: FBT001, FBT002 - as above
    ) -> FileDataset:
        """Files, folders and globs; also `(datastore, path)`.

        Raises:
            InputError: There is nothing, or it is not on this machine.
        """
        del is_file
        return FileDataset.from_files(paths_of(path), validate=validate, partition_format=partition_format)


class _Tables:
    """`Dataset.Tabular`; options are those of `batch_score.ReaderOptions`."""

    @staticmethod
    def from_delimited_files(path: Any, validate: bool = True, **options: Any) -> TabularDataset:  # noqa: FBT001, FBT002 - as existing code gives it
        """Delimited text.

        Raises:
            InputError: A file is missing, unreadable or empty, or has another header than the first.
            ConfigError: An option is unknown or out of range.
        """
        del validate
        return TabularDataset.from_delimited_files(paths_of(path), **reader_options(options))

    @staticmethod
    def from_parquet_files(path: Any, validate: bool = True, **options: Any) -> TabularDataset:  # noqa: FBT001, FBT002 - as above
        """Parquet files; raises as `from_delimited_files`."""
        del validate
        return TabularDataset.from_parquet_files(paths_of(path), **reader_options(options))

    @staticmethod
    def from_json_lines_files(path: Any, validate: bool = True, **options: Any) -> TabularDataset:  # noqa: FBT001, FBT002 - as above
        """JSON Lines; raises as `from_delimited_files`."""
        del validate
        return TabularDataset.from_json_lines_files(paths_of(path), **reader_options(options))

    @staticmethod
    def register_pandas_dataframe(dataframe: pd.DataFrame, target: Any, name: str, **_: Any) -> TabularDataset:
        """Writes a frame as Parquet into a folder, and keeps the dataset under a name."""
        folder = Path(paths_of(target)[0], name)
        folder.mkdir(parents=True, exist_ok=True)
        dataframe.to_parquet(folder / "part-0.parquet", index=False)
        found = TabularDataset.from_parquet_files(str(folder))
        return found.register(None, name, create_new_version=True)


class Dataset:
    """Makes datasets and finds those that were registered."""

    File: ClassVar = _Files
    Tabular: ClassVar = _Tables

    @staticmethod
    def get_by_name(workspace: Any, name: str, version: int | str = "latest") -> FileDataset | TabularDataset:
        """A dataset that was registered.

        Raises:
            InputError: There is none of that name and version.
        """
        return opened(registered.find(workspace, name, version))


def opened(origin: Origin) -> FileDataset | TabularDataset:
    """The dataset that was asked for in that way; raises as the factories do."""
    if origin.kind == FILE:
        return FileDataset.from_files(origin.inputs, partition_format=origin.options.partition_format)
    return TabularDataset.opened(origin)


def input_datasets() -> dict[str, Any]:
    """The inputs of the step that this process runs, by name: datasets, or paths of files."""
    place = os.environ.get(DATASETS)
    if not place:
        return {}
    content: Mapping[str, Any] = json.loads(Path(place).read_text(encoding="utf-8"))
    return {name: one if isinstance(one, str) else opened(Origin.from_json(one)) for name, one in content.items()}


def paths_of(path: Any) -> list[str]:
    """Paths as text: one or several, or `(datastore, path)` one or several times.

    Raises:
        InputError: One is not of this machine.
    """
    many = [path] if isinstance(path, (str, os.PathLike)) or _in_datastore(path) else list(path)
    found = [str(Path(one[0].folder, one[1])) if _in_datastore(one) else os.fspath(one) for one in many]
    for one in found:
        if "://" in one:
            raise InputError(f"{one}: this version reads files of this machine only; download it and give the path")
    return found


def _in_datastore(path: Any) -> bool:
    return isinstance(path, tuple) and len(path) == 2 and hasattr(path[0], "folder")  # noqa: PLR2004 - a pair


def reader_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the factories of SDK v1 as those of `ReaderOptions`; what is None is left at its default."""
    found = {name: value for name, value in options.items() if value is not None}
    if "header" in found:
        found["header"] = str(found["header"]).rpartition(".")[2].lower() not in ("false", "no_headers")
    return found


@dataclass(eq=False)
class _Output:
    """What a step writes and others read; two are the same only if they are one object.

    Attributes:
        name: Of the output; empty: its step gives it one.
        producer: The step that writes it, known when that has been made.
    """

    name: str = ""
    producer: Any = field(default=None, init=False, repr=False)

    def as_mount(self, *_: Any, **_others: Any) -> Self:
        """Itself: the step writes into a folder of this machine."""
        return self

    def as_upload(self, *_: Any, **_others: Any) -> Self:
        """As `as_mount`."""
        return self

    def as_input(self, name: str | None = None, *_: Any, **_others: Any) -> DatasetConsumptionConfig:
        """The output as the input of another step."""
        return DatasetConsumptionConfig(name or "", self)

    def as_named_input(self, name: str) -> DatasetConsumptionConfig:
        """As `as_input`."""
        return self.as_input(name)


@dataclass(eq=False)
class OutputFileDatasetConfig(_Output):
    """A folder that a step writes into.

    Args:
        name: Of the output.
        destination: Folder, or `(datastore, path)`, that gets a copy when the step has completed; `{run-id}` and
            `{output-name}` in it are replaced.
        source: Not used: the path is in the arguments of the step.
        partition_format: Keys in the paths of the files.

    Attributes:
        kind: What the files are for the step that reads them: `file`, `delimited` or `parquet`.
        options: How tables among them are read.
        registered_as: Name of the dataset that is registered when the step has completed.
    """

    destination: Any = None
    source: Any = None
    partition_format: str | None = None
    kind: str = field(default=FILE, init=False)
    options: dict[str, Any] = field(default_factory=dict, init=False)
    registered_as: str | None = field(default=None, init=False)

    def __init__(
        self,
        name: str | None = None,
        destination: Any = None,
        source: Any = None,
        partition_format: str | None = None,
    ) -> None:
        super().__init__(name or "")
        self.destination, self.source, self.partition_format = destination, source, partition_format
        self.kind, self.registered_as = FILE, None
        self.options = {} if partition_format is None else {"partition_format": partition_format}

    def read_delimited_files(self, **options: Any) -> Self:
        """The files are delimited text, of which the next step gets rows."""
        return self._tables(DELIMITED, options)

    def read_parquet_files(self, **options: Any) -> Self:
        """The files are Parquet, of which the next step gets rows."""
        return self._tables(PARQUET, options)

    def _tables(self, kind: str, options: Mapping[str, Any]) -> Self:
        self.kind = kind
        self.options |= reader_options(options)
        return self

    def register_on_complete(self, name: str, description: str | None = None, tags: Any = None) -> Self:
        """Registers the files as a dataset when the step has completed."""
        del description, tags
        self.registered_as = name
        return self


@dataclass(eq=False)
class PipelineData(_Output):
    """A folder that a step writes into, under a name.

    Args:
        name: Of the output; letters, digits and underscores.
    """

    def __init__(self, name: str, datastore: Any = None, output_name: str | None = None, **_: Any) -> None:
        del datastore
        super().__init__(output_name or name)

    def as_download(self, *_: Any, **_others: Any) -> Self:
        """Itself."""
        return self

    def as_dataset(self) -> PipelineOutput:
        """The files, for the inputs of another step."""
        return PipelineOutput(self)


@dataclass(frozen=True)
class PipelineOutput:
    """The files of a `PipelineData` as the input of another step.

    Attributes:
        source: What the other step writes.
        kind: `file`, or the kind of table.
        options: How tables are read.
        name: Of the input; empty: the step gives it one.
    """

    source: PipelineData
    kind: str = FILE
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def as_named_input(self, name: str) -> Self:
        """The input under that name."""
        return replace(self, name=name)

    def as_mount(self, *_: Any, **_others: Any) -> Self:
        """Itself."""
        return self

    def as_download(self, *_: Any, **_others: Any) -> Self:
        """Itself."""
        return self

    def as_direct(self) -> Self:
        """Itself."""
        return self

    def parse_delimited_files(self, **options: Any) -> Self:
        """Rows of delimited text."""
        return replace(self, kind=DELIMITED, options=reader_options(options))

    def parse_parquet_files(self, **options: Any) -> Self:
        """Rows of Parquet files."""
        return replace(self, kind=PARQUET, options=reader_options(options))

    def parse_json_lines_files(self, **options: Any) -> Self:
        """Rows of JSON Lines."""
        return replace(self, kind=JSONL, options=reader_options(options))
