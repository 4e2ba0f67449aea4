"""Scripts that go wrong in every way: what is retried, counted, written down, and how the job ends."""

import json
import re
import time

import pytest
from tests.integration.running import numbers, tries

from batch_score import FileDataset, TabularDataset
from batch_score.job import breaker

# Mini-batches of one row each: row 0 raises, 1 hangs, 2 kills its process, 3 returns None, 4 leaves as a worker without
# its GPU does, what 5 returns hangs when it is written, the rest is scored.
SIX_WAYS = """
    import os, signal, subprocess, sys, time

    class Endless:
        def __str__(self):
            time.sleep(600)

    def run(rows):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        print("row", rows["id"].iloc[0])
        what = int(rows["id"].iloc[0])
        if what == 0:
            raise ValueError("row zero is bad")
        if what == 1:
            time.sleep(600)
        if what == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == 4:
            os._exit(96)
        if what == 5:
            return [Endless()]
        return None if what == 3 else rows
"""
ONE_ROW = ("--mini-batch-size", "1")


def rows_of(output):
    """The ids in a .csv output whose script returned its rows."""
    lines = output.read_text(encoding="utf-8").splitlines()
    return sorted(int(line.split(",")[lines[0].split(",").index("id")]) for line in lines[1:])


def test_six_ways_to_fail_in_one_job(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 10)
    options = (
        "--run-invocation-timeout",
        2,
        "--task-overhead-timeout",
        3,
        "--run-max-try",
        2,
        "--process-count-per-node",
        2,
    )
    done = batch_score.run(script(SIX_WAYS), "t.csv", *ONE_ROW, *options)
    assert done.code == 0, done.err
    assert batch_score.alive() == []  # not even what the script started
    assert rows_of(done.output) == [6, 7, 8, 9]
    assert done.json["mini_batches"] == {"total": 10, "succeeded": 4, "failed": 6}
    assert done.json["items"] == {"total": 10, "succeeded": 4, "failed": 6}
    assert done.json["failed_items"] == str(done.run_dir / "failed_items.jsonl")
    assert (done.json["cause"], done.json["log"]) == ("", None)
    assert [(item["row"], item["attempts"], item["mini_batch"]) for item in by_row(done.failed_items)] == [
        (row, 2, row) for row in range(6)
    ]
    errors = [item["error"] for item in by_row(done.failed_items)]
    assert errors == ["ValueError", "Timeout", "WorkerDied", "ReturnTypeError", "WorkerDied", "Timeout"]
    check_tries_of_six_ways(done)
    check_logs_of_six_ways(done)


def by_row(items):
    return sorted(items, key=lambda item: item["row"])


def check_tries_of_six_ways(done):
    found = sorted((int(row["Mini-batch Id"]), int(row["Picked Count"]), row["Status"]) for row in tries(done.run_dir))
    statuses = ["RUN_EXCEPTION", "RUN_TIMEOUT", "WORKER_DIED", "RUN_EXCEPTION", "WORKER_DIED", "ENCODE_TIMEOUT"]
    failed = [(index, picked, statuses[index]) for index in range(6) for picked in (1, 2)]
    assert found == [*failed, *((index, 1, "RUN_DONE") for index in range(6, 10))]
    for row in tries(done.run_dir):
        assert json.loads(row["Mini-batch Detail"])["source"] == "t.csv"
        assert int(row["Total"]) == int(row["Succeeded"]) + int(row["Failed"]) == 1


def check_logs_of_six_ways(done):
    lines = (done.logs / "user" / "error.txt").read_text().splitlines()
    told = {
        text: sum(text in line for line in lines)
        for text in ("row zero is bad", "run_invocation_timeout", "NoneType", "encoding")
    }
    assert set(told.values()) == {2}, lines
    # A death while another mini-batch was being read counts as no try of either, but it is told.
    each = [sum(way in line for line in lines) for way in ("SIGKILL", "exit code 96")]
    assert all(2 <= one <= 3 for one in each)
    assert len(lines) == 8 + sum(each)
    deaths = sum(each) + told["encoding"]
    tracebacks = "".join(path.read_text() for path in (done.logs / "user" / "error" / "node-0").iterdir())
    assert tracebacks.count('raise ValueError("row zero is bad")') == 2
    result = (done.logs / "job_result.txt").read_text()
    assert "completed" in result
    master = (done.logs / "sys" / "master_role.txt").read_text()
    for index in range(6):
        assert f"mini-batch {index} failed after 2 tries: 1 of 1 items" in master
    printed = "".join(path.read_text() for path in (done.logs / "user" / "stdout" / "node-0").iterdir())
    counts = [len(re.findall(rf"^row {row}$", printed, re.MULTILINE)) for row in range(10)]
    # Nothing of a killed worker is lost, nothing ran too often. With each death two rows may run once more: the one
    # that killed, where the death counts as no try, and the one before it, whose outcome had not left the worker yet.
    more = [count - least for count, least in zip(counts, [2, 2, 2, 2, 2, 2, 1, 1, 1, 1], strict=True)]
    assert min(more) >= 0
    assert sum(more) <= 2 * deaths


def test_with_no_failure_allowed_the_job_stops_at_the_first(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 2_000)
    options = ("--error-threshold", 0, "--run-max-try", 1, "--process-count-per-node", 1)
    done = batch_score("run", script(SIX_WAYS), "t.csv", *ONE_ROW, *options, "--quiet", "--json")
    assert done.code == 1
    assert done.json["status"] == "failed"
    assert done.json["items"]["failed"] >= 1
    assert "error_threshold 0" in done.err
    assert "ValueError: row zero is bad" in done.err
    assert str(done.logs) in done.err
    assert done.err.count("\n") == 1
    assert batch_score.alive() == []
    run = json.loads((done.run_dir / "run.json").read_text())
    assert run["status"] == "failed"
    assert "error_threshold" in run["cause"]


@pytest.mark.parametrize(
    ("option", "limit", "fails"),
    [
        ("error_threshold", 3, True),
        ("error_threshold", 4, False),
        ("error_threshold", -1, False),
        ("allowed_failed_count", 1, True),
        ("allowed_failed_count", 2, False),
        ("allowed_failed_percent", 19, True),
        ("allowed_failed_percent", 20, False),
    ],
)
def test_thresholds_compare_with_greater_than(option, limit, fails, tmp_path, job, script):
    """Two of ten mini-batches fail, with two items each."""
    script("""
        def run(rows):
            if rows["id"].iloc[0] in (4, 12):
                raise ValueError("unlucky")
            return rows
    """)
    (tmp_path / "t.csv").write_text("id\n" + "".join(f"{i:02}\n" for i in range(20)))
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, mini_batch_size=6, run_max_try=1, on_failure="skip", **{option: limit})
    assert (result.status, result.exit_code) == (("failed", 1) if fails else ("completed", 0))
    if fails:
        assert option in result.ending.cause
        assert "unlucky" in result.ending.cause
    else:
        totals = result.totals
        assert (totals.mini_batches_failed, totals.items_failed, totals.items_succeeded) == (2, 4, 16)


@pytest.mark.parametrize(("threshold", "failed"), [(-1, 0), (100, 2)])
def test_a_short_return_is_a_failed_mini_batch_only_under_a_threshold(threshold, failed, tmp_path, job, script):
    """Two of four mini-batches return fewer elements; one is a frame, whose index tells what is missing."""
    script("""
        def run(rows):
            first = rows["id"].iloc[0]
            return rows.drop(index=1) if first == 10 else list(range(3)) if first == 15 else rows
    """)
    (tmp_path / "t.csv").write_text("id\n" + "".join(f"{row}\n" for row in range(10, 30)))
    result = job(
        TabularDataset.from_delimited_files("t.csv"),
        mini_batch_size=15,
        error_threshold=threshold,
        append_row_file_name="o.txt",
    )
    assert result.status == "completed"
    totals = result.totals
    assert (totals.mini_batches_succeeded, totals.mini_batches_failed) == (4 - failed, failed)
    assert (totals.items_succeeded, totals.items_failed, totals.returned) == (17, 3, 17)
    assert len(result.output.read_text().splitlines()) == 17
    known, unknown = [json.loads(line) for line in (result.run_dir / "failed_items.jsonl").read_text().splitlines()]
    assert (known["source"], known["row"], known["error"], known["mini_batch"]) == ("t.csv", 1, "NotReturned", 0)
    assert (unknown["items"], unknown["error"], unknown["mini_batch"]) == (2, "NotReturned", 1)
    assert len(tries(result.run_dir)) == 4  # a short return is not tried again


def test_more_elements_than_items_fail_nothing(tmp_path, job, script):
    script("def run(rows):\n    return [1] * (len(rows) + 2)\n")
    (tmp_path / "t.csv").write_text("id\n1\n2\n")
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, error_threshold=0, append_row_file_name="o.txt", logging_level="debug")
    assert (result.status, result.totals.items_succeeded, result.totals.items_failed) == ("completed", 2, 0)
    assert result.output.read_text() == "1\n" * 4
    assert "returned 4 elements for 2 items" in (result.run_dir / "logs" / "sys" / "master_role.txt").read_text()


def test_zero_successes_fail_the_job_whatever_the_thresholds(tmp_path, job, script):
    script("def run(rows):\n    return []\n")
    numbers(tmp_path / "t.csv", 4)
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, error_threshold=-1)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert "run() returned nothing to append" in result.ending.cause
    assert job(dataset, error_threshold=-1, output_action="summary_only").status == "completed"


def test_a_job_of_which_no_row_can_be_read_does_not_blame_the_script(tmp_path, job, script):
    script("def run(rows):\n    return rows\n")
    (tmp_path / "t.csv").write_text("a,b\nx,1\ny,2\n")
    result = job(TabularDataset.from_delimited_files("t.csv", set_column_types={"a": "int64"}))
    assert (result.status, result.totals.items_failed) == ("failed", 2)
    assert result.ending.cause.startswith("no item could be read, so run() was never called; the first: RecordError: ")
    assert "invalid value 'x'" in result.ending.cause


def test_the_first_error_of_the_script_is_in_the_message_of_a_job_without_successes(tmp_path, job, script):
    script("def run(rows):\n    raise KeyError('no such customer')\n")
    numbers(tmp_path / "t.csv", 4)
    result = job(TabularDataset.from_delimited_files("t.csv"), run_max_try=1)
    assert (result.status, result.exit_code) == ("failed", 1)
    assert result.ending.cause.startswith("KeyError: 'no such customer'; therefore no mini-batch succeeded")


def test_the_log_that_a_failed_job_names_has_the_traceback(tmp_path, job, script):
    script("def run(rows):\n    raise KeyError('no such customer')\n")
    numbers(tmp_path / "t.csv", 4)
    result = job(TabularDataset.from_delimited_files("t.csv"), run_max_try=1)
    assert result.ending.log == result.run_dir / "logs" / "user" / "error" / "node-0" / "process000.txt"
    assert "raise KeyError('no such customer')" in result.ending.log.read_text()


ONLINE = {
    "raises": "    return json.loads(input_data)['data']\n",
    "returns the text of its error": (
        "    try:\n        return json.loads(input_data)['data']\n"
        "    except Exception as error:\n        return json.dumps({'error': str(error)})\n"
    ),
}


@pytest.mark.parametrize("how", ONLINE)
@pytest.mark.parametrize(
    ("dataset", "given"),
    [(TabularDataset.from_delimited_files, "a DataFrame of rows"), (FileDataset.from_files, "a list of paths")],
)
def test_a_script_for_an_online_service_is_named_as_one(dataset, given, how, tmp_path, job, script):
    script("import json\ndef run(input_data):\n" + ONLINE[how])
    numbers(tmp_path / "t.csv", 4)
    result = job(dataset("t.csv"), run_max_try=1)
    assert result.status == "failed"
    assert "the entry script is an online one" in result.ending.cause
    assert f"run(mini_batch) gets {given}" in result.ending.cause


def test_a_text_that_cannot_be_parsed_is_no_online_script(tmp_path, job, script):
    script("import json\ndef run(rows):\n    return json.loads('{')\n")
    numbers(tmp_path / "t.csv", 4)
    result = job(TabularDataset.from_delimited_files("t.csv"), run_max_try=1)
    assert "JSONDecodeError" in result.ending.cause
    assert "online" not in result.ending.cause


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_init_that_fails_everywhere_ends_the_job_by_the_breaker(engine, tmp_path, batch_score, script):
    script("""
        def init():
            raise RuntimeError("no such model: house.pkl")

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    workers = 2 if engine == "local" else 1
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", workers, "--engine", engine)
    assert done.code == 1
    assert f"init() failed {3 * workers} times" in done.err
    assert "RuntimeError: no such model: house.pkl" in done.err
    assert done.err.count("\n") == 1
    traceback = (done.logs / "job_result.txt").read_text()
    assert 'raise RuntimeError("no such model: house.pkl")' in traceback
    assert len((done.logs / "user" / "error.txt").read_text().splitlines()) == 3 * workers


def test_init_that_fails_once_is_survived(tmp_path, batch_score, script):
    script("""
        import os

        def init():
            os.mkdir("first")  # works in one worker only

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 2)
    assert done.code == 0, done.err
    assert rows_of(done.output) == list(range(10))


def test_a_slow_init_is_waited_for_while_another_worker_fails_again_and_again(tmp_path, batch_score, script):
    script("""
        import os, time
        from pathlib import Path

        def init():
            try:
                os.mkdir("first")
            except FileExistsError:
                Path(f"failed-{os.getpid()}").touch()
                raise RuntimeError("only one can")
            while len(list(Path().glob("failed-*"))) < 3:
                time.sleep(0.05)
            time.sleep(0.5)  # until the third failure has arrived

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 2)
    assert done.code == 0, done.err
    assert rows_of(done.output) == list(range(10))
    assert len((done.logs / "user" / "error.txt").read_text().splitlines()) == 3
    assert "one worker less" in (done.logs / "sys" / "master_role.txt").read_text()


def test_two_failures_end_the_job_when_it_is_old_enough_whatever_the_third_start_does(
    tmp_path, job, script, monkeypatch
):
    monkeypatch.setattr(breaker, "GRACE_S", 2.0)
    script("""
        import os, time

        def init():
            for name in ("first", "second"):
                if not os.path.exists(name):
                    os.mkdir(name)
                    raise RuntimeError("not yet")
            time.sleep(600)

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    begin = time.monotonic()
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, engine="local", process_count_per_node=1, run_invocation_timeout=10)
    assert time.monotonic() - begin < 30  # every worker inside init() for too long would be 60 s
    assert result.ending.cause.startswith("init() failed 2 times and succeeded on none of 1 workers; first error: ")


def test_a_job_in_which_nothing_moves_says_what_its_workers_are_at(tmp_path, batch_score, script):
    script("import time\ndef run(rows):\n    time.sleep(600)\n")
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 1, "--progress-update-timeout", 2)
    assert done.code == 1
    assert "progress_update_timeout (2 s), with 1 worker inside run()" in done.err
    assert str(done.logs / "sys" / "master_role.txt") in done.err
    assert batch_score.alive() == []


def test_init_that_kills_its_process_ends_the_job_too(tmp_path, batch_score, script):
    script("import os\ndef init():\n    os._exit(9)\ndef run(rows):\n    return rows\n")
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 1)
    assert done.code == 1
    assert "init() failed 3 times" in done.err
    assert "exit code 9" in done.err


BROKEN = {
    "syntax": ("def run(rows)\n    return rows\n", "SyntaxError"),
    "import": ("import no_such_package\ndef run(rows):\n    return rows\n", "no_such_package"),
    "no run": ("def ran(rows):\n    return rows\n", "no function run(mini_batch)"),
    "run is no function": ("run = 1\n", "no function run(mini_batch)"),
    "coroutine": ("async def run(rows):\n    return rows\n", "coroutine"),
    "leaves": ("import sys\nsys.exit(5)\n", "SystemExit: 5"),
}


@pytest.mark.parametrize("engine", ["local", "inline"])
@pytest.mark.parametrize("case", BROKEN)
def test_a_script_that_cannot_be_loaded_fails_at_once(case, engine, tmp_path, batch_score, script):
    text, message = BROKEN[case]
    script(text)
    numbers(tmp_path / "t.csv", 10)
    begin = time.monotonic()
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 1, "--engine", engine)
    assert time.monotonic() - begin < 20
    assert done.code == 1, done.err
    assert done.json["status"] == "failed"
    assert done.json["mini_batches"]["succeeded"] == done.json["mini_batches"]["failed"] == 0
    assert message in done.err
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("batch-score: ")


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_sys_exit_in_run_is_a_failed_try(engine, tmp_path, batch_score, script):
    script("""
        import sys

        def run(rows):
            if rows["id"].iloc[0] == 1:
                sys.exit("enough")
            return rows
    """)
    numbers(tmp_path / "t.csv", 4)
    options = ("--process-count-per-node", 1, "--run-max-try", 2, "--engine", engine)
    done = batch_score.run("score.py", "t.csv", *ONE_ROW, *options)
    assert done.code == 0, done.err
    assert rows_of(done.output) == [0, 2, 3]
    assert [(item["error"], item["message"], item["attempts"]) for item in done.failed_items] == [
        ("SystemExit", "enough", 2)
    ]
    assert {row["Process"] for row in tries(done.run_dir)} == {"process000"}  # the worker lives on


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_sys_exit_in_init_is_a_failed_init(engine, tmp_path, batch_score, script):
    script("import sys\ndef init():\n    sys.exit(0)\ndef run(rows):\n    return rows\n")
    numbers(tmp_path / "t.csv", 4)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 1, "--engine", engine)
    assert done.code == 1, done.err
    assert "SystemExit" in done.err


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_shutdown_that_fails_changes_nothing_but_the_logs(engine, tmp_path, batch_score, script):
    script("""
        import sys

        def run(rows):
            return rows

        def shutdown():
            sys.exit("shut down badly")
    """)
    numbers(tmp_path / "t.csv", 4)
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 1, "--engine", engine)
    assert done.code == 0, done.err
    assert rows_of(done.output) == [0, 1, 2, 3]
    assert "shut down badly" in (done.logs / "user" / "error.txt").read_text()


def test_a_generator_is_consumed_inside_the_time_limit(tmp_path, batch_score, script):
    script("""
        import time

        def run(rows):
            yield 1
            time.sleep(600)
    """)
    numbers(tmp_path / "t.csv", 4)
    limits = ("--run-invocation-timeout", 1, "--run-max-try", 1, "--process-count-per-node", 1, "--on-failure", "skip")
    done = batch_score.run("score.py", "t.csv", *limits)
    assert done.code == 1
    assert "run_invocation_timeout (1 s)" in done.err


def test_a_mini_batch_that_cannot_be_read_is_a_failed_one(tmp_path, batch_score, script):
    """The first mini-batch shortens the file, so that the last ones are not there any more."""
    script("""
        import os

        def run(rows):
            if rows["id"].iloc[0] == 0:
                os.truncate("t.csv", 40)
            return rows
    """)
    numbers(tmp_path / "t.csv", 2_000)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", 100, "--process-count-per-node", 1)
    assert done.code == 0, done.err
    counts = done.json["mini_batches"]
    assert counts["failed"] > 0
    assert counts["succeeded"] + counts["failed"] == counts["total"]
    assert done.json["items"] == {
        "total": 2_000,
        "succeeded": len(rows_of(done.output)),
        "failed": sum(item.get("items", 1) for item in done.failed_items),
    }
    assert {item["error"] for item in done.failed_items} <= {"RecordError"}


def test_rows_under_another_header_are_a_failed_mini_batch(tmp_path, job, script):
    script("""
        def run(rows):
            return rows if rows["id"].iloc[0] == 0 else rows.assign(more=1)
    """)
    numbers(tmp_path / "t.csv", 2)
    dataset = TabularDataset.from_delimited_files("t.csv")
    result = job(dataset, mini_batch_size=1, append_row_file_name="o.csv", run_max_try=2)
    assert (result.totals.mini_batches_succeeded, result.totals.mini_batches_failed) == (1, 1)
    assert len(result.output.read_text().splitlines()) == 2
    assert [(row["Status"], row["Succeeded"]) for row in tries(result.run_dir)] == [
        ("RUN_DONE", "1"),
        ("RUN_EXCEPTION", "0"),
        ("RUN_EXCEPTION", "0"),
    ]
    listed = (result.run_dir / "logs" / "user" / "error.txt").read_text().splitlines()
    assert len(listed) == 2
    assert all("run() returned columns" in line for line in listed)
