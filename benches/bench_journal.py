"""What exactly-once costs: whole jobs with the journal and its syncs, against the same jobs that only append."""

import os
import time

import numpy as np
import pyarrow.csv as pacsv
import pytest
from benches.jobs import score

from batch_score import TabularDataset
from batch_score._native import AppendWriter
from batch_score.job import session

pytestmark = pytest.mark.timeout(900)
ROUNDS = 9


class BareWriter:
    """Appends rows to the output and does nothing else: no journal, no check sums, no syncs."""

    identity = staticmethod(lambda _index: None)
    lost = 0

    def __init__(self, output, failed_items, journal, **_):
        folder = journal.parent / "of-the-journal"
        folder.mkdir()
        # Only for the totals that a job begins with.
        fresh = {"run_id": bytes(16), "sync_bytes": 1, "sync_seconds": 1.0, "now": 0.0}
        with AppendWriter.create(None, folder / "failed", folder / "journal", **fresh) as writer:
            self.summary = writer.summary
        failed_items.touch()
        self._file = output.open("xb", buffering=0)
        self.end_offset = 0

    def preamble(self, payload, _now):
        """Writes; the new end of the output."""
        self.end_offset += self._file.write(payload)
        return self.end_offset

    def append(self, _kind, _ending, payload, _failed_items, _now):
        """Writes the rows; the new end of the output."""
        return self.preamble(payload, _now)

    def sync(self):
        """Nothing, which is the point."""

    def begin_sync(self):
        """Nothing either."""

    def keep_up(self, _now):
        """Nor this."""

    def close(self):
        """Closes the output."""
        self._file.close()


def bare(_create, prepared, _record, stack):
    """Stands in for what makes the append writer of a job."""
    writer = BareWriter(prepared.output, prepared.run_dir / "failed_items.jsonl", prepared.run_dir / session.JOURNAL)
    stack.callback(writer.close)
    return writer


def test_job_with_and_without_journal(measure, floats, mlp, folders, monkeypatch):
    """CSV to model to CSV on 2 workers; a bare job before each measured one, so that both see the same machine."""
    plain, journaled = [], []

    def job(seconds):
        os.sync()  # what a bare job has left to the kernel would be written at the cost of the next one
        begin = time.perf_counter()
        result = score(
            folders(),
            mlp,
            TabularDataset.from_delimited_files(floats.paths),
            append_row_file_name="predictions.csv",
            key="id",
            mini_batch_size=1 << 20,
            process_count_per_node=2,
            features=tuple(f"f{number:02d}" for number in range(20)),
        )
        seconds.append(time.perf_counter() - begin)
        return result

    def without():
        with monkeypatch.context() as patched:
            patched.setattr(session, "_writer", bare)
            check(job(plain), floats)

    result = measure.run(lambda: job(journaled), setup=without, rounds=ROUNDS)
    check(result, floats)
    assert (result.run_dir / session.JOURNAL).stat().st_size > 0
    ratios = sorted(with_it / without_it for with_it, without_it in zip(journaled, plain, strict=True))
    measure.note(
        overhead_of_median=float(np.median(journaled) / np.median(plain)) - 1,
        overhead_of_fastest=min(journaled) / min(plain) - 1,
        overhead_of_pairs_median=ratios[len(ratios) // 2] - 1,
        bytes_written=result.totals.bytes_written,
    )


def check(result, floats):
    """Asserts that the output has each id exactly once."""
    ids = pacsv.read_csv(result.output).sort_by("id")["id"].to_numpy()
    assert np.array_equal(ids, floats.ids)
