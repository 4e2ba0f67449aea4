"""Items that raise, hang, kill or cannot be written: exactly they fail, in a run that splits and in one that skips."""

import json

import pytest
from tests.faults.surroundings.site import echoed, thorough, told
from tests.integration.running import tries

ROWS = 64
# How one row ends the whole run(): what to do for it, what the failed item then says, and options.
POISON = {
    "raises": ("raise ValueError('poison')", ("ValueError", "poison"), ()),
    "hangs": ("time.sleep(600)", ("Timeout", "run_invocation_timeout (1 s)"), ("--run-invocation-timeout", 1)),
    "hangs in native code": (
        "ctypes.PyDLL(None).sleep(600)",
        ("Timeout", "run_invocation_timeout (1 s)"),
        ("--run-invocation-timeout", 1),
    ),
    "crashes": ("ctypes.string_at(0)", ("WorkerDied", "SIGSEGV (a crash in native code)"), ()),
    "leaves": ("os._exit(3)", ("WorkerDied", "left with exit code 3"), ()),
    "returns nothing": ("return None", ("ReturnTypeError", "run() returned NoneType"), ()),
    "returns a number": ("return 5", ("ReturnTypeError", "run() returned int"), ()),
    "cannot be written": (
        "return [Strange()] * len(rows)",
        ("RuntimeError", "no text"),
        ("--append-row-file-name", "o.jsonl"),
    ),
    "hangs when it is written": (
        "return [Endless()] * len(rows)",
        ("Timeout", "encoding took longer than task_overhead_timeout (1 s)"),
        ("--append-row-file-name", "o.jsonl", "--task-overhead-timeout", 1),
    ),
    "has other columns": ("return rows.assign(more=1)", ("ReturnTypeError", "columns"), ()),
}
SCRIPT = """
    import ctypes, os, resource, time

    class Strange:
        def __repr__(self):
            raise RuntimeError("no text")

        __str__ = __repr__

    class Endless:
        def __str__(self):
            time.sleep(600)

    def init():
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def run(rows):
        if set(rows["id"]) & {poisoned}:
            {how}
        return rows
"""
QUICK = ("raises",)


def prepared(site, how, poisoned, rows=ROWS):
    site.table(rows)
    site.script(SCRIPT.format(how=how, poisoned=poisoned))


def good(*bad, rows=ROWS):
    return [line for line in echoed(rows) if not any(line.startswith(f"t.csv,{i},") for i in bad)]


@pytest.mark.parametrize("name", [one if one in QUICK else pytest.param(one, marks=thorough) for one in POISON])
def test_split_exactly_the_poisoned_row_fails(name, site):
    how, (error, message), options = POISON[name]
    prepared(site, how, {37})
    done = site.run("--run-max-try", 1, *options, size=200)
    assert done.code == 0, done.err
    assert site.items == {"total": ROWS, "succeeded": ROWS - 1, "failed": 1}
    [failed] = site.failed_items
    assert (failed["source"], failed["row"], failed["record"]) == ("t.csv", 37, "37,9.25,-37")
    assert failed["error"] == error
    assert message in failed["message"]
    if site.output.suffix == ".csv":
        site.check_complete(done, good(37))
    assert site.record["mini_batches"] == {"total": 4, "succeeded": 3, "failed": 1}


@thorough
@pytest.mark.parametrize("name", POISON)
def test_skipped_all_items_of_its_mini_batch_fail_and_are_listed_with_their_records(name, site):
    how, (error, message), options = POISON[name]
    prepared(site, how, {37})
    done = site.run("--on-failure", "skip", "--run-max-try", 2, *options, size=200)
    assert done.code == 0, done.err
    failed = site.failed_items
    rows = [item["row"] for item in failed]
    assert 37 in rows
    assert rows == list(range(rows[0], rows[-1] + 1))
    assert [item["record"] for item in failed] == [f"{i},{i / 4},{-i}" for i in rows]
    assert {(item["error"], item["attempts"]) for item in failed} == {(error, 2)}
    assert all(message in item["message"] for item in failed)
    assert site.record["mini_batches"]["failed"] == 1
    assert site.items == {"total": ROWS, "succeeded": ROWS - len(rows), "failed": len(rows)}
    if site.output.suffix == ".csv":
        site.check_complete(done, good(*rows))


@thorough
@pytest.mark.parametrize("policy", ["bisect", "skip"])
def test_a_short_return_is_neither_tried_again_nor_split(policy, site):
    site.table(ROWS)
    site.script("""
        def run(rows):
            with open("calls", "a") as file:
                file.write("x")
            return rows[rows["id"] != 37]
    """)
    done = site.run("--on-failure", policy, "--error-threshold", 5, size=1_000)
    assert (site.folder / "calls").read_text() == "x"
    site.check_complete(done, good(37))
    [failed] = site.failed_items
    assert (failed["row"], failed["error"], failed["attempts"]) == (37, "NotReturned", 1)
    assert site.record["mini_batches"]["failed"] == 1  # because a threshold for items is set


@thorough
def test_a_record_that_does_not_parse_beside_a_poisoned_one(site):
    """Each of them fails for its own reason, once."""
    prepared(site, "raise ValueError('poison')", {37})
    path = site.folder / "t.csv"
    lines = path.read_text().splitlines()
    lines[21] = "20,5.0"
    path.write_text("\n".join(lines) + "\n")
    done = site.run("--run-max-try", 2, size=1_000)
    site.check_complete(done, good(20, 37))
    first, second = sorted(site.failed_items, key=lambda item: item["row"])
    assert (first["row"], first["record"], first["error"]) == (20, "20,5.0", "RecordError")
    assert (second["row"], second["record"], second["error"]) == (37, "37,9.25,-37", "ValueError")


@thorough
def test_a_record_that_does_not_parse_next_to_a_poisoned_one(site):
    """The part that is left alone in the end holds both."""
    prepared(site, "raise ValueError('poison')", {37})
    path = site.folder / "t.csv"
    lines = path.read_text().splitlines()
    lines[37] = "36,x,y,z"
    path.write_text("\n".join(lines) + "\n")
    done = site.run("--run-max-try", 1, size=1_000)
    assert done.code == 0, done.err
    found = {item["row"]: item["error"] for item in site.failed_items}
    assert found == {36: "RecordError", 37: "ValueError"}
    assert len(site.lines) == 1 + ROWS - 2


@pytest.mark.parametrize("policy", ["bisect", pytest.param("skip", marks=thorough)])
def test_a_threshold_that_is_exceeded_while_splitting_ends_the_job(policy, site):
    """What has failed until then is listed, and the run goes on with a higher threshold."""
    bad, rows = {5, 37}, 400
    prepared(site, "raise ValueError('poison')", bad, rows)
    options = ("--run-max-try", 1, "--on-failure", policy)
    done = site.run(*options, "--error-threshold", 1, size=200)
    assert done.code == 1
    assert "more than error_threshold 1 allows" in told(done)["cause"]
    assert "--error-threshold" in told(done)["next"]
    listed = [item["row"] for item in site.failed_items]
    assert len(listed) == site.items["failed"] >= 2
    assert bad & set(listed)
    site.check_whole(echoed(rows))
    done = site.resume("--error-threshold", rows)
    assert done.code == 0, done.err
    assert bad <= set(site.failed_rows)
    if policy == "bisect":
        assert site.failed_rows == sorted(bad)
    site.check_complete(done, good(*site.failed_rows, rows=rows))


@thorough
@pytest.mark.parametrize(("allowed", "code"), [(0, 1), (1, 0)])
def test_a_split_mini_batch_counts_as_a_failed_one(allowed, code, site):
    prepared(site, "raise ValueError('poison')", {37})
    done = site.run("--run-max-try", 1, "--allowed-failed-count", allowed, size=200)
    assert done.code == code, done.err
    if code:
        assert "failed mini-batches: 1, more than allowed_failed_count 0 allows" in told(done)["cause"]
        done = site.resume("--allowed-failed-count", 1)
    site.check_complete(done, good(37))


@thorough
def test_many_poisoned_rows_that_kill_are_bounded(site):
    """Each of 200 rows would cost a worker: after 64 of them the rest of the mini-batch is not tried."""
    site.table(200)
    site.script("""
        import os

        def run(rows):
            if (rows["id"] >= 0).any() and len(rows) and rows["id"].max() < 200:
                os._exit(3)
            return rows
    """)
    done = site.run("--run-max-try", 1, size=10_000, timeout=100)
    assert done.code == 1
    lost = [row for row in tries(site.run_dir) if row["Status"] == "WORKER_DIED"]
    assert len(lost) <= 70
    assert len(site.failed_items) == 200


@thorough
def test_a_key_stands_beside_the_record_of_a_failed_item(site):
    prepared(site, "ctypes.string_at(0)", {37})
    done = site.run("--run-max-try", 1, "--key", "id,b", size=1_000)
    assert done.code == 0, done.err
    [failed] = site.failed_items
    assert failed["key"] == {"id": 37, "b": -37}
    assert json.loads(json.dumps(failed))["record"] == "37,9.25,-37"
