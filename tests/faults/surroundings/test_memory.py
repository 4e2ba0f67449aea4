"""Memory that runs out: real limits, real MemoryErrors, and a real kill by the kernel."""

import json

import pytest
from tests.faults.surroundings.cgroup import memory_cgroup
from tests.faults.surroundings.site import echoed, needs_root, thorough
from tests.integration.running import numbers, tries

from batch_score.job.crew import FEW

MB = 1 << 20
# Takes 40 MB of addresses for each row it is given, of which the limit leaves room for 100; notes how many rows it got.
# A tighter limit would leave none for the threads of the worker's libraries.
GREEDY = """
    import resource

    import numpy

    def init():
        size = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + 5 * 2**30, size + 5 * 2**30))

    def run(rows):
        with open("sizes", "a") as file:
            file.write(f"{{len(rows)}}\\n")
        {first}
        taken = numpy.zeros((len(rows), 40 * 2**20), numpy.int8)
        return rows
"""


def sizes(site):
    """How many rows `run()` was given, call after call."""
    return [int(line) for line in (site.folder / "sizes").read_text().splitlines()]


def warned(site):
    return [line for line in site.master_log.splitlines() if "|WARNING|" in line and "memory ran out" in line]


def test_mini_batches_that_are_too_large_are_cut_and_all_rows_are_scored(site):
    """Of 300 rows a mini-batch; each of two workers holds four, and from then on the size that fits is known."""
    site.script(GREEDY.format(first="pass"))
    rows = 3_600
    site.table(rows)
    size = (site.folder / "t.csv").stat().st_size // 12
    done = site.run("--error-threshold", 0, "--allowed-failed-count", 0, size=size, workers=2)
    site.check_complete(done, echoed(rows))
    assert site.record["mini_batches"]["failed"] == 0
    assert site.failed_items == []
    failed = [row for row in tries(site.run_dir) if row["Status"] != "RUN_DONE"]
    assert failed
    assert {row["Error Category"] for row in failed} <= {"MemoryError", "_ArrayMemoryError"}
    assert {int(row["Mini-batch Id"]) for row in failed} <= set(range(2 * FEW + 2))
    said = [int(line.split("at most ")[1].split()[0]) for line in warned(site)]
    assert all(50 <= size <= 130 for size in said)  # some hundred fit
    last = [int(row["Total"]) for row in tries(site.run_dir) if int(row["Mini-batch Id"]) in (10, 11)]
    assert max(last) in said
    assert len(warned(site)) <= 4


@thorough
def test_one_row_that_never_fits_is_one_failed_item(site):
    """Nor is it taken for too many rows: mini-batches after it are scored as a whole."""
    site.script(GREEDY.format(first="if 450 in set(rows['id']): numpy.zeros(2**45)"))
    rows = 2_000
    site.table(rows)
    done = site.run(size=500)
    site.check_complete(done, [line for line in echoed(rows) if not line.startswith("t.csv,450,")])
    [failed] = site.failed_items
    assert failed["row"] == 450
    assert "MemoryError" in failed["error"]
    assert failed["record"] == "450,112.5,-450"
    parts = [row["Mini-batch Id"] for row in tries(site.run_dir) if "items" in json.loads(row["Mini-batch Detail"])]
    assert set(parts) == {str(failed["mini_batch"])}
    assert warned(site) == []


@thorough
def test_a_row_that_never_fits_in_a_small_file_does_not_slow_down_all_others(site):
    """Of two rows one fits alone: no reason to score all others one by one."""
    (site.folder / "in").mkdir()
    numbers(site.folder / "in" / "a.csv", 2)
    numbers(site.folder / "in" / "b.csv", 2_000, first=2)
    site.script(GREEDY.format(first="if 1 in set(rows['id']): numpy.zeros(2**45)"))
    done = site.run(source="in/*.csv", size=500)
    assert done.code == 0, done.err
    assert site.items == {"total": 2_002, "succeeded": 2_001, "failed": 1}
    assert sum(one == 1 for one in sizes(site)) < 10


@thorough
def test_every_row_that_never_fits_ends_the_job(site):
    site.script("def run(rows):\n    raise MemoryError('a model too large')\n")
    done = site.run()
    assert done.code == 1
    assert "a model too large" in done.out
    assert len(tries(site.run_dir)) < 200
    assert site.items["succeeded"] == 0


@thorough
def test_memory_that_runs_out_in_a_thread_of_the_worker(site):
    """The rows are returned, but cannot be encoded; whatever dies of it, no row is lost or doubled."""
    site.script("""
        import resource

        def run(rows):
            text = "x" * 40_000
            size = int(open("/proc/self/statm").read().split()[0]) * 4096
            resource.setrlimit(resource.RLIMIT_AS, (size + 40 * 2**20, resource.RLIM_INFINITY))
            return [text] * len(rows)
    """)
    site.table(1_000)
    done = site.run("--append-row-file-name", "o.jsonl", size="10KB", timeout=100)
    assert done.code in (0, 1), done.err
    ids = [json.loads(line)["row"] for line in site.lines]
    assert len(set(ids)) == len(ids)
    failed = site.failed_rows
    if done.code == 0:
        assert sorted([*ids, *failed]) == list(range(1_000))


@needs_root
@thorough
def test_a_worker_that_the_kernel_kills_for_its_memory_halves_what_it_gets(site):
    """The real OOM killer, in a cgroup of 500 MB: every row is scored in parts that fit."""
    site.script("""
        def run(rows):
            with open("sizes", "a") as file:
                file.write(f"{len(rows)}\\n")
            taken = bytearray(b"x") * (4 * 2**20 * len(rows))
            return rows
    """)
    rows = 400
    site.table(rows)
    with memory_cgroup(600 * MB) as before:
        if before is None:
            pytest.skip("no memory cgroup can be made")
        size = (site.folder / "t.csv").stat().st_size // 2
        done = site.run("--error-threshold", 0, size=size, before=before)
    site.check_complete(done, echoed(rows))
    assert site.record["mini_batches"]["failed"] == 0
    lost = [row for row in tries(site.run_dir) if row["Status"] == "WORKER_DIED"]
    assert 1 <= len(lost) <= 4
    assert all("the kernel ran out of memory (OOM killer)" in row["Error Message"] for row in lost)
    assert len(warned(site)) == 1
    assert max(sizes(site)[-3:]) < 150


@needs_root
@thorough
def test_one_row_for_which_the_kernel_kills_is_one_failed_item(site):
    site.script("""
        def run(rows):
            if 50 in set(rows["id"]):
                bytearray(b"x") * (2**30)
            return rows
    """)
    site.table(100)
    with memory_cgroup(600 * MB) as before:
        if before is None:
            pytest.skip("no memory cgroup can be made")
        done = site.run("--run-max-try", 2, before=before)
    site.check_complete(done, [line for line in echoed(100) if not line.startswith("t.csv,50,")])
    [failed] = site.failed_items
    assert failed["row"] == 50
    assert "OOM killer" in failed["message"]
    assert (site.run_dir / failed["log"]).exists()
