"""`batch-score debug`: one mini-batch, or one failed item of a run, in this process, with everything shown."""

from __future__ import annotations

import json
import logging
import os
import sys
import tempfile
import traceback
from bdb import BdbQuit
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.cli.debugger import PostMortem, stopping_first, wait_for_debugger
from batch_score.cli.options import told
from batch_score.cli.score import requested, settings_of
from batch_score.config import ParallelRunConfig
from batch_score.errors import BatchScoreError, ConfigError, InputError
from batch_score.job.failed_items import nameless_of
from batch_score.job.layout import FAILED_ITEMS
from batch_score.job.plan import plan
from batch_score.job.prepare import Prepared, prepare, with_inline_defaults
from batch_score.job.record.reading import Recorded
from batch_score.job.reopen import reopened
from batch_score.logs.text import level_number
from batch_score.logs.tree import process_name
from batch_score.minibatch import path_text, places
from batch_score.option import rules
from batch_score.wording import counted
from batch_score.worker.azureml_user import Agent
from batch_score.worker.messages import Task
from batch_score.worker.scorer import load_scorer
from batch_score.worker.stages import Stages
from batch_score.worker.workplace import surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.entry_script import ScriptLocation
    from batch_score.minibatch import MiniBatch, Outcome
    from batch_score.onnx.spec import ModelSpec
    from batch_score.worker.scorer import Scorer

# What stands beside the options of a job.
OURS = ("scorer", "inputs")


@dataclass(frozen=True)
class Stops:
    """Where a debugger comes in.

    Attributes:
        pdb: At an exception.
        first: Before the first line of `run()`.
        listen: `[HOST:]PORT` on which a debugger from outside is waited for before anything is loaded.
    """

    pdb: bool = False
    first: bool = False
    listen: str | None = None

    def __post_init__(self) -> None:
        if self.listen is not None and (self.pdb or self.first):
            raise ConfigError("--listen waits for a debugger of its own; leave out --pdb and --break")

    def load(self, spec: ScriptLocation | ModelSpec) -> Scorer:
        """The scorer, which is loaded now."""
        load = partial(stopping_first if self.first else load_scorer, spec)
        return PostMortem(load) if self.pdb else load()


def debug(
    given: Mapping[str, Any], script: Sequence[str], *, mini_batch: int | None, failed_item: int | None, stops: Stops
) -> int:
    """Runs one mini-batch of a plan, or one failed item of a run, and prints what went in and what came out.

    Args:
        given: Options by parameter name, None for what was not given; without `inputs` the scorer is the folder of a
            run, whose settings, arguments and inputs are taken.
        script: The entry script's own arguments.
        mini_batch: Which one of the plan, the first by default.
        failed_item: A line of the run's `failed_items.jsonl`, counted from 1.
        stops: Where a debugger comes in.

    Returns:
        0, or 1 if the script raised or returned something that cannot be written; its traceback was printed. Also 1 if
        `run()` was not called, because no item can be read.
    """
    if given["inputs"] and failed_item is not None:
        raise ConfigError("--failed-item is a line of a run: give its folder, and no INPUT")
    if mini_batch is not None and failed_item is not None:
        raise ConfigError("--failed-item names its mini-batch itself; leave out --mini-batch")
    with tempfile.TemporaryDirectory(prefix="batch-score-debug-") as folder:
        if given["inputs"]:
            prepared, task = _of_plan({**given, "run_dir": Path(folder, "run")}, script, mini_batch or 0)
        else:
            prepared, task = _of_run(given, script, mini_batch or 0, failed_item)
        if stops.listen is not None:
            wait_for_debugger(stops.listen)
        spec = prepared.spec
        Path(spec.output_dir).mkdir(parents=True, exist_ok=True)  # scripts may write there
        log = logging.getLogger("entry_script")
        agent = Agent(log, folder, process_name(0), spec.output_dir, spec.code_root)
        logging.basicConfig(level=level_number(prepared.config.logging_level))  # as a worker logs, but to the console
        # What the script logs as metrics belongs to no run.
        environment = {**prepared.environments[0], "BATCH_SCORE_RUN_DIR": folder}
        with surroundings(spec, environment, agent):
            return _run(prepared, task, stops)


def _of_plan(given: Mapping[str, Any], script: Sequence[str], number: int) -> tuple[Prepared, Task]:
    """A mini-batch of the plan that the options make."""
    request = requested(given, script, *settings_of(given))
    prepared = prepare(replace(request, config=with_inline_defaults(request.config)))
    return prepared, _nth(prepared, number)


def _of_run(
    given: Mapping[str, Any], script: Sequence[str], number: int, failed_item: int | None
) -> tuple[Prepared, Task]:
    """A mini-batch, or a failed item, of a run as it was recorded; goes to the folder where that was started."""
    folder = Path(given["scorer"])
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not the folder of a run; give INPUT... beside a scorer")
    if script:
        raise ConfigError("a run keeps the arguments of its entry script; leave out -- and what follows")
    record = Recorded.read(folder)
    line = None if failed_item is None else _line(record.run_dir / FAILED_ITEMS, failed_item)
    place = str(record.content["working_directory"])
    try:
        os.chdir(place)
    except OSError as error:
        raise InputError(
            f"the run was started in {place}, which cannot be entered ({error.strerror}); its inputs are looked for "
            "from there, so put it back"
        ) from error
    request = reopened(record, _changed(given))
    prepared = prepare(replace(request, config=with_inline_defaults(request.config)))
    for change in record.fingerprint.changes(prepared.fingerprint):
        print(f"note: {change}", file=sys.stderr)
    task = _nth(prepared, number if line is None else int(line["mini_batch"]))
    return prepared, task if line is None else _only(task, line, f"line {failed_item} of {FAILED_ITEMS}")


def _changed(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that are given beside a run; those that decide what an item is must be the run's."""
    free = {field.name for field in fields(ParallelRunConfig) if not rules(field).fixed}
    changed = {name: value for name, value in told(given).items() if name not in OURS}
    for name in sorted(changed.keys() - free):
        raise ConfigError(f"the {name} of a run is as it was; leave out --{name.replace('_', '-')}")
    return changed


def _line(path: Path, number: int) -> dict[str, Any]:
    """Line `number` of a run's failed items, counted from 1."""
    last = 0
    try:
        with path.open(encoding="utf-8") as file:
            for last, text in enumerate(file, 1):
                if last == number:
                    found: dict[str, Any] = json.loads(text)
                    return found
    except FileNotFoundError:
        last = 0
    except ValueError as error:
        raise InputError(f"{path}: line {number} cannot be read: {error}; give another line") from error
    raise ConfigError(f"{path} has {counted(last, 'line')}, and no line {number}; give one of them")


def _nth(prepared: Prepared, number: int) -> Task:
    """The task of a first try at mini-batch `number`."""
    last, before = -1, 0
    for chunk in plan(prepared.datasets, prepared.config.mini_batch_size):
        for minibatch in chunk:
            if minibatch.index == number:
                return Task(minibatch, 0, before)
            last, before = minibatch.index, before + minibatch.rows
    raise ConfigError(f"mini-batch {number} is not in the plan, whose last one is {last}")


def _only(task: Task, line: Mapping[str, Any], what: str) -> Task:
    """The part of a task that is the item of a line, or all of it where the item is not known or not to be parted."""
    minibatch = task.minibatch
    position = _position(minibatch, line["source"], line["row"])
    if position is None:
        raise InputError(
            f"{what} is not in mini-batch {minibatch.index} of the plan; the input is not what it was in the run"
        )
    whole = minibatch.whole or line.get("items") is not None or minibatch.rows == 1
    return task if whole else replace(task, part=(position, position + 1))


def _position(minibatch: MiniBatch, source: str | None, row: int | None) -> int | None:
    """Where an item stands in a mini-batch, None if it does not; one that nobody knows counts as the first."""
    if minibatch.files:
        files = [path_text(file) for file in minibatch.files]
        return files.index(source) if source in files else None
    if row is None:
        return 0
    place = places(minibatch)
    rows = range(minibatch.first_row, minibatch.first_row + minibatch.rows)
    if not minibatch.ranges:
        return row - minibatch.first_row if row in rows and source == path_text(minibatch.source) else None
    placed = ((position, *place(position)) for position in rows)
    return next((position for position, name, there in placed if there == row and path_text(name) == source), None)


def _run(prepared: Prepared, task: Task, stops: Stops) -> int:
    _show_task(task)
    try:
        scorer = stops.load(prepared.spec.scorer)
        scorer.init()
    except BdbQuit:
        return _left()
    except BatchScoreError:
        raise  # our own words need no traceback
    except (Exception, SystemExit):  # noqa: BLE001 - the script's own: its traceback is what the user came for
        traceback.print_exc()
        return 1
    stages = Stages(prepared.spec, scorer)
    ran = stages.run(stages.load(task), 0.0)
    outcome, payload = stages.encode(ran)
    if outcome.fault is not None and outcome.fault.error == BdbQuit.__name__:
        return _left()
    if not _show_outcome(task.minibatch, outcome):
        return 1
    print(ran.returned.value if ran.returned else None)
    if outcome.columns:
        print(f"as {prepared.config.append_row_file_name}: {', '.join(outcome.columns)} ({len(payload):,} bytes)")
    scorer.shutdown()
    return 0


def _left() -> int:
    print("pdb was left before the script had ended", file=sys.stderr)
    return 1


def _show_task(task: Task) -> None:
    minibatch = task.minibatch
    start, stop = task.span
    source, row = places(minibatch)(minibatch.first_row + start)
    what = minibatch.files[start] if minibatch.files else f"{source}, row {row:,}"
    keys = "".join(f", {name}={value}" for name, value in minibatch.partition)
    print(f"mini-batch {minibatch.index}{keys}: {stop - start:,} of {counted(minibatch.rows, 'item')}, from {what}")


def _show_outcome(minibatch: MiniBatch, outcome: Outcome) -> bool:
    """Prints what became of the items; tells whether `run()` was called and the try was a good one."""
    place = places(minibatch)
    for item in outcome.failed_items:
        where = item.source if item.row is None else "{}, row {}".format(*place(item.row))
        print(f"failed item: {where}: {item.fault.message}")
    if outcome.fault is not None:
        print(outcome.fault.traceback, file=sys.stderr)
        return False
    if not outcome.timings.run:
        print("run() was not called: no readable item", file=sys.stderr)
        return False
    if nameless := nameless_of(outcome):
        print(f"failed items without a name, {nameless[0]:,}: {nameless[1].message}")
    print(f"run() took {outcome.timings.run:.3f} s and returned {counted(outcome.returned, 'element')}:")
    return True
