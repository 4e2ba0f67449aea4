"""A scorer whose calls are profiled, for `profiling_module`."""

from __future__ import annotations

import cProfile
import logging
import profile
import pstats
import time
from typing import TYPE_CHECKING, Any

from batch_score.output.returned import accept

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from batch_score.dataset.base import Batch
    from batch_score.worker.messages import Task
    from batch_score.worker.scorer import Scorer

logger = logging.getLogger(__name__)

# A worker that is killed leaves what it had written; to write takes some milliseconds.
WRITE_S = 10.0


class _OneByOne:
    """Python's `profile`, which can profile one call only: each gets a profiler, and all of them one report."""

    def __init__(self) -> None:
        self._stats: pstats.Stats | None = None

    def runcall(self, function: Callable[[], Any]) -> Any:
        """Calls a function."""
        profiler = profile.Profile()
        try:
            return profiler.runcall(function)
        finally:
            profiler.create_stats()
            self._stats = pstats.Stats(profiler) if self._stats is None else self._stats.add(profiler)

    def dump_stats(self, file: Path) -> None:
        """Writes the report of all calls so far, of which there is one at least."""
        if self._stats is not None:
            self._stats.dump_stats(file)


class ProfiledScorer:
    """Calls a scorer under a profiler; the file is written after `init()`, from time to time, and at the end.

    Args:
        scorer: What is profiled.
        module: `cProfile` or `profile`.
        file: Where the profile goes, in the form that `pstats` reads.
    """

    def __init__(self, scorer: Scorer, module: str, file: Path) -> None:
        self._scorer = scorer
        self._profiler = cProfile.Profile() if module == "cProfile" else _OneByOne()
        self._file = file
        self._written = 0.0

    def init(self) -> None:
        """Calls `init()`."""
        self._call(self._scorer.init)

    def items(self, batch: Batch) -> Any:
        """As the scorer; this is the reading stage's, which is not profiled."""
        return self._scorer.items(batch)

    def run(self, items: Any, task: Task) -> Any:
        """Calls `run()`; a generator is consumed here, where it is profiled."""
        return self._call(lambda: accept(self._scorer.run(items, task)).value)

    def take_notes(self) -> dict[str, str]:
        """As the scorer."""
        return self._scorer.take_notes()

    def shutdown(self) -> None:
        """Calls `shutdown()`."""
        self._written = 0.0
        self._call(self._scorer.shutdown)

    def _call(self, function: Callable[[], Any]) -> Any:
        try:
            return self._profiler.runcall(function)
        finally:
            now = time.monotonic()
            if not self._written or now > self._written + WRITE_S:
                self._written = now
                self._write()

    def _write(self) -> None:
        draft = self._file.with_name(self._file.name + ".draft")
        try:
            self._profiler.dump_stats(draft)
            draft.replace(self._file)
        except OSError as error:  # a full disk for profiles is no fault of the mini-batch
            logger.warning("%s: the profile cannot be written: %s", self._file, error)
