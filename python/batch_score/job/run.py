"""The one place that wires a job: engine, queue, planner, ledger, logs, monitor, progress."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
import traceback
from contextlib import ExitStack
from typing import TYPE_CHECKING

from batch_score import _native
from batch_score.errors import BatchScoreError, InputChangedError, JobFailedError
from batch_score.gpu.placement import near
from batch_score.job.breaker import InitBreaker
from batch_score.job.crew import Crew
from batch_score.job.death import OomCounter
from batch_score.job.drive import Driver, Parts
from batch_score.job.early import early
from batch_score.job.ending import End, behind, command, fruitless, output_form, with_first
from batch_score.job.failed_items import first_failed
from batch_score.job.gpu_samples import gpu_samples
from batch_score.job.interrupt import Interrupted, Interruption
from batch_score.job.layout import FAILED_ITEMS, JOURNAL
from batch_score.job.ledger import Columns, Ledger
from batch_score.job.placing import read_text
from batch_score.job.plan import Planner, plan
from batch_score.job.queue import MiniBatchQueue
from batch_score.job.record.fingerprint import changed_meanwhile, enumerated
from batch_score.job.request import RunResult
from batch_score.job.session import begin, first_worker, remove_left
from batch_score.job.totals import enough, excesses
from batch_score.job.worker_times import AllTimes
from batch_score.logs.report import JobLog
from batch_score.logs.tree import COORDINATOR, LogTree, node_address, process_name
from batch_score.minibatch import Fault
from batch_score.monitor.monitor import Monitor
from batch_score.output.parquet import UnitedSchema, finish_parquet, spool_schema
from batch_score.progress import Progress, Snapshot, line
from batch_score.summary import COMPLETED, FAILED, INTERRUPTED, RunSummary, script_line
from batch_score.telemetry.process import telemetry

if TYPE_CHECKING:
    from pathlib import Path

    from batch_score.engine.base import Engine
    from batch_score.engine.interpreter import Waiting
    from batch_score.job.early import Early
    from batch_score.job.request import JobRequest
    from batch_score.job.session import Session

logger = logging.getLogger(__name__)

SHOW_S = 0.1
OVERVIEW_S = 1.0
LOG_S = 10.0


def run_job(request: JobRequest, progress: Progress | None = None, begun: Early | None = None) -> RunResult:
    """Runs a job to its end; a failed job is a result, not an exception.

    Args:
        request: What is asked.
        progress: Where to show progress; None shows notes and warnings on stderr and no figures.
        begun: What the caller has started for the job, who also ends it; None for nothing.

    Raises:
        UsageError: Found before any worker was started.
    """
    interruption = Interruption()
    with ExitStack() as stack:
        begun = begun or stack.enter_context(early(request.config))
        session = begin(request, begun.inventory, stack, interruption)
        engine = _engine(session.prepared.config.engine, begun.waiting)
        shown = progress or Progress(sys.stderr, figures=False)
        result = Job(session, engine, shown, stack, interruption).run()
        if session.prepared.spool is not None and result.status == COMPLETED:
            # Only now: a session that goes on needs it as long as run.json does not say completed.
            remove_left(session.prepared.run_dir, session.prepared.output, session.record.run_id)
    return result


class Job:
    """A job while it runs.

    Args:
        session: What was decided, and the files that are this job's alone.
        engine: Starts the workers.
        progress: Where to show progress.
        stack: Closes what the job opens, in reverse order.
        interruption: Holds signals back until the job has ended.
    """

    def __init__(
        self,
        session: Session,
        engine: Engine,
        progress: Progress,
        stack: ExitStack,
        interruption: Interruption,
    ) -> None:
        prepared = session.prepared
        self._prepared = prepared
        self._progress = progress
        self._notes: list[str] = []
        self._stack = stack
        self._interruption = interruption
        self._record = session.record
        self._started = time.monotonic()
        self._shown = self._noted = 0.0
        self._logged = self._started
        config = prepared.config
        tree = LogTree(prepared.run_dir / "logs", prepared.spec.node)
        tree.create()
        self._tree = tree
        self._log = stack.enter_context(
            JobLog(tree, config.logging_level, addresses={prepared.spec.node: node_address()})
        )
        self._writer = session.writer
        self._ledger = Ledger(
            session.writer,
            prepared.encoder,
            self._log,
            _columns(session),
            short_return_fails=config.error_threshold >= 0,
            clock=time.monotonic,
        )
        self._queue = MiniBatchQueue(config.run_max_try, bisect=config.on_failure == "bisect")
        self._engine = engine
        self._telemetry = stack.enter_context(
            telemetry(os.environ, process=COORDINATOR, loggers=[logging.getLogger("batch_score")], scripts=False)
        )
        self._telemetry.begin(prepared.run_dir.name, {"run": prepared.run_dir.name, "scorer": prepared.spec.argv[0]})
        self._telemetry.count(lambda: self._ledger.totals.counters)
        self._crew = Crew(
            self._engine,
            prepared.spec,
            [environment | self._telemetry.carrier for environment in prepared.environments],
            assignments=prepared.assignments,
            cpus=[near(assignment.unit, os.sched_getaffinity(0)) for assignment in prepared.assignments],
            started=first_worker(tree.root),
        )
        self._monitor = Monitor(
            tree,
            config.resource_monitor_interval,
            self._processes,
            gpu_samples=gpu_samples(prepared.assignments, stack),
            gpu_interval_s=config.gpu_monitor_interval,
        )
        self._times = AllTimes()
        totals = [dataset.total_bytes() for dataset in prepared.datasets]
        self._bytes_total = None if None in totals else sum(total or 0 for total in totals)

    def run(self) -> RunResult:
        """Drives the job and says what became of it."""
        self._announce()
        end = self._carried_out()
        if end.cause:
            logger.error("%s", end.cause)
        logger.info("%s: %s", end.status, line(self.snapshot()))
        self._progress.update(self.snapshot())
        self._progress.close()
        result = self._result(end)
        self._telemetry.end(end.status, end.cause, {"items": result.items})
        self._log.result(result.ending)
        try:
            self._record.end(result)  # last: when it says completed, all else is there
        except OSError as error:
            end = end.unrecorded(error)
            logger.error("%s: %s", end.status, end.cause)  # noqa: TRY400 - no traceback for a full disk
            result = self._result(end)
            self._log.result(result.ending)
        return result

    def _result(self, end: End) -> RunResult:
        ending = self._ending(end)
        return RunResult(
            status=end.status,
            exit_code=end.code,
            run_dir=self._prepared.run_dir,
            output=ending.output,
            elapsed_s=ending.snapshot.elapsed_s,
            totals=self._ledger.totals,
            items=self._ledger.totals.items if end.status == COMPLETED else self._queue.items,
            ending=ending,
            ended_before=self._ledger.before.mini_batches,
            times=self._times.as_json(),
            notes=tuple(self._notes),
        )

    def _carried_out(self) -> End:
        try:
            self._interruption.check()
            with self._interruption.second_is_urgent():
                self._drive()
                self._finish()
        except Interrupted as interrupted:
            return End(INTERRUPTED, str(interrupted), 128 + interrupted.number)
        except KeyboardInterrupt:  # a second signal, while the first one was being obeyed
            return End(INTERRUPTED, "interrupted twice", 128 + signal.SIGINT)
        except InputChangedError as error:
            return End(FAILED, str(error), 1, resumable=False)
        except (BatchScoreError, OSError) as error:
            return End(FAILED, with_first(str(error), self._log.first_fault), 1)
        except Exception as error:  # noqa: BLE001 - a fault of our own is a failed job with a log, not a traceback
            cause = f"internal error, please report it: {type(error).__name__}: {error}"
            self._log.system_error(Fault(type(error).__name__, str(error), traceback.format_exc()), "driving the job")
            return End(FAILED, cause, 1, log=self._tree.system_error(COORDINATOR))
        return End(COMPLETED, "", 0)

    def _announce(self) -> None:
        """Says where everything will be, and what should be known before it begins."""
        prepared = self._prepared
        places = [f"run directory {prepared.run_dir}", *([f"output {prepared.output}"] if prepared.output else [])]
        logger.info("started: %s, %d workers", ", ".join(places), len(prepared.environments))
        for place in places:
            self._progress.detail(place)
        for note in prepared.notes:
            logger.warning("%s", note)
            self._note(f"note: {note}")
        if self._ledger.before.mini_batches:
            logger.info("resumed after %d mini-batches that had ended before", self._ledger.before.mini_batches)

    def _note(self, text: str) -> None:
        """Shows a line that the user should see, also one who wants no figures."""
        self._notes.append(text.removeprefix("note: "))
        self._progress.note(text)

    def _drive(self) -> None:
        config = self._prepared.config
        chunks = plan(self._prepared.datasets, config.mini_batch_size)
        if config.engine == "inline":  # the script will move this process to a folder where relative paths end
            chunks = iter(list(chunks))
        planner = Planner(chunks)
        driver = Driver(
            Parts(
                crew=self._crew,
                queue=self._queue,
                ledger=self._ledger,
                planner=planner,
                config=config,
                breaker=InitBreaker(len(self._prepared.environments), config.run_invocation_timeout),
                oom=OomCounter(read_text),
                log=self._log,
                times=self._times,
                telemetry=self._telemetry,
                interruption=self._interruption,
                tick=self._tick,
                note=self._note,
            )
        )
        try:
            self._monitor.start()
            driver.drive()
            self._writer.begin_sync()  # while the workers leave
        finally:
            self._monitor.stop()
            self._engine.close()
            planner.close()

    def _finish(self) -> None:
        """Checks that something succeeded and makes the final output file."""
        if reason := self._fruitless:
            raise JobFailedError(behind(self._log.first_fault, reason))
        self._tell_of_changes()
        self._writer.sync()  # it stays open, because it keeps other processes away until run.json says completed
        if self._prepared.spool is not None and self._prepared.output is not None:
            ends = _ends(self._prepared.run_dir)
            finish_parquet(self._prepared.spool, ends, self._prepared.output, self._record.run_id)

    def _tell_of_changes(self) -> None:
        """Warns of input that is not what it was when the job began: its rows may be of both versions."""
        changes = changed_meanwhile(self._prepared.fingerprint.inputs, self._prepared.datasets)
        if changes:
            text = f"while it was scored, {enumerated(changes)}; the output may have rows of both"
            logger.warning("%s", text)
            self._note(f"warning: {text}")

    def _tick(self) -> None:
        now = time.monotonic()
        if now < self._shown + SHOW_S:
            return
        self._shown = now
        snapshot = self.snapshot()
        self._progress.update(snapshot)
        if now >= self._noted + OVERVIEW_S:
            self._noted = now
            self._log.overview(snapshot)
            self._log_progress(now, snapshot)
        self._writer.keep_up(now)

    def _log_progress(self, now: float, snapshot: Snapshot) -> None:
        if now >= self._logged + LOG_S:
            self._logged = now
            logger.info("%s", line(snapshot))

    def snapshot(self) -> Snapshot:
        """How far the job is."""
        totals = self._ledger.totals
        complete = self._queue.plan_complete and self._queue.finished
        return Snapshot(
            mini_batches_planned=self._queue.planned,
            mini_batches_succeeded=totals.mini_batches_succeeded,
            mini_batches_failed=totals.mini_batches_failed,
            mini_batches_partly=totals.mini_batches_partly,
            plan_complete=self._queue.plan_complete,
            items_succeeded=totals.items_succeeded,
            items_failed=totals.items_failed,
            items_total=totals.items if complete else self._queue.items if self._queue.plan_complete else None,
            bytes_done=totals.bytes_read,
            bytes_total=self._bytes_total,
            elapsed_s=time.monotonic() - self._started,
            workers=len(self._crew.members),
            unit="rows" if self._prepared.datasets[0].kind == "tabular" else "files",
            items_before=self._ledger.before.items,
            bytes_before=self._ledger.before.bytes_read,
            gpu_percent=self._monitor.gpu_percent,
        )

    def _processes(self) -> dict[str, int]:
        workers = {process_name(number): pid for number, pid in self._engine.pids().items()}
        return {COORDINATOR: os.getpid(), **workers}

    @property
    def _fruitless(self) -> str:
        """Why the job cannot complete if everything has ended."""
        return fruitless(self._ledger.totals, appends=self._prepared.encoder is not None, unread=self._ledger.unread)

    def _ending(self, end: End) -> RunSummary:
        """The end for the closing summary."""
        fault, log = self._log.first_fault, end.log
        if end.status == FAILED and log is None:
            log = self._log.first_traceback or self._tree.master_role
        encoder, returned = self._prepared.encoder, self._ledger.totals.returned
        failed_items = self._prepared.run_dir / FAILED_ITEMS if self._ledger.totals.items_failed else None
        return RunSummary(
            status=end.status,
            output=None if self._prepared.spool and end.status != COMPLETED else self._prepared.output,
            run_dir=self._prepared.run_dir,
            snapshot=self.snapshot(),
            output_form=output_form(encoder, returned, has_header=self._ledger.has_header) if returned else "",
            cause=end.cause,
            script_line=script_line(fault.traceback, self._prepared.spec.argv[0]) if fault else "",
            log=log,
            errors=self._log.errors,
            failed_items=failed_items,
            first_failed=first_failed(failed_items) if failed_items else "",
            advice=self._advice() if end.status != COMPLETED and end.resumable else "",
        )

    def _advice(self) -> str:
        """How to go on, if that can help."""
        queue, prepared = self._queue, self._prepared
        done = queue.plan_complete and queue.finished
        if (done and self._fruitless) or None in [dataset.origin for dataset in prepared.datasets]:
            return ""
        planned = queue.planned if queue.plan_complete else None
        return command(prepared.run_dir, enough(excesses(self._ledger.totals, prepared.config, planned)))


def _engine(name: str, waiting: Waiting) -> Engine:
    """The engine of that name; only it is imported, for inline loads what a coordinator of processes does without."""
    if name == "inline":
        from batch_score.engine.inline import InlineEngine  # noqa: PLC0415 - see above

        return InlineEngine()
    from batch_score.engine.local import LocalEngine  # noqa: PLC0415 - see above

    return LocalEngine(waiting)


def _columns(session: Session) -> Columns:
    """What earlier sessions of the run have left of the output's columns."""
    spool, begun = session.prepared.spool, session.writer.end_offset > 0
    united = None
    if spool is not None:
        united = spool_schema(spool, _ends(session.prepared.run_dir)) if begun else UnitedSchema()
    return Columns(session.record.known_columns if begun else (), united, session.record.columns)


def _ends(run_dir: Path) -> list[int]:
    """Where the segments of the spool end, ascending."""
    return sorted({record.end for record in _native.read_journal(run_dir / JOURNAL).records})
