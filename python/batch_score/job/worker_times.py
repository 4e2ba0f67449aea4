"""Where the time of each worker went: how long `run()` was busy, and what it waited for otherwise. No clock inside."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batch_score.minibatch import Outcome


@dataclass(slots=True)
class WorkerTimes:
    """One worker from the end of `init()` to its last outcome, in seconds.

    Its stages overlap: what it waited for is what `run()` waited for.

    Attributes:
        process: As the log tree calls it.
        device: UUID of its GPU or MIG slice, empty without one.
        tries: Outcomes it sent.
        elapsed: From the end of `init()` to the last outcome.
        run: Inside `run()`.
        waited_for_tasks: For a mini-batch to be handed out.
        waited_for_read: For a mini-batch that was being read.
        read: Reading and parsing, while `run()` was busy or waited.
        encode: Encoding, likewise.
        bytes_read: Of the input.
    """

    process: str
    device: str
    tries: int = 0
    elapsed: float = 0.0
    run: float = 0.0
    waited_for_tasks: float = 0.0
    waited_for_read: float = 0.0
    read: float = 0.0
    encode: float = 0.0
    bytes_read: int = 0

    def add(self, outcome: Outcome, elapsed: float) -> None:
        """Counts an outcome that came `elapsed` seconds after the end of `init()`."""
        timings = outcome.timings
        reading = min(timings.waiting, timings.load)  # what it waited longer than that, there was nothing to read
        self.tries += 1
        self.run += timings.run
        self.read += timings.load
        self.encode += timings.encode
        self.waited_for_read += reading
        self.waited_for_tasks += timings.waiting - reading
        self.bytes_read += outcome.bytes_read
        self.elapsed = max(self.elapsed, elapsed)

    @property
    def waited_for_encode(self) -> float:
        """For room among the results that wait to be encoded and sent: what is left of the time."""
        return max(0.0, self.elapsed - self.run - self.waited_for_read - self.waited_for_tasks)

    def as_json(self) -> dict[str, Any]:
        """For `run.json`; seconds to the millisecond."""
        values = {**asdict(self), "waited_for_encode": self.waited_for_encode}
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}


@dataclass(slots=True)
class AllTimes:
    """The times of all workers of a session, those that were replaced included.

    Attributes:
        workers: By process.
    """

    workers: dict[str, WorkerTimes] = field(default_factory=dict)
    _ready: dict[str, float] = field(default_factory=dict)

    def ready(self, process: str, device: str, now: float) -> None:
        """The `init()` of a worker has ended."""
        self._ready[process] = now
        self.workers[process] = WorkerTimes(process, device)

    def tried(self, process: str, outcome: Outcome, now: float) -> None:
        """A worker has sent an outcome."""
        if process in self.workers:
            self.workers[process].add(outcome, now - self._ready[process])

    def as_json(self) -> list[dict[str, Any]]:
        """In the order in which the workers became ready."""
        return [one.as_json() for one in self.workers.values()]
