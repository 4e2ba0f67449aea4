"""How a file that is made at the end gets its final name: whole, on the disk, and never in the place of another file.

It is made as a draft beside that name and linked to it. The draft stays until the run says that it has completed: with
it, a session that goes on knows that the file under the final name is its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from batch_score.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path


def draft_of(target: Path, run_id: bytes) -> Path:
    """Where a run makes the file that is to be `target`; no two runs have the same place."""
    return target.with_name(f".batch-score-{run_id.hex()}.partial")


def is_published(draft: Path, target: Path) -> bool:
    """Whether `target` is the file that was made as `draft`."""
    try:
        return draft.samefile(target)
    except FileNotFoundError:
        return False


def refuse_taken(draft: Path, target: Path) -> None:
    """Checks that the final name is free, or has the run's own file.

    Raises:
        OutputError: Another file has it.
    """
    if os.path.lexists(target) and not is_published(draft, target):
        raise OutputError(_taken(target))


def publish(draft: Path, target: Path) -> None:
    """Gives a file that is complete and on the disk its final name, under which it is seen at once as a whole.

    Raises:
        OutputError: Another file has that name; nothing has changed.
        OSError: The folder cannot be written.
    """
    try:
        _link(draft, target)
    except FileExistsError as error:
        raise OutputError(_taken(target)) from error
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _link(draft: Path, target: Path) -> None:
    try:
        os.link(draft, target)  # unlike a rename, a link fails when the name is taken
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        target.open("x").close()
        draft.replace(target)


def _taken(target: Path) -> str:
    return (
        f"output file {target} exists and is not of this run, whose rows are kept in its run directory; "
        "move that file away, then resume the run"
    )
