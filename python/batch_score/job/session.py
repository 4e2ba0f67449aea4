"""How a job gets a run directory to itself: a new one, or that of a run which it goes on with."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score import _native
from batch_score.errors import OutputError, UsageError
from batch_score.job.layout import FAILED_ITEMS, JOURNAL, SPOOL
from batch_score.job.prepare import Prepared, make_folder, prepare
from batch_score.job.record.fingerprint import enumerated
from batch_score.job.record.reading import Recorded
from batch_score.job.record.writing import RunRecord
from batch_score.job.request import Resumption, free_folder
from batch_score.output.publish import draft_of, refuse_taken

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from batch_score.gpu.device import Inventory
    from batch_score.job.interrupt import Interruption
    from batch_score.job.record.fingerprint import Fingerprint
    from batch_score.job.request import JobRequest

# Group commit: what an outage of the whole machine may cost. A killed process costs nothing that was appended.
SYNC_BYTES = 64 << 20
SYNC_SECONDS = 5.0
WORKER_FILE = re.compile(r"process(\d+)\.")


@dataclass(frozen=True)
class Session:
    """A job that has its run directory to itself.

    Attributes:
        prepared: What was decided.
        record: Its `run.json`.
        writer: The append writer, which holds the lock on the run.
    """

    prepared: Prepared
    record: RunRecord
    writer: _native.AppendWriter


def begin(request: JobRequest, inventory: Inventory, stack: ExitStack, interruption: Interruption) -> Session:
    """Prepares a job and takes its run directory, which no other job can then have.

    Args:
        request: What is asked; a new run, or one to go on with.
        inventory: The devices of this machine.
        stack: Closes the append writer, and lets signals have their usual effect again.
        interruption: Entered when nothing has been written yet.

    Raises:
        UsageError: The job cannot be carried out as asked, or not now.
    """
    if request.resumes is not None:
        return _resumed(prepare(request, inventory), request, request.resumes, stack, interruption)
    prepared, record = _claimed(request, inventory, stack, interruption)
    make_folder(Path(prepared.spec.output_dir))
    return Session(prepared, record, _writer(_native.AppendWriter.create, prepared, record, stack))


def _claimed(
    request: JobRequest, inventory: Inventory, stack: ExitStack, interruption: Interruption
) -> tuple[Prepared, RunRecord]:
    """A new run that has its run directory: of numbered ones the first that no other run has, or takes meanwhile."""
    wanted = request.run_dir
    while True:
        if request.numbered:
            request = replace(request, run_dir=free_folder(wanted))
        try:
            prepared = prepare(request, inventory)
        except OutputError:
            if request.numbered and request.run_dir.exists():  # it was free a moment ago
                continue
            raise
        stack.enter_context(interruption)
        make_folder(prepared.run_dir)
        output = Path(prepared.spec.output_dir)
        if not output.is_relative_to(prepared.run_dir):  # else a run that is killed here would leave it in its way
            make_folder(output)
        record = RunRecord(prepared, request)
        try:
            record.claim()
        except FileExistsError as error:
            if not request.numbered:
                raise OutputError(f"run directory {prepared.run_dir} was just taken by another run") from error
            continue
        return prepared, record


def _resumed(
    prepared: Prepared, request: JobRequest, resumes: Resumption, stack: ExitStack, interruption: Interruption
) -> Session:
    """Goes on with the run in the run directory, if what it depends on is as it was."""
    changes = changes_since(resumes.record, prepared.fingerprint)
    if changes and not resumes.force:
        raise UsageError(
            f"the run in {prepared.run_dir} cannot go on: {enumerated(changes)}; "
            "start a new run, or give --force to go on all the same"
        )
    stack.enter_context(interruption)
    make_folder(Path(prepared.spec.output_dir))
    record = RunRecord(prepared, request)
    writer = _writer(_native.AppendWriter.resume, prepared, record, stack)
    written = Recorded.read(prepared.run_dir).content != resumes.record.content  # read before the lock was ours
    if written or changes_since(resumes.record, prepared.fingerprint) != changes:
        raise OutputError(f"run directory {prepared.run_dir} was just written by another process; try again")
    if prepared.spool and prepared.output:
        refuse_taken(draft_of(prepared.output, record.run_id), prepared.output)
    record.resume()
    notes = [f"going on although {enumerated(changes)}"] if changes else []
    mended = [one for one in resumes.record.fingerprint.changes(prepared.fingerprint) if one not in changes]
    if mended:
        notes.append(f"{enumerated(mended)}; no mini-batch had ended, so all are scored with what is there now")
    if writer.lost:
        notes.append(f"{writer.lost} records of the journal are lost with their rows, which will be scored again")
    return Session(replace(prepared, notes=(*prepared.notes, *notes)), record, writer)


def changes_since(record: Recorded, now: Fingerprint) -> list[str]:
    """What keeps an earlier run from going on, each as a clause.

    The scorer does not count while no mini-batch has ended: whoever mends a script that could not be loaded has no
    rows of the one before.
    """
    was = record.fingerprint
    if not record.completed and _nothing_ended(record.run_dir / JOURNAL):
        was = replace(was, scorer=now.scorer)
    return was.changes(now)


def _nothing_ended(journal: Path) -> bool:
    try:
        return not _native.read_journal(journal).records
    except FileNotFoundError:
        return True
    except (OutputError, OSError):  # a damaged one: the append writer says what is wrong
        return False


def _writer(
    create: Callable[..., _native.AppendWriter], prepared: Prepared, record: RunRecord, stack: ExitStack
) -> _native.AppendWriter:
    """The append writer of a new or a resumed run."""
    try:
        writer = create(
            prepared.spool or prepared.output,
            prepared.run_dir / FAILED_ITEMS,
            prepared.run_dir / JOURNAL,
            run_id=record.run_id,
            sync_bytes=SYNC_BYTES,
            sync_seconds=SYNC_SECONDS,
            now=time.monotonic(),
        )
    except OSError as error:
        raise OutputError(_refused(prepared.run_dir, error)) from error
    stack.callback(_close, writer)
    return writer


def _refused(run_dir: Path, error: OSError) -> str:
    """Why the append writer cannot have the files of a run."""
    if isinstance(error, BlockingIOError):
        return f"run directory {run_dir} is being written by another process; wait until that has ended"
    if isinstance(error, FileExistsError):
        return f"{error}; another process was quicker, give another --run-dir"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename} is a folder, where the run has a file; put the file back, or start a new run"
    if error.filename is None:  # the writer's own words, which say what to do
        return str(error)
    return f"{error.filename}: {error.strerror}; see to it that the files of the run can be written"


def _close(writer: _native.AppendWriter) -> None:
    """Lets go of the files of a run whose end has been told.

    What a completed run has appended is on the disk by then. Of another one as much as the disk took is good, which
    the session that goes on finds out.
    """
    with suppress(OSError):
        writer.close()


def remove_left(run_dir: Path, output: Path | None, run_id: bytes) -> None:
    """Removes what a run needed to make its output file at the end, once `run.json` says that it has completed.

    Args:
        run_dir: The run directory.
        output: The output file, None for none.
        run_id: Of the run.
    """
    for path in (run_dir / SPOOL, *([draft_of(output, run_id)] if output else [])):
        if path != output:  # as a run of an earlier version may have it
            with suppress(OSError):
                path.unlink(missing_ok=True)


def first_worker(logs: Path) -> int:
    """The number of the first worker: one that no earlier session of the run has used for its log files."""
    found = (WORKER_FILE.match(path.name) for path in logs.rglob("process*"))
    return max((int(match[1]) for match in found if match), default=-1) + 1
