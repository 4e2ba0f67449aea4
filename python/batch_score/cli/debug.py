"""`batch-score debug`: one mini-batch in this process, with everything shown."""

from __future__ import annotations

import logging
import sys
import tempfile
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.cli.score import requested
from batch_score.errors import ConfigError
from batch_score.job.plan import plan
from batch_score.job.prepare import Prepared, prepare, with_inline_defaults
from batch_score.logs.tree import process_name
from batch_score.worker.azureml_user import Agent
from batch_score.worker.messages import Task
from batch_score.worker.scorer import load_scorer
from batch_score.worker.stages import Stages
from batch_score.worker.workplace import surroundings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def debug_mini_batch(given: Mapping[str, Any], script: Sequence[str], number: int) -> int:
    """Runs mini-batch `number` of the plan and prints what went in and what came out.

    Returns:
        0, or 1 if the script raised or returned something that cannot be written; its traceback was printed.
    """
    with tempfile.TemporaryDirectory(prefix="batch-score-debug-") as folder:
        request = requested({**given, "run_dir": Path(folder, "run")}, script)
        prepared = prepare(replace(request, config=with_inline_defaults(request.config)))
        task = _nth(prepared, number)
        agent = Agent(logging.getLogger("entry_script"), folder, process_name(0), prepared.spec.output_dir)
        with surroundings(prepared.spec, prepared.environments[0], agent):
            return _run(prepared, task)


def _nth(prepared: Prepared, number: int) -> Task:
    """The task of a first try at mini-batch `number`."""
    last, before = -1, 0
    for chunk in plan(prepared.datasets, prepared.config.mini_batch_size):
        for minibatch in chunk:
            if minibatch.index == number:
                return Task(minibatch, 0, before)
            last, before = minibatch.index, before + minibatch.rows
    raise ConfigError(f"mini-batch {number} is not in the plan, whose last one is {last}")


def _run(prepared: Prepared, task: Task) -> int:
    minibatch = task.minibatch
    what = minibatch.files[0] if minibatch.files else f"{minibatch.source}, first row {minibatch.first_row:,}"
    print(f"mini-batch {minibatch.index}: {minibatch.rows:,} items from {what}")
    try:
        scorer = load_scorer(prepared.spec.scorer)
        scorer.init()
    except Exception:  # noqa: BLE001 - the script's own: its traceback is what the user came for
        traceback.print_exc()
        return 1
    stages = Stages(prepared.spec, scorer)
    ran = stages.run(stages.load(task), 0.0)
    outcome, payload = stages.encode(ran)
    for item in outcome.failed_items:
        print(f"failed item: row {item.row}: {item.fault.message}")
    if outcome.fault is not None:
        print(outcome.fault.traceback, file=sys.stderr)
        return 1
    print(f"run() took {outcome.timings.run:.3f} s and returned {outcome.returned:,} elements:")
    print(ran.returned.value if ran.returned else None)
    if outcome.columns:
        print(f"as {prepared.config.append_row_file_name}: {', '.join(outcome.columns)} ({len(payload):,} bytes)")
    scorer.shutdown()
    return 0
