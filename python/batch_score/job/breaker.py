"""When failing `init()` ends the job: the circuit breakers of the ParallelRunStep contract. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

GRACE_S = 120.0


@dataclass(slots=True)
class InitBreaker:
    """Counts `init()` failures on one node with `workers` workers.

    Attributes:
        workers: Workers of the node.
        run_timeout: `run_invocation_timeout` in seconds.
        failures: `init()` failures so far.
        failed_slots: Places among the workers where it has failed; a slow `init()` elsewhere may still succeed.
    """

    workers: int
    run_timeout: float
    failures: int = 0
    failed_slots: set[int] = field(default_factory=set)
    ready: bool = False

    def succeeded(self) -> None:
        """One worker's `init()` has returned: the breakers are about `init()` failing on all workers."""
        self.ready = True

    def failed(self, slot: int) -> None:
        """The `init()` of the worker at `slot` has failed."""
        self.failures += 1
        self.failed_slots.add(slot)

    def open(self, elapsed_s: float) -> str | None:
        """Why no new worker may start, or None.

        3 x P failures close the node, and with the only node the job. 2 x N x P failures end the job once it is
        two minutes old.
        """
        if self.ready or len(self.failed_slots) < self.workers:
            return None
        late = elapsed_s > GRACE_S and self.failures >= 2 * self.workers
        if self.failures >= 3 * self.workers or late:
            return f"init() failed {self.failures} times and succeeded on none of {self.workers} workers"
        return None

    def stuck(self, all_in_init_s: float) -> str | None:
        """Why waiting for `init()` ends, given how long all workers have been inside it."""
        limit = 3 * self.run_timeout + 30
        if all_in_init_s > limit:
            return (
                f"every worker has been inside init() for more than {limit:.0f} s "
                "(3 x run_invocation_timeout + 30); raise run_invocation_timeout if init() needs longer"
            )
        return None
