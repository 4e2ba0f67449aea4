"""Holds the answers of a peer against the right ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from benches.peers.measure import PeerError
from benches.peers.peers import ALONE

if TYPE_CHECKING:
    from benches.peers.data import Data
    from benches.peers.measure import Measured
    from benches.peers.peers import Job, Work

TOLERANCE = 1e-5


def check(work: Work, job: Job, data: Data, measured: Measured) -> None:
    """Raises PeerError unless the peer counted right, or gave each id exactly once with the model's score."""
    if not work.model:
        check_count(job, measured.rows, expected_count(work, job, data))
    elif job.peer == ALONE:
        check_scores(job.peer, np.load(Path(job.out, "p.npy")), data.answers(work.model))
    else:
        ids, scores = read_scores(job.out)
        check_ids(job.peer, ids, data.rows)
        check_scores(job.peer, scores, data.answers(work.model))


def expected_count(work: Work, job: Job, data: Data) -> int:
    """What the peer must have counted: records, or lines if it counts these."""
    if job.peer in work.lines:
        return data.quoted_lines if job.quoted else data.rows + len(job.files)
    return data.quoted_rows if job.quoted else data.rows


def check_count(job: Job, found: int | None, expected: int) -> None:
    """Raises PeerError for a wrong number."""
    if found != expected:
        raise PeerError(f"{job.peer} found {found} at {job.work}, but there are {expected}")


def read_scores(folder: str) -> tuple[np.ndarray, np.ndarray]:
    """The columns `id` and `p` of all CSV files of a folder, in the order of the ids."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.stat().st_size)
    types = pacsv.ConvertOptions(column_types={"id": pa.int64(), "p": pa.float64()})
    table = pa.concat_tables([pacsv.read_csv(path, convert_options=types) for path in paths])
    ids = table["id"].to_numpy()
    order = np.argsort(ids, kind="stable")
    return ids[order], table["p"].to_numpy()[order]


def check_ids(peer: str, ids: np.ndarray, rows: int) -> None:
    """Raises PeerError unless the sorted `ids` are 0 to rows - 1."""
    if not np.array_equal(ids, np.arange(rows)):
        raise PeerError(f"{peer} wrote {len(ids)} rows that are not each id from 0 to {rows - 1} exactly once")


def check_scores(peer: str, scores: np.ndarray, expected: np.ndarray) -> None:
    """Raises PeerError for a score that is not that of the model."""
    close = np.isclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)
    if not close.all():
        first = int(np.argmin(close))
        raise PeerError(
            f"{peer} gave {np.count_nonzero(~close)} wrong scores, first that of id {first}: {scores[first]} instead "
            f"of {expected[first]}"
        )
