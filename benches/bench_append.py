"""The append writer: appends and their journal records, with and without syncs."""

import hashlib
import itertools
import random
import time

import pytest

from batch_score._native import AppendWriter, Ending, read_journal
from batch_score.job.session import SYNC_BYTES, SYNC_SECONDS

pytestmark = pytest.mark.timeout(600)
NEVER = {"sync_bytes": 1 << 60, "sync_seconds": float("inf")}
GROUPED = {"sync_bytes": SYNC_BYTES, "sync_seconds": SYNC_SECONDS}
EACH = {"sync_bytes": 0, "sync_seconds": float("inf")}


@pytest.mark.parametrize("length", [1_000, 100_000], ids=["1kB", "100kB"])
@pytest.mark.parametrize(("sync", "most"), [(NEVER, 100_000), (GROUPED, 100_000), (EACH, 400)],
                         ids=["no_sync", "group_commit", "sync_each"])  # fmt: skip
def test_append(measure, folders, scale, length, sync, most):
    """`group_commit` syncs as a job does; closing, which syncs, is not measured."""
    payloads = [random.Random(seed).randbytes(length) for seed in range(64)]  # noqa: S311 - not for secrets
    count = min(scale.count(most), max(20, scale.bytes // length))
    folder = None

    def create():
        nonlocal folder
        folder = folders()
        folder.mkdir()
        files = (folder / "out", folder / "failed", folder / "journal")
        writer = AppendWriter.create(*files, run_id=bytes(16), now=time.monotonic(), **sync)
        return (writer, zip(range(count), itertools.cycle(payloads), strict=False)), {}

    def append(writer, work):
        for index, payload in work:
            ending = Ending(index=index, identity=index, attempt=0, total=1, succeeded=1, returned=1)
            writer.append("committed", ending, payload, b"", time.monotonic())
        return writer

    with measure.run(append, setup=create):
        pass
    check(folder, payloads, count, length)
    measure.note({"appends_per_s": count, "mb_per_s": count * length / 1e6}, appends=count)


def check(folder, payloads, count, length):
    """Asserts that output and journal hold every payload once, in order."""
    wanted = hashlib.sha256()
    for payload in itertools.islice(itertools.cycle(payloads), count):
        wanted.update(payload)
    with (folder / "out").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == wanted.digest()
    journal = read_journal(folder / "journal")
    assert not journal.torn
    found = [(record.kind, record.index, record.end) for record in journal.records]
    assert found == [("committed", index, (index + 1) * length) for index in range(count)]
