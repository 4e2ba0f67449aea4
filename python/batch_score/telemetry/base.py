"""What there is to tell about a job while it runs, and to nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batch_score.minibatch import Outcome

# Where scripts' values pass by, on a level below all that log files show.
METRICS, METRIC_LEVEL = "batch_score.metrics", 5


class Telemetry:
    """Takes what there is to tell, and does nothing with it."""

    def begin(self, name: str, attributes: Mapping[str, Any], *, kind: str = "step") -> None:
        """A step, or a pipeline of several, begins: all that follows is part of it."""

    @property
    def carrier(self) -> dict[str, str]:
        """Variables for the environment of processes that are part of the step."""
        return {}

    def tried(self, outcome: Outcome, *, worker: str, device: str) -> None:
        """A try of a mini-batch ended just now."""

    def count(self, totals: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Numbers that grow, by name and state; asked for from another thread, now and then."""

    def end(self, status: str, cause: str, attributes: Mapping[str, Any]) -> None:
        """The step has ended; `cause` is empty if it has succeeded."""
