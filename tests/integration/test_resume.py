"""`batch-score resume`: a killed, interrupted or failed run goes on, and every row is in the output once."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess

import pandas as pd
import pytest
from tests.integration.running import Ran, numbers, tries, wait_for

from batch_score import _native
from batch_score.output.publish import draft_of

ROWS = 3_000
# The folder of the script has a file `slow` while a run is to be caught half-way.
ECHO = """
    import os, pathlib, time

    def run(rows):
        if pathlib.Path("slow").exists():
            time.sleep(0.05)
        return rows
"""
RUN = ("score.py", "t.csv", "--run-dir", "r", "--mini-batch-size", "1KB", "--process-count-per-node", 2)
QUICK = (*RUN, "--engine", "inline")  # no workers need to start where they do not matter


def ended(run_dir):
    """The mini-batches that the journal of a run names, in order."""
    path = run_dir / "journal"
    if not path.exists() or path.stat().st_size < 32:
        return []
    return [record for record in _native.read_journal(path).records if record.kind != "preamble"]


@pytest.fixture
def killed(tmp_path, batch_score, script):
    """A run in `r` over `t.csv` whose coordinator was killed half-way; gives the mini-batches that had ended."""

    def kill(*options, text=ECHO, name="score.py", least=5, how=signal.SIGKILL):
        script(text, name)
        if not (tmp_path / "t.csv").exists():
            numbers(tmp_path / "t.csv", ROWS)
        (tmp_path / "slow").touch()
        with batch_score.started(*(options or QUICK)) as process:
            wait_for(lambda: len(ended(tmp_path / "r")) >= least)
            process.send_signal(how)
            batch_score.ended(process)
        wait_for(lambda: batch_score.alive() == [], timeout=20)
        (tmp_path / "slow").unlink()
        return ended(tmp_path / "r")

    return kill


@pytest.fixture
def resume(batch_score):
    """`batch-score resume r --json --quiet ...`."""
    return lambda *options: batch_score("resume", "r", "--json", "--quiet", *options)


def record(run_dir):
    return json.loads((run_dir / "run.json").read_text(encoding="utf-8"))


def content(folder):
    """All files below a folder with what is in them."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def read(path):
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    return frame.sort_values("id", ignore_index=True)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_killed_run_goes_on_to_the_same_rows(form, tmp_path, batch_score, killed, resume):
    options = (*RUN, "--append-row-file-name", f"o.{form}")
    before = killed(*options)
    done = resume()
    assert done.code == 0, done.err
    assert done.json["status"] == "completed"
    assert done.json["items"] == {"total": ROWS, "succeeded": ROWS, "failed": 0}
    assert done.json["mini_batches"]["total"] == len(ended(tmp_path / "r")) > len(before)
    assert done.json["bytes_read"] == (tmp_path / "t.csv").stat().st_size - len("id,a,b\n")
    other = batch_score.run(*options, "--run-dir", "undisturbed")
    assert read(done.output).equals(read(other.output))
    assert read(done.output)["id"].tolist() == list(range(ROWS))
    assert not (tmp_path / "r" / "spool.arrow").exists()
    index = [one.index for one in ended(tmp_path / "r")]
    assert index[: len(before)] == [one.index for one in before]
    assert len(set(index)) == len(index)


def test_what_had_ended_is_not_scored_again(tmp_path, killed, resume):
    before = {one.index for one in killed(*RUN)}
    tried = len(tries(tmp_path / "r"))
    assert resume().code == 0
    again = {int(row["Mini-batch Id"]) for row in tries(tmp_path / "r")[tried:]}
    assert again.isdisjoint(before)
    assert len(again) + len(before) == len(ended(tmp_path / "r"))


def test_it_may_be_killed_again_and_go_on_with_other_workers_and_another_engine(tmp_path, batch_score, killed, resume):
    first = len(killed(*RUN))
    sessions = [len(tries(tmp_path / "r"))]
    (tmp_path / "slow").touch()
    with resuming(batch_score, "--process-count-per-node", 3) as process:
        wait_for(lambda: len(ended(tmp_path / "r")) >= first + 5)
        process.kill()
        process.communicate()
    (tmp_path / "slow").unlink()
    wait_for(lambda: batch_score.alive() == [], timeout=20)
    sessions.append(len(tries(tmp_path / "r")))
    done = resume("--engine", "inline")
    assert done.code == 0, done.err
    assert read(done.output)["id"].tolist() == list(range(ROWS))
    run = record(tmp_path / "r")
    assert run["status"] == "completed"
    assert len(run["resumed"]) == 2
    assert run["started"] < run["resumed"][0] < run["resumed"][1] < run["ended"]
    assert run["config"]["engine"] == "inline"
    assert run["config"]["process_count_per_node"] == 3
    assert run["totals"]["items_succeeded"] == ROWS
    # No number is used twice, so that no log file is.
    processes = [row["Process"] for row in tries(tmp_path / "r")]
    assert set(processes[: sessions[0]]) <= {"process000", "process001"}
    assert set(processes[sessions[0] : sessions[1]]) <= {"process002", "process003", "process004"}
    assert set(processes[sessions[1] :]) == {"process005"}


@contextlib.contextmanager
def resuming(batch_score, *options):
    """`batch-score resume r ... --json --quiet`, still running; killed at the end if it still is."""
    process = subprocess.Popen(
        [*batch_score.command, "resume", "r", "--json", "--quiet", *map(str, options)],
        cwd=batch_score.folder,
        env=batch_score.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_an_interrupted_run_says_how_to_go_on_and_that_command_does(tmp_path, batch_score, killed):
    before = len(killed(how=signal.SIGINT))
    result = (tmp_path / "r" / "logs" / "job_result.txt").read_text()
    [command] = re.findall(r"resume with: batch-score (resume .*)", result)
    assert command == f"resume {tmp_path / 'r'}"
    done = batch_score(*command.split())
    assert done.code == 0, done.err
    assert f"resumed after {before} mini-batches" in done.out
    assert "resumed after" not in done.err  # once is enough
    assert f"{ROWS:,} succeeded, 0 failed" in done.out
    assert f"{ROWS:,} of {ROWS:,} rows" in done.err
    assert str(tmp_path / "r" / "outputs" / "predictions.csv") in done.out


def test_a_completed_run_is_told_and_left_alone(tmp_path, batch_score, script, resume):
    numbers(tmp_path / "t.csv", 10)
    script(ECHO)
    first = batch_score.run(*QUICK)
    before = content(tmp_path)
    for name in ("spool.arrow", f"outputs/.batch-score-{record(tmp_path / 'r')['run_id']}.partial"):
        (tmp_path / "r" / name).write_bytes(b"left when the last session was killed at its very end")
    again = resume()
    assert (again.code, again.json) == (0, first.json)
    assert content(tmp_path) == before
    told = batch_score("resume", "r")
    assert told.code == 0
    assert f"{tmp_path / 'r'} is complete already" in told.out
    assert "10 rows, csv, separator ',', header" in told.out
    assert content(tmp_path) == before


REFUSALS = {
    "input": (
        lambda folder: numbers(folder / "t.csv", ROWS + 1),
        r"input t.csv changed: [\d,]+ bytes, modified \S+ \(was [\d,]+ bytes, modified \S+\)",
    ),
    "script": (lambda folder: (folder / "score.py").write_text("#"), r"the entry script \S*score.py changed"),
    "source": (lambda folder: (folder / "src" / "words.txt").touch(), "the source file words.txt is new"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_change_is_named_and_nothing_is_touched(what, tmp_path, killed, resume):
    (tmp_path / "src").mkdir()
    killed("../score.py", *QUICK[1:], "--source-directory", "src", text=ECHO.replace('"slow"', '"../slow"'))
    change, wanted = REFUSALS[what]
    change(tmp_path)
    before = content(tmp_path / "r")
    done = resume()
    assert done.code == 2
    [line] = done.err.splitlines()
    assert re.search(wanted, line), line
    assert line.endswith("start a new run, or give --force to go on all the same")
    assert content(tmp_path / "r") == before


BROKEN = {
    "syntax": "def run(rows)\n    return rows\n",
    "import": "import no_such_module\n\ndef run(rows):\n    return rows\n",
    "no run": "def score(rows):\n    return rows\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_script_that_could_not_be_loaded_is_mended_and_the_advice_then_works(what, tmp_path, called, script):
    numbers(tmp_path / "t.csv", 20)
    failed = called("run", script(BROKEN[what]), *QUICK[1:])
    assert failed.code == 1
    [command] = re.findall(r"^next .*resume with: batch-score (resume .*)$", failed.out, flags=re.MULTILINE)
    script("def run(rows):\n    return rows\n")
    done = called(*command.split(), "--json")
    assert (done.code, done.json["items"]["succeeded"]) == (0, 20), done.err
    assert "the entry script score.py changed; no mini-batch had ended" in done.err


def test_without_a_mini_batch_only_the_scorer_may_be_another(tmp_path, called, script):
    numbers(tmp_path / "t.csv", 20)
    called("run", script(BROKEN["no run"]), *QUICK[1:])
    script("def run(rows):\n    return rows\n")
    numbers(tmp_path / "t.csv", 21)
    done = called("resume", "r")
    assert done.code == 2
    assert "cannot go on: input t.csv changed" in done.err
    assert "the entry script" not in done.err


def test_an_input_that_is_gone_is_named(tmp_path, killed, resume):
    killed()
    (tmp_path / "t.csv").unlink()
    done = resume()
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "t.csv" in done.err


def test_a_new_input_is_named(tmp_path, killed, resume):
    numbers(tmp_path / "t.csv", ROWS)
    killed("score.py", "*.csv", *QUICK[2:])
    numbers(tmp_path / "u.csv", 5)
    done = resume()
    assert done.code == 2
    assert "input u.csv is new; start a new run" in done.err


def test_with_force_it_goes_on_and_the_next_time_too(tmp_path, batch_score, killed, resume):
    before = killed()
    (tmp_path / "score.py").write_text(
        "import pathlib, time\ndef run(rows):\n    time.sleep(0.05 * pathlib.Path('slow').exists())\n"
        "    return rows.assign(a=-1)\n"
    )
    (tmp_path / "slow").touch()
    with resuming(batch_score, "--force") as process:
        wait_for(lambda: len(ended(tmp_path / "r")) >= len(before) + 3)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 143
    (tmp_path / "slow").unlink()
    done = resume()
    assert done.code == 0, done.err
    frame = read(done.output)
    assert frame["id"].tolist() == list(range(ROWS))
    assert (frame["a"] != -1).sum() == sum(one.succeeded for one in before)


def test_forced_rows_with_other_columns_are_refused(tmp_path, killed, resume):
    """Also when the first session was killed, which has written down its columns before its first row."""
    killed()
    (tmp_path / "score.py").write_text("def run(rows):\n    return rows[['id']]\n")
    done = resume("--force")
    assert done.code == 0  # no threshold is set
    assert done.json["items"]["failed"] > 0
    assert all("output file began with other ones" in item["message"] for item in failed_items(tmp_path / "r"))
    assert read(done.output).columns.tolist() == ["source", "row", "id", "a", "b"]


def failed_items(run_dir):
    return [json.loads(line) for line in (run_dir / "failed_items.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("option", ["--mini-batch-size", "--key", "--append-row-file-name", "--output", "--run-dir"])
def test_what_may_not_change_is_no_option(option, batch_score):
    done = batch_score("resume", "r", option, "1")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert re.search(f"No such option:? '?{option}", done.err)


def test_script_arguments_are_kept_and_none_are_taken(killed, resume):
    text = """
        import pathlib, sys, time

        def run(rows):
            time.sleep(0.05 * pathlib.Path("slow").exists())
            assert sys.argv[-1] == "red"
            return rows
    """
    killed(*QUICK, "--", "--colour", "red", text=text)
    refused = resume("--", "--colour", "blue")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert resume("--error-threshold", 0).code == 0


def test_what_is_no_run_directory(tmp_path, batch_score):
    (tmp_path / "empty").mkdir()
    done = batch_score("resume", "empty")
    wanted = f"{tmp_path / 'empty'} is no run directory, for it has no run.json; give the folder of a run"
    assert (done.code, done.out, done.err) == (2, "", f"batch-score: error: {wanted}\n")


def test_a_run_that_is_written_cannot_be_resumed_or_run(tmp_path, batch_score, script, resume):
    numbers(tmp_path / "t.csv", 8 * ROWS)
    (tmp_path / "slow").touch()
    script(ECHO)
    with batch_score.started(*RUN) as process:
        wait_for(lambda: len(ended(tmp_path / "r")) >= 3)
        resumed, run = resume(), batch_score.run(*RUN)
        (tmp_path / "slow").unlink()
        done = batch_score.ended(process)
    assert (resumed.code, resumed.err.count("\n")) == (2, 1)
    assert "is being written by another process" in resumed.err
    assert (run.code, run.err.count("\n")) == (2, 1)
    assert f"go on with it by `batch-score resume {tmp_path / 'r'}`" in run.err
    assert done.code == 0
    assert read(done.output)["id"].tolist() == list(range(8 * ROWS))
    assert "holds a completed run; give another --run-dir" in batch_score.run(*RUN).err


def test_of_two_resumes_one_goes_on(tmp_path, batch_score, killed):
    killed()
    (tmp_path / "slow").touch()
    with resuming(batch_score) as first, resuming(batch_score) as second:
        wait_for(lambda: first.poll() is not None or second.poll() is not None)
        (tmp_path / "slow").unlink()
        ends = [Ran(one.wait(60), one.stdout.read(), one.stderr.read(), tmp_path) for one in (first, second)]
    refused, done = sorted(ends, key=lambda ran: -ran.code)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "another process" in refused.err
    assert done.code == 0, done.err
    assert read(done.output)["id"].tolist() == list(range(ROWS))


def test_a_parquet_file_that_could_not_be_made_is_made_without_scoring_again(tmp_path, batch_score, script, resume):
    numbers(tmp_path / "t.csv", 500)
    script(ECHO)
    (tmp_path / "out").mkdir()
    options = (*QUICK, "--append-row-file-name", "o.parquet", "--output", "out")
    (tmp_path / "slow").touch()
    with batch_score.started(*options) as process:
        wait_for(lambda: ended(tmp_path / "r"))
        (tmp_path / "out" / "o.parquet").write_text("mine")
        (tmp_path / "slow").unlink()
        failed = batch_score.ended(process)
    assert failed.code == 1, failed.err
    told = (tmp_path / "r" / "logs" / "job_result.txt").read_text()
    assert "o.parquet exists and is not of this run" in told
    assert "resume with: batch-score resume" in told
    refused = resume()
    assert (refused.code, len(refused.error_lines)) == (2, 1)
    assert "o.parquet exists and is not of this run" in refused.err
    assert (tmp_path / "out" / "o.parquet").read_text() == "mine"
    (tmp_path / "out" / "o.parquet").unlink()
    tried, spool = len(tries(tmp_path / "r")), (tmp_path / "r" / "spool.arrow").read_bytes()
    done = resume()
    assert done.code == 0, done.err
    assert read(done.output)["id"].tolist() == list(range(500))
    assert done.output == tmp_path / "out" / "o.parquet"
    assert len(tries(tmp_path / "r")) == tried
    # Killed between the Parquet file and run.json: the file is known as the run's own, and stays.
    made, run = done.output.read_bytes(), record(tmp_path / "r")
    (tmp_path / "r" / "run.json").write_text(json.dumps({**run, "status": "running"}))
    (tmp_path / "r" / "spool.arrow").write_bytes(spool)
    draft_of(done.output, bytes.fromhex(run["run_id"])).hardlink_to(done.output)
    assert resume().code == 0
    assert done.output.read_bytes() == made
    assert list((tmp_path / "out").iterdir()) == [done.output]
    assert not (tmp_path / "r" / "spool.arrow").exists()


def test_a_run_without_output_goes_on(tmp_path, killed, resume):
    text = """
        import os, pathlib, time

        def run(rows):
            time.sleep(0.05 * pathlib.Path("slow").exists())
            with open(f"seen-{os.getpid()}", "a") as file:
                file.writelines(f"{number}\\n" for number in rows["id"])
            return rows
    """
    before = killed(*RUN, "--output-action", "summary_only", text=text)
    first = len(seen(tmp_path))
    done = resume()
    assert done.code == 0, done.err
    assert done.json["output"] is None
    assert done.json["items"] == {"total": ROWS, "succeeded": ROWS, "failed": 0}
    assert set(seen(tmp_path)) == set(range(ROWS))
    assert len(seen(tmp_path)) - first == ROWS - sum(one.total for one in before)


def seen(folder):
    return [int(line) for path in folder.glob("seen-*") for line in path.read_text().splitlines()]


@pytest.mark.parametrize("lost", [("journal", "failed_items.jsonl", "outputs"), ("journal",)])
def test_a_run_that_was_killed_before_its_journal_begins_anew(lost, tmp_path, killed, resume):
    killed()
    for name in lost:
        path = tmp_path / "r" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = resume()
    if lost == ("journal",):  # there are rows of which nobody knows what they are
        assert (done.code, done.err.count("\n")) == (2, 1)
        return
    assert done.code == 0, done.err
    assert read(done.output)["id"].tolist() == list(range(ROWS))


def test_a_failed_run_goes_on_with_a_higher_threshold(tmp_path, batch_score, script, resume):
    script("""
        def run(rows):
            if rows["id"].min() % 5 == 3:
                raise ValueError("three")
            return rows
    """)
    numbers(tmp_path / "t.csv", 100)
    options = (*QUICK, "--mini-batch-size", 1, "--run-max-try", 1)
    failed = batch_score.run(*options, "--error-threshold", 5)
    assert failed.code == 1
    result = (tmp_path / "r" / "logs" / "job_result.txt").read_text()
    assert f"resume with: batch-score resume {tmp_path / 'r'} --error-threshold 6\n" in result
    assert "error_threshold 5" in resume().err
    done = resume("--error-threshold", 20)
    assert done.code == 0, done.err
    assert done.json["items"] == {"total": 100, "succeeded": 80, "failed": 20}
    assert sorted(item["row"] for item in failed_items(tmp_path / "r")) == list(range(3, 100, 5))
    assert read(done.output)["id"].tolist() == [number for number in range(100) if number % 5 != 3]
    assert record(tmp_path / "r")["config"]["error_threshold"] == 20


def test_a_setting_that_is_given_wins_over_a_flag_among_the_arguments(tmp_path, batch_score, script, resume):
    script("def run(rows):\n    assert rows['id'].min() % 5 != 3\n    return rows\n")
    numbers(tmp_path / "t.csv", 50)
    options = (*QUICK, "--mini-batch-size", 1, "--run-max-try", 1)
    assert batch_score.run(*options, "--", "--error_threshold", 2).code == 1
    assert resume("--error-threshold", 10).code == 0


def test_a_moved_run_directory_goes_on(tmp_path, batch_score, killed):
    killed()
    (tmp_path / "deep").mkdir()
    (tmp_path / "r").rename(tmp_path / "deep" / "moved")
    done = batch_score("resume", "deep/moved", "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.output == tmp_path / "deep" / "moved" / "outputs" / "predictions.csv"
    assert read(done.output)["id"].tolist() == list(range(ROWS))
    (tmp_path / "deep" / "moved").rename(tmp_path / "r")
    assert batch_score("resume", "r", "--json").output == tmp_path / "r" / "outputs" / "predictions.csv"


def test_it_runs_in_the_folder_where_it_was_started(tmp_path, batch_score, killed):
    killed(*QUICK, "--output", "out")
    (tmp_path / "elsewhere").mkdir()
    code = f"import os; os.chdir('elsewhere'); {batch_score.command[2]}"
    done = batch_score.program(code, "resume", "../r", "--json", "--quiet")
    assert done.code == 0, done.err
    assert done.output == tmp_path / "out" / "predictions.csv"


def test_a_working_directory_that_is_gone(tmp_path, killed, resume):
    killed()
    run = record(tmp_path / "r")
    (tmp_path / "r" / "run.json").write_text(json.dumps({**run, "working_directory": str(tmp_path / "gone")}))
    done = resume()
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert str(tmp_path / "gone") in done.err


def test_an_output_that_is_gone(tmp_path, killed, resume):
    killed()
    (tmp_path / "r" / "outputs" / "predictions.csv").unlink()
    done = resume()
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert done.err.endswith(
        "predictions.csv: the file is missing, but the journal says what is in it; put it back, or start a new run\n"
    )


def unknown_setting(run_dir):
    content = record(run_dir)
    content["config"]["colour"] = "red"
    (run_dir / "run.json").write_text(json.dumps(content))


def impossible_setting(run_dir):
    content = record(run_dir)
    content["config"]["run_max_try"] = -1
    (run_dir / "run.json").write_text(json.dumps(content))


def folder_for_journal(run_dir):
    (run_dir / "journal").unlink()
    (run_dir / "journal").mkdir()


SPOILED = {
    "setting of another version": (unknown_setting, "run.json cannot be used: the setting 'colour' is not known to "),
    "impossible setting": (impossible_setting, "run.json cannot be used: run_max_try must be at least 1, got -1; "),
    "journal is a folder": (folder_for_journal, "journal is a folder, where the run has a file; put the file back, "),
    "spool is missing": (lambda run_dir: (run_dir / "spool.arrow").unlink(), "spool.arrow: the file is missing, but "),
    "journal is missing": (
        lambda run_dir: (run_dir / "journal").unlink(),
        "journal: the journal is missing, so nobody knows which of the ",
    ),
    "journal is cut off": (
        lambda run_dir: os.truncate(run_dir / "journal", 7),
        "put a copy of it back, or start a new run; its header breaks off at byte 7\n",
    ),
}


def test_what_is_wrong_with_a_run_directory_is_one_line_that_names_the_file(tmp_path, killed, resume):
    killed(*QUICK, "--append-row-file-name", "o.parquet")
    (tmp_path / "r").rename(tmp_path / "kept")
    for what, (spoil, wanted) in SPOILED.items():
        shutil.copytree(tmp_path / "kept", tmp_path / "r")
        spoil(tmp_path / "r")
        before = content(tmp_path / "r")
        done = resume()
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), what
        assert done.err.startswith(f"batch-score: error: {tmp_path / 'r'}/"), done.err
        assert wanted in done.err, done.err
        assert content(tmp_path / "r") == before
        shutil.rmtree(tmp_path / "r")


def test_files_go_on_and_others_are_noticed_while_planning(tmp_path, killed, resume):
    text = """
        import pathlib, time

        def run(paths):
            time.sleep(0.05 * pathlib.Path("slow").exists())
            return [pathlib.Path(path).name for path in paths]
    """
    (tmp_path / "in").mkdir()
    for number in range(300):
        (tmp_path / "in" / f"{number:03}.bin").touch()
    killed("score.py", "in", "--run-dir", "r", "--mini-batch-size", 2, "--process-count-per-node", 2, text=text)
    (tmp_path / "in" / "000a.bin").touch()
    before = (tmp_path / "r" / "outputs" / "predictions.csv").read_bytes()
    refused = resume()
    assert refused.code == 1
    assert "the input is not that of the run to resume" in refused.err
    assert "resume with: " not in (tmp_path / "r" / "logs" / "job_result.txt").read_text()
    assert before.startswith((tmp_path / "r" / "outputs" / "predictions.csv").read_bytes())
    (tmp_path / "in" / "000a.bin").unlink()
    done = resume()
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["prediction"]) == [f"{number:03}.bin" for number in range(300)]


def test_a_table_is_opened_again_as_it_was(tmp_path, killed, resume):
    with (tmp_path / "t.csv").open("w", encoding="latin1") as file:
        file.write("id;a\n")
        file.writelines(f"{i};é\n" for i in range(ROWS))
    options = ("--separator", ";", "--encoding", "latin1", "--set-column-types", "id=string", "--include-path")
    killed(*QUICK, *options)
    done = resume()
    assert done.code == 0, done.err
    frame = pd.read_csv(done.output)
    assert sorted(frame["id"]) == list(range(ROWS))
    assert set(frame["a"]) == {"é"}
    assert frame["Path"].str.endswith("t.csv").all()


def test_a_name_that_is_no_text(tmp_path, killed, resume):
    name = os.fsdecode(b"caf\xe9.csv")
    numbers(tmp_path / name, ROWS)
    killed("score.py", "*.csv", *QUICK[2:])
    done = resume()
    assert done.code == 0, done.err
    assert len(pd.read_csv(done.output)) >= ROWS
