"""FileDataset: files as items."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from batch_score import _native
from batch_score.config import mini_batch_files
from batch_score.dataset.base import PLAN_CHUNK, FileBatch
from batch_score.dataset.origin import FILE, Origin
from batch_score.minibatch import MiniBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


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
    """

    inputs: tuple[str, ...]
    kind: ClassVar[str] = "file"

    @classmethod
    def from_files(cls, path: str | Path | Sequence[str | Path], *, validate: bool = True) -> Self:
        """Files, folders (with all files below them, hidden ones excepted) and globs.

        Raises:
            InputError: A path is missing, a glob matches nothing or a folder has no files (if `validate`).
        """
        dataset = cls(as_inputs(path))
        if validate:
            _native.FileList(dataset.inputs).next_batch(1)
        return dataset

    def plan(self, mini_batch_size: str | int | None, *, dataset: int, first_index: int) -> Iterator[list[MiniBatch]]:
        """Mini-batches of `mini_batch_size` files in sorted path order."""
        size = mini_batch_files(mini_batch_size)
        listing = _native.FileList(self.inputs)
        index, first = first_index, 0
        rest: list[str] = []
        # The first list is small, so that the first run() does not wait for a large one.
        wanted = size
        while paths := listing.next_batch(wanted):
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

    def reader(self, base: str) -> FileReader:
        """A reader that hands the paths on."""
        return FileReader(base)

    def total_bytes(self) -> int | None:
        """None: sizes of files that only the script opens are not looked up."""
        return None

    @property
    def origin(self) -> Origin:
        """How the dataset was asked for."""
        return Origin(FILE, self.inputs)

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """The inputs as given; their files are not looked up, for there may be ten million."""
        return [(name, 0, 0) for name in self.inputs]


def as_inputs(path: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """One path or several, as a tuple of text."""
    many = [path] if isinstance(path, (str, Path)) else list(path)
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
