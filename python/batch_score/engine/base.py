"""What every engine can do, and what it tells the coordinator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.worker.messages import Done, InitFailed, Launch, Ready, Task
    from batch_score.worker.pulse import Beat


@dataclass(frozen=True, slots=True)
class Said:
    """A message of a worker, with the encoded rows of an outcome."""

    worker: int
    message: Ready | InitFailed | Done
    payload: bytes = b""


@dataclass(frozen=True, slots=True)
class Ended:
    """A worker's process has ended.

    Attributes:
        worker: Its number.
        code: Exit code, or the negative number of the signal that killed it.
        loads: What its reading threads were doing, the idle ones left out.
        run: What its running stage was doing.
        encode: What its encoding stage was doing, which sends the outcome too.
    """

    worker: int
    code: int
    loads: tuple[Beat, ...]
    run: Beat
    encode: Beat


Event = Said | Ended


class Engine(Protocol):
    """Starts workers and carries messages. Workers are named by their number."""

    def start(self, launch: Launch) -> None:
        """Starts a worker; it says Ready or InitFailed, or ends."""
        ...

    def send(self, worker: int, tasks: Sequence[Task]) -> None:
        """Hands a worker tasks; a worker that has just died is reported by `poll`, not here."""
        ...

    def stop(self, worker: int, *, abandon: bool = False) -> None:
        """Lets a worker finish what it was sent and leave; with `abandon` only what `run()` has begun on."""
        ...

    def kill(self, worker: int) -> None:
        """Ends a worker and every process it started, at once; `poll` reports the end."""
        ...

    def poll(self, timeout: float) -> list[Event]:
        """What has happened, after at most `timeout` seconds; a worker's messages come before its end."""
        ...

    def beats(self, worker: int) -> tuple[Beat, Beat, Beat]:
        """What a worker is doing: the thread that has been reading longest, the running stage, the encoding one."""
        ...

    def pids(self) -> dict[int, int]:
        """Process ids of the living workers."""
        ...

    def close(self) -> None:
        """Ends every worker that is left."""
        ...
