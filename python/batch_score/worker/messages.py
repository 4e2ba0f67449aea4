"""What the coordinator and a worker say to each other.

Down go the specification, once, and then tasks: descriptors only, a worker reads its own bytes. Up come
outcomes with encoded rows beside them. Messages are pickled, rows are not: both ends are the same program.

Tasks and outcomes, of which there may be ten thousand a second, travel as plain tuples of their fields: a frozen record
takes ten times as long to pickle. Senders use the functions `*_to_wire` at the end of this module, receivers those
called `*_from_wire`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from batch_score.logs.tree import process_name
from batch_score.minibatch import MiniBatch, Outcome, Status, Timings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from batch_score.dataset.base import Reader
    from batch_score.entry_script import ScriptLocation
    from batch_score.minibatch import Fault
    from batch_score.onnx.spec import ModelSpec
    from batch_score.output.encoder import OutputOptions
    from batch_score.output.keys import Key
    from batch_score.worker.names import ScriptNames

# Exit codes of a worker, of numbers that neither sysexits.h nor shells use: its GPU is lost to this process; its
# connection to the coordinator broke; one of its own threads failed.
DEVICE_LOST = 96
CUT_OFF = 97
BROKEN = 98


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """All that a worker must know before its first task; the same for every worker of a job.

    Attributes:
        scorer: The entry script or model.
        readers: One per dataset of the job.
        key: What `parse_key` made of the key option.
        output: Form of the output, None for `summary_only`.
        argv: What follows the script on `sys.argv`.
        output_dir: The output folder, absolute.
        code_root: Working directory and first entry of `sys.path`.
        run_dir: Where the logs go, absolute.
        node: Name of the node in the log tree.
        logging_level: Lowest level written.
        reader_threads: Threads that read mini-batches ahead, at first and at most.
        profiling_module: Profiles the scorer's calls; None for no profile.
        names: What scripts of other systems can import, None for nothing.
    """

    scorer: ScriptLocation | ModelSpec
    readers: tuple[Reader, ...]
    key: Key
    output: OutputOptions | None
    argv: tuple[str, ...]
    output_dir: str
    code_root: str
    run_dir: Path
    node: str
    logging_level: str
    reader_threads: tuple[int, int] = (1, 1)
    profiling_module: str | None = None
    names: ScriptNames | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """What makes one worker.

    Attributes:
        number: Counted from 0, never used twice in a job.
        environment: Its whole environment; the device mask is in it before the interpreter starts.
        spec: The job's specification.
        device: Its device in words.
        cpus: The CPUs that it may use, the ones near its device; none for all.
    """

    number: int
    environment: dict[str, str]
    spec: WorkerSpec
    device: str = "no GPU"
    cpus: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """As the log tree calls it."""
        return process_name(self.number)


@dataclass(frozen=True, slots=True)
class Task:
    """One mini-batch, or a part of one, to score.

    Attributes:
        minibatch: What to score.
        attempt: 0 on the first try.
        first_item: How many items of the whole input come before the mini-batch.
        part: Positions in the mini-batch of the first item to score and of the one behind the last, None for all.
        describe: Positions of items that failed for good: their keys and records are wanted, `run()` is not called.
        alone: The worker gets nothing else meanwhile, so that it is known what killed it.
        ticket: Number of the lease, never used twice in a job: the worker's pulse and its outcome name it.
    """

    minibatch: MiniBatch
    attempt: int
    first_item: int = 0
    part: tuple[int, int] | None = None
    describe: tuple[int, ...] = ()
    alone: bool = False
    ticket: int = 0

    @property
    def in_order(self) -> bool:
        """It is read where the one before it was: from a stream, or out of a mini-batch that is in memory."""
        return bool(self.minibatch.affinity or self.part or self.describe)

    @property
    def span(self) -> tuple[int, int]:
        """The positions that are scored."""
        return self.part or (0, self.minibatch.rows)

    @property
    def items(self) -> int:
        """How many items are scored, lines that will be dropped included."""
        start, stop = self.span
        return stop - start


@dataclass(frozen=True, slots=True)
class Stop:
    """No more tasks: call `shutdown()` and leave.

    Attributes:
        abandon: Tasks on which `run()` was not yet called are dropped; else all that was sent is finished first.
    """

    abandon: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """`init()` has returned.

    Attributes:
        seconds: How long it took.
        notes: What the user should know of it, by subject.
    """

    seconds: float
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InitFailed:
    """The script could not be loaded (`fatal`: no other worker will do better) or `init()` raised."""

    fault: Fault
    fatal: bool


@dataclass(frozen=True, slots=True)
class Done:
    """One try ended; the encoded rows travel beside it, not pickled."""

    outcome: Outcome


def _values(record: type) -> attrgetter[tuple[Any, ...]]:
    """Gives the values of a record's fields, in the order in which its class takes them."""
    return attrgetter(*(one.name for one in fields(record)))


_MINI_BATCH, _TASK, _TIMINGS, _OUTCOME = map(_values, (MiniBatch, Task, Timings, Outcome))
_STATUS_AT, _TIMINGS_AT = ([one.name for one in fields(Outcome)].index(name) for name in ("status", "timings"))


def tasks_to_wire(tasks: Iterable[Task]) -> list[tuple[Any, ...]]:
    """Tasks as they travel, any number in one message."""
    return [(_MINI_BATCH(task.minibatch), *_TASK(task)[1:]) for task in tasks]


def tasks_from_wire(wire: Iterable[tuple[Any, ...]]) -> list[Task]:
    """Tasks that have travelled."""
    return [Task(MiniBatch(*minibatch), *values) for minibatch, *values in wire]


def outcome_to_wire(outcome: Outcome) -> tuple[Any, ...]:
    """An outcome as it travels; of faults and failed items there are few, which stay what they are."""
    values = list(_OUTCOME(outcome))
    values[_STATUS_AT] = outcome.status.value
    values[_TIMINGS_AT] = _TIMINGS(outcome.timings)
    return tuple(values)


def outcome_from_wire(wire: tuple[Any, ...]) -> Outcome:
    """An outcome that has travelled."""
    values = list(wire)
    values[_STATUS_AT] = Status(values[_STATUS_AT])
    values[_TIMINGS_AT] = Timings(*values[_TIMINGS_AT])
    return Outcome(*values)
