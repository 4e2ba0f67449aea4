"""FileDataset: files as items."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from batch_score import _native
from batch_score.config import ReaderOptions, mini_batch_files
from batch_score.dataset.base import PLAN_CHUNK, FileBatch
from batch_score.dataset.origin import FILE, Origin
from batch_score.dataset.partition import PartitionFormat, combinations, in_lists, no_keys
from batch_score.errors import InputError
from batch_score.minibatch import MiniBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LISTED = 4096


@dataclass(frozen=True)
class FileReader:
    """Hands the paths on; opening them is the script's part.

    Attributes:
        base: What relative paths are relative to.
    """

    base: str

    def read(self, minibatch: MiniBatch) -> FileBatch:
        """The mini-batch's paths, absolute: the script runs in another folder."""
        # os.path is ten times faster than pathlib, and this is done for every file.
        return FileBatch(tuple(os.path.join(self.base, path) for path in minibatch.files))  # noqa: PTH118 - see above


@dataclass(frozen=True)
class FileDataset:
    """Files to score: `run()` gets a list of their paths.

    Attributes:
        inputs: Files, folders and globs, as given.
        partition: Keys in the paths, None for none.
        grouped_by: The keys of which each combination is one mini-batch; empty when the size decides.
    """

    inputs: tuple[str, ...]
    partition: PartitionFormat | None = None
    grouped_by: tuple[str, ...] = ()
    kind: ClassVar[str] = "file"

    @classmethod
    def from_files(
        cls, path: str | Path | Sequence[str | Path], *, validate: bool = True, partition_format: str | None = None
    ) -> Self:
        """Files, folders (with all files below them, hidden ones excepted) and globs.

        Args:
            path: One or several of them.
            validate: Look whether there is a file, and whether the first one has the keys.
            partition_format: Keys in the paths, as `{name}` or `{name:yyyy/MM/dd}`, to the end of the path.

        Raises:
            InputError: A path is missing, a glob matches nothing, a folder has no files, or the first file has another
                path than the format says (if `validate`).
            ConfigError: The format cannot be used.
        """
        dataset = cls(as_inputs(path), None if partition_format is None else PartitionFormat.parse(partition_format))
        if validate:
            dataset._check(_native.FileList(dataset.inputs).next_batch(1))
        return dataset

    def _check(self, paths: list[str]) -> None:
        """Refuses paths that do not have the keys."""
        if self.partition is not None:
            base = os.getcwd()  # noqa: PTH109 - text is what is joined
            for path in paths:
                self.partition.values(path, base)

    @property
    def partition_keys(self) -> tuple[str, ...]:
        """The keys in the paths, in their order; empty without `partition_format`."""
        return () if self.partition is None else self.partition.keys

    def grouped(self, keys: Sequence[str]) -> Self:
        """The same files, cut into one mini-batch for each combination of the values of `keys`.

        Raises:
            ConfigError: There is no such key.
        """
        if self.partition is None:
            raise no_keys(keys)
        self.partition.places(keys)
        return replace(self, grouped_by=tuple(keys))

    def plan(self, mini_batch_size: str | int | None, *, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        """Mini-batches of `mini_batch_size` files in sorted path order; or those of `grouped`."""
        if self.grouped_by:
            yield from in_lists(self._plan_groups(dataset, first_index), PLAN_CHUNK, 1)
            return
        size = mini_batch_files(mini_batch_size)
        listing = _native.FileList(self.inputs)
        index, first = first_index, 0
        rest: list[str] = []
        # The first list is small, so that the first run() does not wait for a large one.
        wanted = size
        while paths := listing.next_batch(wanted):
            self._check(paths)
            rest += paths
            whole = len(rest) // size * size
            if whole:
                yield [
                    _files(index + k, first + k * size, rest[k * size : (k + 1) * size], dataset)
                    for k in range(whole // size)
                ]
            index, first, rest = index + whole // size, first + whole, rest[whole:]
            wanted = size * PLAN_CHUNK if size < PLAN_CHUNK else size
        if rest:
            yield [_files(index, first, rest, dataset)]

    def _plan_groups(self, dataset: int, first_index: int) -> Iterator[MiniBatch]:
        """One mini-batch for each combination: known only when all files are listed."""
        if self.partition is None:
            raise no_keys(self.grouped_by)
        listing = _native.FileList(self.inputs)
        paths = chain.from_iterable(iter(lambda: listing.next_batch(LISTED), []))
        base = os.getcwd()  # noqa: PTH109 - text is what is joined
        first = 0
        for index, group in zip(count(first_index), combinations(paths, self.partition, self.grouped_by, base)):
            plain = _files(index, first, list(group.paths), dataset)
            yield replace(plain, whole=True, partition=group.values)
            first += plain.rows

    def reader(self, base: str) -> FileReader:
        """A reader that hands the paths on."""
        return FileReader(base)

    def total_bytes(self) -> int | None:
        """None: sizes of files that only the script opens are not looked up."""
        return None

    @property
    def origin(self) -> Origin:
        """How the dataset was asked for."""
        partition_format = None if self.partition is None else self.partition.text
        return Origin(FILE, self.inputs, ReaderOptions(partition_format=partition_format))

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """The inputs as given; their files are not looked up, for there may be ten million."""
        return [(name, 0, 0) for name in self.inputs]


def as_inputs(path: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One path or several, as a tuple of text; InputError if there is none."""
    many = [path] if isinstance(path, (str, Path)) else list(path)
    if not many:
        raise InputError("the list of inputs is empty; give files, folders or globs")
    return tuple(str(one) for one in many)


def _files(index: int, first: int, paths: list[str], dataset: int) -> MiniBatch:
    return MiniBatch(
        index=index,
        source="",
        offset=0,
        length=0,
        first_row=first,
        rows=len(paths),
        files=tuple(paths),
        dataset=dataset,
    )
