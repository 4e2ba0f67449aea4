"""Workers: how many, what becomes of one that is lost, and that a slow one does not hold up the end."""

import json
import time

import pandas as pd
import pytest
from tests.integration.running import numbers, tries, wait_for


def test_a_replacement_has_a_new_number_and_the_old_place(tmp_path, batch_score, script):
    """Each worker notes its environment; the one that dies is followed by one with the same environment."""
    script("""
        import os, pathlib, time

        def init():
            note = {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "AZ_BATCHAI_GPU_COUNT_FOUND")}
            pathlib.Path(f"worker-{os.getpid()}").write_text(repr(sorted(note.items())))

        def run(rows):
            if rows["id"].iloc[0] == 5 and not os.path.exists("died"):
                pathlib.Path("died").touch()
                time.sleep(0.5)  # until nothing is read or encoded beside it, which may have been the reason as well
                os._exit(3)
            time.sleep(0.02)
            return rows
    """)
    numbers(tmp_path / "t.csv", 60)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", 1, "--process-count-per-node", 2)
    assert done.code == 0, done.err
    frame = pd.read_csv(done.output)
    assert sorted(frame["id"]) == list(range(60))
    rows = tries(done.run_dir)
    [lost] = [row for row in rows if row["Status"] == "WORKER_DIED"]
    assert lost["Process"] in ("process000", "process001")
    assert "exit code 3" in lost["Error Message"]
    after = rows[rows.index(lost) + 1 :]
    assert lost["Process"] not in {row["Process"] for row in after}
    assert {row["Process"] for row in rows} <= {"process000", "process001", "process002"}
    again = [row for row in after if row["Mini-batch Id"] == "5"]
    assert [(row["Picked Count"], row["Status"]) for row in again] == [("2", "RUN_DONE")]
    notes = [path.read_text() for path in tmp_path.glob("worker-*")]
    assert len(notes) == 3

    sys_logs = sorted(path.name for path in (done.logs / "sys/node/node-0").glob("*.stdout.txt"))
    assert sys_logs == [f"process{k:03}.stdout.txt" for k in range(3)]


def test_mini_batches_that_a_dead_worker_only_held_are_not_blamed(tmp_path, batch_score, script):
    """One worker is sent several at once; only the one it was at has a failed try."""
    script("import os\ndef run(rows):\n    if rows['id'].iloc[0] == 7:\n        os._exit(1)\n    return rows\n")
    numbers(tmp_path / "t.csv", 40)
    options = ("--mini-batch-size", 1, "--process-count-per-node", 1, "--run-max-try", 2)
    done = batch_score.run("score.py", "t.csv", *options)
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["id"]) == [i for i in range(40) if i != 7]
    failed = [row["Mini-batch Id"] for row in tries(done.run_dir) if row["Status"] != "RUN_DONE"]
    assert failed == ["7", "7"]
    assert len(tries(done.run_dir)) == 41


@pytest.mark.slow
def test_ten_workers_on_two_cores(tmp_path, batch_score, script):
    script("import os, time\ndef run(rows):\n    time.sleep(0.05)\n    return [os.getpid()] * len(rows)\n")
    numbers(tmp_path / "t.csv", 400)
    options = ("--mini-batch-size", 1, "--process-count-per-node", 10)
    done = batch_score.run("score.py", "t.csv", *options, timeout=120)
    assert done.code == 0, done.err
    frame = pd.read_csv(done.output)
    assert sorted(frame["row"]) == list(range(400))
    assert frame["prediction"].nunique() > 2
    run = json.loads((done.run_dir / "run.json").read_text())
    assert [worker["worker"] for worker in run["workers"]] == list(range(10))


def test_a_worker_that_is_not_needed_does_not_hold_up_the_end(tmp_path, batch_score, script):
    """The second worker is still inside init() when the first one has scored everything."""
    script("""
        import os, time

        def init():
            try:
                os.mkdir("first")
            except FileExistsError:
                time.sleep(600)

        def run(rows):
            return rows
    """)
    numbers(tmp_path / "t.csv", 10)
    begin = time.monotonic()
    done = batch_score.run("score.py", "t.csv", "--process-count-per-node", 2)
    assert done.code == 0, done.err
    assert time.monotonic() - begin < 30
    assert batch_score.alive() == []
    assert not (done.logs / "user" / "error.txt").exists()


def test_a_shutdown_that_hangs_is_ended_after_the_time_limit(tmp_path, batch_score, script):
    script("import time\ndef run(rows):\n    return rows\ndef shutdown():\n    time.sleep(600)\n")
    numbers(tmp_path / "t.csv", 10)
    done = batch_score.run("score.py", "t.csv", "--run-invocation-timeout", 3, "--process-count-per-node", 1)
    assert done.code == 0, done.err
    assert done.json["elapsed_s"] < 30
    said = (done.logs / "sys" / "master_role.txt").read_text()
    assert said.count("everything is scored; waiting at most 3 s for process000 to leave: for shutdown(), ") == 1


def test_shutdown_is_called_once_in_every_worker(tmp_path, batch_score, script):
    script("""
        import os, pathlib, time

        def init():
            pathlib.Path(f"init-{os.getpid()}").touch(exist_ok=False)
            while len(list(pathlib.Path().glob("init-*"))) < 3:
                time.sleep(0.01)

        def run(rows):
            time.sleep(0.03)
            return rows

        def shutdown():
            pathlib.Path(f"shutdown-{os.getpid()}").touch(exist_ok=False)
    """)
    numbers(tmp_path / "t.csv", 100)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", 1, "--process-count-per-node", 3)
    assert done.code == 0, done.err
    started = {path.name.split("-")[1] for path in tmp_path.glob("init-*")}
    ended = {path.name.split("-")[1] for path in tmp_path.glob("shutdown-*")}
    assert started == ended
    assert len(ended) == 3


def test_processes_of_the_script_end_with_their_worker(tmp_path, batch_score, script):
    """A pool that the script forgets to close, and a child that it does not wait for."""
    script("""
        import multiprocessing, subprocess, sys

        def init():
            global pool
            pool = multiprocessing.get_context("fork").Pool(2)
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])

        def run(rows):
            return pool.map(abs, [int(i) for i in rows["b"]])
    """)
    numbers(tmp_path / "t.csv", 100)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", 100, "--process-count-per-node", 2)
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["prediction"]) == list(range(100))
    assert batch_score.alive() == []


def test_the_monitor_samples_while_the_job_runs(tmp_path, batch_score, script):
    script("import time\ndef run(rows):\n    time.sleep(0.2)\n    return rows\n")
    numbers(tmp_path / "t.csv", 15)
    options = ("--mini-batch-size", 1, "--resource-monitor-interval", "0.5", "--process-count-per-node", 1)
    done = batch_score.run("score.py", "t.csv", *options)
    assert done.code == 0, done.err
    samples = pd.read_csv(done.logs / "perf/node-0/processes_resource_usage.csv")
    assert {"manager", "process000"} <= set(samples["Name"])
    assert len(pd.read_csv(done.logs / "perf/node-0/node_resource_usage.csv")) >= 3


def test_large_rows_travel_whole(tmp_path, batch_score, script):
    """Results larger than any pipe or socket buffer, from two workers at once."""
    script("def run(rows):\n    return [str(row % 10) * 300_000 for row in rows['id']]\n")
    numbers(tmp_path / "t.csv", 60)
    options = ("--mini-batch-size", 100, "--process-count-per-node", 2, "--append-row-file-name", "o.txt")
    done = batch_score.run("score.py", "t.csv", *options)
    assert done.code == 0, done.err
    lines = done.output.read_text().splitlines()
    assert sorted(lines) == sorted(str(row % 10) * 300_000 for row in range(60))
    wait_for(lambda: batch_score.alive() == [])
