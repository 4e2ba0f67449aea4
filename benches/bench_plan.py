"""Planning: finding record boundaries in text, and listing files."""

import os

import pytest
from benches import texts

from batch_score._native import FileList, TextPlan

pytestmark = pytest.mark.timeout(600)
BOUND = 1 << 20


def plan(paths, dialect):
    """Every mini-batch of the files."""
    found = TextPlan(paths, max_bytes=BOUND, **dialect)
    ranges = []
    while more := found.next_batch(256):
        ranges += more
    return ranges


def check_files(block, paths, ranges, header):
    """Asserts the plan of each file; gives the number of records."""
    by_file = {}
    for file, *where in ranges:
        by_file.setdefault(file, []).append(where)
    assert sorted(by_file) == list(range(len(paths)))
    for file, path in enumerate(paths):
        block.check(by_file[file], header=header, size=os.path.getsize(path), bound=BOUND)  # noqa: PTH202 - thousands
    return sum(rows for *_, rows in ranges)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plan")


def test_reading_alone(measure, folder, scale):
    """What the same bytes cost when nobody looks at them: the figure to compare the others with."""
    path = texts.delimited(quoted=False).write(folder / "alone.csv", scale.bytes)

    def read():
        buffer, total = bytearray(1 << 20), 0
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
        return total

    size = measure.run(read, rounds=10, warmup_rounds=1)
    assert size == path.stat().st_size
    measure.note({"gb_per_s": size / 1e9})
    path.unlink()


@pytest.mark.parametrize("quoted", [False, True], ids=["unquoted", "quoted"])
def test_delimited_text(measure, folder, scale, quoted):
    block = texts.delimited(quoted=quoted)
    path = block.write(folder / "one.csv", scale.bytes, texts.HEADER)
    ranges = measure.run(plan, [str(path)], {}, rounds=10, warmup_rounds=1)
    rows = check_files(block, [path], ranges, len(texts.HEADER))
    measure.note({"gb_per_s": path.stat().st_size / 1e9, "rows_per_s": rows}, mini_batches=len(ranges))
    path.unlink()


@pytest.mark.parametrize("quoted", [False, True], ids=["unquoted", "quoted"])
def test_delimited_text_on_one_thread(measure, folder, scale, quoted):
    block = texts.delimited(quoted=quoted)
    path = block.write(folder / "one.csv", scale.bytes, texts.HEADER)
    ranges = measure.run(plan, [str(path)], {"threads": 1}, rounds=10, warmup_rounds=1)
    rows = check_files(block, [path], ranges, len(texts.HEADER))
    measure.note({"gb_per_s": path.stat().st_size / 1e9, "rows_per_s": rows}, mini_batches=len(ranges))
    path.unlink()


def test_delimited_text_without_multi_line(measure, folder, scale):
    block = texts.delimited(quoted=False)
    path = block.write(folder / "lines.csv", scale.bytes, texts.HEADER)
    ranges = measure.run(plan, [str(path)], {"multi_line": False}, rounds=10, warmup_rounds=1)
    rows = check_files(block, [path], ranges, len(texts.HEADER))
    measure.note({"gb_per_s": path.stat().st_size / 1e9, "rows_per_s": rows}, mini_batches=len(ranges))
    path.unlink()


def test_json_lines(measure, folder, scale):
    block = texts.json_lines()
    path = block.write(folder / "one.jsonl", scale.bytes)
    ranges = measure.run(plan, [str(path)], {"format": "jsonl"}, rounds=10, warmup_rounds=1)
    rows = check_files(block, [path], ranges, 0)
    measure.note({"gb_per_s": path.stat().st_size / 1e9, "rows_per_s": rows}, mini_batches=len(ranges))
    path.unlink()


def test_many_small_files(measure, folder, scale):
    """Files of 50 kB: opening them is the work."""
    whole = texts.delimited(quoted=True)
    records = int((whole.starts < 50_000).sum())
    block = texts.Block(whole.text[: whole.starts[records]], whole.starts[:records])
    paths = []
    for number in range(scale.count(4_000)):
        path = folder / f"{number:05d}.csv"
        paths.append(str(block.write(path, len(block.text), texts.HEADER)))
    ranges = measure.run(plan, paths, {}, rounds=5, warmup_rounds=1)
    rows = check_files(block, paths, ranges, len(texts.HEADER))
    assert rows == records * len(paths)
    size = sum(length for _, _, length, _, _ in ranges)
    measure.note({"gb_per_s": size / 1e9, "files_per_s": len(paths)}, files=len(paths))


def test_listing_files(measure, many_files):
    def listing():
        files = FileList([many_files.folder])
        found = []
        while more := files.next_batch(4_096):
            found += more
        return found

    found = measure.run(listing, rounds=5, warmup_rounds=1)
    assert found == many_files.paths
    measure.note({"files_per_s": len(found)}, files=len(found))
