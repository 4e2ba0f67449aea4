"""The thread that takes a sample every so often and never disturbs the run."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from batch_score.monitor.perf import PerfFiles
from batch_score.monitor.sample import NodeReader, ProcessReader, disk_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from batch_score.logs.tree import LogTree
    from batch_score.monitor.sample import GpuSample

logger = logging.getLogger(__name__)

_STOP_LIMIT_S = 15.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Monitor:
    """Samples one node: at the start, then every `interval_s` seconds, and once more at the end.

    Args:
        tree: The log tree as the node sees it.
        interval_s: Seconds between samples of all but the GPUs; 0 for none.
        processes: Gives the process ids of the coordinator (`manager`) and the living workers by name. Called
            from the monitor's thread.
        gpu_samples: Gives a look at each GPU; None where there is none. Called from the monitor's thread.
        gpu_interval_s: Seconds between these looks; 0 for none.
        clock: Gives the time of a sample, in UTC.

    Attributes:
        gpu_percent: Use of the GPUs at the last look, of those that tell it.

    Raises:
        ValueError: An interval is negative.
    """

    def __init__(
        self,
        tree: LogTree,
        interval_s: float,
        processes: Callable[[], Mapping[str, int]],
        *,
        gpu_samples: Callable[[], Iterable[GpuSample]] | None = None,
        gpu_interval_s: float = 0.0,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        shortest = min(interval_s, gpu_interval_s)
        if shortest < 0:
            raise ValueError(f"the interval between samples is {shortest} seconds; give 0 or more")
        self.gpu_percent: tuple[float, ...] = ()
        self._files = PerfFiles(tree)
        self._processes = processes
        self._gpu_samples = gpu_samples
        series = [(interval_s, self._sample_node)]
        if gpu_samples is not None:
            series.append((gpu_interval_s, self._sample_gpus))
        self._series = [(interval, sample) for interval, sample in series if interval > 0]
        self._clock = clock
        self._node_reader = NodeReader()
        self._process_reader = ProcessReader()
        self._ending = threading.Event()
        self._reported: set[str] = set()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts sampling; returns at once."""
        if self._series and self._thread is None:
            self._thread = threading.Thread(target=self._keep_sampling, name="monitor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Takes the last sample and ends the thread. Call it while the workers still live, to see them in it."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_STOP_LIMIT_S)
            if self._thread.is_alive():
                logger.warning(
                    "the last sample of the resource monitor takes longer than %g s and is left behind",
                    _STOP_LIMIT_S,
                )
            self._thread = None

    def _keep_sampling(self) -> None:
        due = [0.0] * len(self._series)
        while True:
            now = time.monotonic()
            for place, (interval, sample) in enumerate(self._series):
                if now >= due[place]:
                    sample()
                    due[place] = now + interval
            if self._ending.wait(max(0.0, min(due) - time.monotonic())):
                break
        for _, sample in self._series:
            sample()

    def _sample_node(self) -> None:
        moment = self._clock()
        self._take(
            {
                "node": lambda: self._files.node(moment, self._node_reader.row()),
                "disk": lambda: self._files.disk(moment, disk_row()),
                "processes": lambda: self._files.processes(moment, self._process_reader.rows(self._processes())),
                "process list": lambda: self._files.process_list(moment),
            }
        )

    def _sample_gpus(self) -> None:
        moment = self._clock()
        self._take({"GPUs": lambda: self._files.gpus(moment, self._gpu_rows())})

    def _take(self, steps: Mapping[str, Callable[[], None]]) -> None:
        for name, step in steps.items():
            try:
                step()
            except Exception as error:  # noqa: BLE001 - watching a run must not end it, whatever a driver raises
                self._report(name, error)

    def _gpu_rows(self) -> list[tuple[float | int | str, ...]]:
        samples = [] if self._gpu_samples is None else list(self._gpu_samples())
        self.gpu_percent = tuple(sample.percent for sample in samples if sample.percent is not None)
        return [sample.row() for sample in samples]

    def _report(self, name: str, error: Exception) -> None:
        """Says so once per kind of sample: the same failure every few seconds would bury the log."""
        if name not in self._reported:
            self._reported.add(name)
            logger.warning("the resource monitor cannot sample %s, the run goes on without: %s", name, error)
