"""How many rows a model is given at once. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from batch_score.onnx.binding import Binding

_MOST_ROWS = 4096
_FEWEST_ROWS = 1024
_SLICE_BYTES = 1 << 18
_ROWS_OF_TREES = 1 << 15
_POINTER_BYTES = 8
# What is tried when the number is measured: from a few rows to more than any device needs to be busy, in steps that
# are too small to miss much, as long as one input is not larger than a mini-batch may well be.
_TRIED = [1 << power for power in range(5, 18)]
_TRIED_BYTES = 64 << 20
# Rates this close to the best are as good: then fewer rows are better, for memory and for the last ones of a batch.
_AS_GOOD = 0.95
# After so many sizes that were no better than the best, larger ones are not tried.
_NO_BETTER = 2
_SMALLEST_BUCKET = 32


def row_bytes(binding: Binding) -> int:
    """Bytes of one row of all inputs."""
    return sum(
        len(plan.columns) * (_POINTER_BYTES if plan.dtype == "string" else np.dtype(plan.dtype).itemsize)
        for plan in binding.inputs
    )


def default_batch_rows(binding: Binding, threads: int, *, trees: bool = False) -> int:
    """Rows given to a model on the CPU unless somebody says otherwise.

    For each thread as many as fill about 256 KiB, within 1024 to 4096, so that what the model makes of them stays in a
    core's cache too: on a network of 20 inputs and 2 hidden layers 3,000 rows at once ran 1.1 times as fast as 8,000
    or 27,000. Trees make one number of a row and are what has to stay in the cache: 100 of them needed 3 % less time
    for a row among 27,000 to 120,000 rows than among 3,000.
    """
    if trees:
        return threads * _ROWS_OF_TREES
    return threads * max(_FEWEST_ROWS, min(_MOST_ROWS, _SLICE_BYTES // row_bytes(binding)))


def sizes_to_try(binding: Binding) -> list[int]:
    """Numbers of rows worth measuring, ascending; at least one."""
    most = _TRIED_BYTES // row_bytes(binding)
    return list(takewhile(lambda rows: rows <= most, _TRIED)) or _TRIED[:1]


def best_size(sizes: Sequence[int], seconds_of: Callable[[int], float | None]) -> int:
    """The smallest of some numbers of rows at which the model is about as quick per row as it gets.

    Args:
        sizes: Ascending.
        seconds_of: Gives the seconds that so many rows take, None if they do not fit into memory.
    """
    rates: dict[int, float] = {}
    for size in sizes:
        seconds = seconds_of(size)
        if seconds is None:
            break
        rates[size] = size / seconds
        best = max(rates.values())
        if all(rate < best for rate in list(rates.values())[-_NO_BETTER:]):
            break
    best = max(rates.values(), default=0.0)
    return next((size for size, rate in rates.items() if rate >= _AS_GOOD * best), sizes[0])


def buckets(most: int) -> tuple[int, ...]:
    """The few numbers of rows that a GPU is fed with, so that it need not prepare for many: ascending, the last `most`.

    The last rows of a mini-batch are padded to the next of them, so less than half of what is computed is padding.
    """
    found = [most]
    while found[-1] > _SMALLEST_BUCKET:
        found.append(max(_SMALLEST_BUCKET, (found[-1] + 1) // 2))
    return tuple(reversed(found))


@dataclass(frozen=True, slots=True)
class Cut:
    """Rows that a model gets at once.

    Attributes:
        start: The first.
        stop: The one behind the last.
        fed: How many the model is given, at least as many: the rest is padding.
    """

    start: int
    stop: int
    fed: int

    @property
    def rows(self) -> int:
        """How many rows they are."""
        return self.stop - self.start


def slices(rows: int, size: int, sizes: Sequence[int] = ()) -> Iterator[Cut]:
    """Cuts `rows` rows into pieces of at most `size`.

    No rows at all are given as one, because not every kernel bears an empty tensor and the answer's columns are needed
    all the same.

    Args:
        rows: How many rows.
        size: Most rows at once.
        sizes: The only numbers of rows that the model is given, ascending, the last at least `size`; empty for any.
    """
    for start in range(0, max(rows, 1), size):
        stop = min(start + size, rows)
        wanted = max(stop - start, 1)
        yield Cut(start, stop, next((one for one in sizes if one >= wanted), wanted))
