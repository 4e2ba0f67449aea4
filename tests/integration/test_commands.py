"""The commands beside `run`, and what `run` says to a person."""

import json
import re
from pathlib import Path

import pytest
from tests.integration.running import numbers

from batch_score import TabularDataset
from batch_score.cli.sections import SECTIONS

ECHO = "def run(rows):\n    return rows\n"


def read_run(done):
    return json.loads((done.run_dir / "run.json").read_text())


def planned(done):
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.mark.parametrize("size", ["1", "100", "4KB", "1GB"])
def test_the_plan_covers_every_file_without_gaps(size, tmp_path, batch_score):
    paths = [numbers(tmp_path / f"{k}.csv", 200 * k, first=k) for k in range(4)]
    plan = planned(batch_score("plan", "*.csv", "--mini-batch-size", size, "--json"))
    assert [minibatch["index"] for minibatch in plan] == list(range(len(plan)))
    for path in paths:
        own = [minibatch for minibatch in plan if minibatch["source"] == path.name]
        end, row = len("id,a,b\n"), 0
        for minibatch in own:
            assert (minibatch["offset"], minibatch["first_row"]) == (end, row)
            end, row = end + minibatch["length"], row + minibatch["rows"]
        assert (end, row) == (path.stat().st_size, 200 * paths.index(path))
    assert sum(minibatch["rows"] for minibatch in plan) == 1_200


def test_the_plan_is_what_run_does(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 500)
    plan = planned(batch_score("plan", "t.csv", "--mini-batch-size", "1KB", "--json"))
    done = batch_score.run(script(ECHO), "t.csv", "--mini-batch-size", "1KB")
    assert done.json["mini_batches"]["total"] == len(plan)


def test_the_plan_of_files(tmp_path, batch_score):
    for k in range(25):
        (tmp_path / f"{k:02}.bin").write_bytes(b"")
    plan = planned(batch_score("plan", "*.bin", "--json"))
    assert [len(minibatch["files"]) for minibatch in plan] == [10, 10, 5]
    assert [path for minibatch in plan for path in minibatch["files"]] == [f"{k:02}.bin" for k in range(25)]


def test_the_plan_for_a_person(tmp_path, batch_score):
    numbers(tmp_path / "t.csv", 500)
    done = batch_score("plan", "t.csv", "--mini-batch-size", "100")
    assert done.code == 0
    assert "rows: 500, files: 1," in done.out
    assert "--json" in done.out


def test_debug_shows_one_mini_batch_and_keeps_nothing(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 500)
    script("def run(rows):\n    print('inside', len(rows))\n    return rows['id'] * 2\n")
    done = batch_score("debug", "score.py", "t.csv", "--mini-batch-size", "100", "--mini-batch", 3)
    assert done.code == 0, done.err
    assert "mini-batch 3" in done.out
    assert "inside" in done.out
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["score.py", "t.csv"]


def test_debug_shows_the_traceback_of_the_script(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 5)
    script("def run(rows):\n    raise KeyError('who')\n")
    done = batch_score("debug", "score.py", "t.csv")
    assert done.code == 1
    assert "raise KeyError('who')" in done.err


def test_debug_passes_arguments_to_the_script(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 5)
    script("import sys\ndef run(rows):\n    print('got', sys.argv[-2:])\n    return rows\n")
    done = batch_score("debug", "score.py", "t.csv", "--", "--threshold", "0.5")
    assert "got ['--threshold', '0.5']" in done.out


def test_debug_refuses_a_mini_batch_that_is_not_there(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 5)
    done = batch_score("debug", script(ECHO), "t.csv", "--mini-batch", 7)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "mini-batch 7" in done.err


def test_gpus(batch_score):
    done = batch_score("gpus", "--json", "--process-count-per-node", 3)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert len(report["workers"]) == 3
    assert all("CUDA_VISIBLE_DEVICES" in worker["environment"] for worker in report["workers"])
    assert report["devices"] or report["reason"]
    assert batch_score("gpus").code == 0


def test_run_says_where_the_output_is(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 5)
    done = batch_score("run", script(ECHO), "t.csv")
    assert done.code == 0, done.err
    [output] = tmp_path.glob("runs/*-score/outputs/predictions.csv")
    assert str(output) in done.out
    assert "5" in done.out
    assert "5 rows, csv, separator ',', header" in done.out
    assert "5 of 5 rows" in done.err
    assert done.err.splitlines()[:2] == [f"run directory {output.parents[1]}", f"output {output}"]  # at the start, too


def test_a_configuration_file_and_the_command_line_over_it(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 100)
    (tmp_path / "job.yml").write_text(
        "mini_batch_size: 1KB\nappend_row_file_name: from_file.jsonl\nprocess-count-per-node: 1\nkey: id\n"
        "environment_variables:\n  COLOUR: red\n"
    )
    script("import os\ndef run(rows):\n    return [os.environ['COLOUR']] * len(rows)\n")
    done = batch_score.run("score.py", "t.csv", "--config", "job.yml", "--mini-batch-size", "100")
    assert done.code == 0, done.err
    assert done.output.name == "from_file.jsonl"
    assert done.json["mini_batches"]["total"] > 10
    assert json.loads(done.output.read_text().splitlines()[0]).keys() == {"id", "prediction"}
    assert '"red"' in done.output.read_text()


def test_two_runs_in_the_same_second_do_not_meet(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 5)
    script(ECHO)
    with batch_score.started("score.py", "t.csv") as first, batch_score.started("score.py", "t.csv") as second:
        done = [batch_score.ended(first), batch_score.ended(second)]
    assert [run.code for run in done] == [0, 0], done
    assert len({run.output for run in done}) == 2


def test_the_package_is_the_command(batch_score):
    done = batch_score.program("import runpy, sys; runpy.run_module('batch_score', run_name='__main__')", "--version")
    assert (done.code, done.out) == (0, batch_score("--version").out)


@pytest.mark.parametrize("arguments", ["--help", "run --help", "plan --help", "debug -h", "gpus --help", "--version"])
def test_help(arguments, batch_score):
    done = batch_score(*arguments.split())
    assert done.code == 0
    assert done.out
    assert done.err == ""


@pytest.mark.parametrize("group", [(), ("model",)])
def test_a_group_without_a_command_shows_its_help(group, called):
    done = called(*group)
    assert (done.code, done.out) == (2, "")
    assert done.err == called(*group, "--help").out
    assert done.err.startswith("Usage: batch-score")


def test_the_summary_and_json_lead_to_the_failed_items(tmp_path, called, script):
    (tmp_path / "t.csv").write_text("id,a\n1,2\n3,word\n5,6\n")
    options = ("--engine", "inline", "--run-dir", "r", "--set-column-types", "a=int64")
    done = called("run", script(ECHO), "t.csv", *options)
    assert done.code == 0, done.err
    failed_items = tmp_path / "r" / "failed_items.jsonl"
    assert f"\nfailed items   {failed_items}\n" in done.out
    assert "the first: t.csv, row 1: RecordError: column 'a'" in done.out
    again = called("resume", "r")
    assert "the first: t.csv, row 1: RecordError: column 'a'" in again.out
    assert called("resume", "r", "--json").json["failed_items"] == str(failed_items)


def test_json_of_a_failed_run_has_cause_and_log(tmp_path, called, script):
    numbers(tmp_path / "t.csv", 3)
    script("def run(rows):\n    raise ValueError('no')\n")
    done = called("run", "score.py", "t.csv", "--engine", "inline", "--run-max-try", 1, "--json", "--quiet")
    assert done.code == 1
    assert read_run(done)["output_form"] == ""  # there are no rows of which it could be told
    assert done.json["cause"] == "ValueError: no; therefore no mini-batch succeeded"
    assert "ValueError" in Path(done.json["log"]).read_text()
    assert f"{done.json['cause']}; log {done.json['log']}" in done.err


LONG = ("--run-invocation-timeout", "300000")  # of which a note tells


def test_quiet_leaves_out_the_figures_and_keeps_the_notes(tmp_path, called, script):
    numbers(tmp_path / "t.csv", 3)
    done = called("run", script(ECHO), "t.csv", "--engine", "inline", "--quiet", *LONG)
    assert (done.code, done.err) == (0, "note: run_invocation_timeout is 300000 s, more than three days\n")


def test_a_step_in_python_says_its_notes_and_keeps_them(tmp_path, job, script, capsys):
    numbers(tmp_path / "t.csv", 3)
    script(ECHO)
    result = job(TabularDataset.from_delimited_files(str(tmp_path / "t.csv")), run_invocation_timeout=300_000)
    [note] = result.notes
    assert note == "run_invocation_timeout is 300000 s, more than three days"
    assert capsys.readouterr().err == f"note: {note}\n"


def test_a_key_that_is_not_there_has_a_nearest_name(tmp_path, called, script):
    (tmp_path / "t.csv").write_text("loan,a\n1,2\n")
    done = called("run", script(ECHO), "t.csv", "--key", "lown")
    assert done.code == 2
    assert done.err.endswith("column 'lown', which the input does not have; did you mean 'loan'?\n")


def test_a_list_of_keys_is_taken_as_it_is(tmp_path, called, script):
    (tmp_path / "t.csv").write_text('auto,"a,b",c\n1,2,3\n')
    (tmp_path / "job.yml").write_text("key: [auto, 'a,b']\n")
    done = called(
        "run",
        script("def run(rows):\n    return [7]\n"),
        "t.csv",
        "--config",
        "job.yml",
        "--engine",
        "inline",
        "--json",
    )
    assert done.code == 0, done.err
    assert done.output.read_text() == 'auto,"a,b",prediction\n1,2,7\n'
    assert called("resume", done.run_dir, "--json").json == done.json


@pytest.mark.parametrize(
    "option",
    [("--outputs", "lable"), ("--features", "id"), ("--precision", "fp16"), ("--model-batch-size", "auto")],
)
def test_an_option_of_models_is_refused_beside_a_script(option, tmp_path, called, script):
    numbers(tmp_path / "t.csv", 3)
    done = called("run", script(ECHO), "t.csv", *option)
    assert done.code == 2
    assert done.err == f"batch-score: error: {option[0]} is for ONNX models, but the scorer is score.py; leave it out\n"


@pytest.mark.parametrize("command", [("run", "score.py"), ("plan",)])
@pytest.mark.parametrize("option", [("--separator", ";"), ("--no-header",), ("--set-column-types", "a=int64")])
def test_an_option_of_tables_is_refused_for_files(option, command, tmp_path, called, script):
    script(ECHO)
    (tmp_path / "a.png").touch()
    done = called(*command, "a.png", *option)
    assert done.code == 2
    assert f"{option[0]} is for tables, but the input is files (a.png); leave it out" in done.err


def test_keys_in_paths_are_for_files_too(tmp_path, called):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").touch()
    done = called("plan", "a", "--partition-format", "a/{name}.png")
    assert (done.code, done.err) == (0, "")


def test_the_help_has_every_option_in_one_section(called):
    text = called("run", "--help").out
    titles = re.findall(r"^(\S.*):$", text, flags=re.MULTILINE)
    assert titles == ["Options", *SECTIONS]
    own = text.partition("Options:")[2].partition("Input:")[0]
    assert re.findall(r"^  (?:-h, )?--([a-z-]+)", own, flags=re.MULTILINE) == [
        *("run-dir", "output", "config", "json", "quiet", "help"),
    ]
    options = re.findall(r"^  (?:-h, )?--([a-z-]+)", text, flags=re.MULTILINE)
    assert len(options) == len(set(options))


def test_help_says_what_may_be_given(called):
    run, debug = called("run", "--help").out, called("debug", "--help").out
    for text in (run, debug):
        assert "[-- SCRIPT ARGUMENTS]" in " ".join(text.partition("\n\n")[0].split())
        assert "--logging-level [DEBUG|INFO|WARNING|WARN]" in text
        assert "--profiling-module [cProfile|profile]" in text
        assert "--set-column-types NAME=TYPE" in text
    assert "[default: -1]" in run
    assert "[default" not in debug.partition("Input:")[2]  # with RUN_DIR the run's values hold
    assert "SCRIPT" not in called("resume", "--help").out.partition("\n\n")[0]


@pytest.mark.parametrize("group", [(), ("model",)])
def test_at_80_columns_no_description_of_a_command_is_cut(group, called, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    listed = called(*group, "--help").out.partition("Commands:")[2]
    assert [line for line in listed.splitlines() if line.endswith("...")] == []


def test_a_setting_of_a_file_is_named_as_it_stands_there(tmp_path, called, script):
    numbers(tmp_path / "t.csv", 3)
    (tmp_path / "job.yml").write_text("run_max_try: 0\n")
    done = called("run", script(ECHO), "t.csv", "--config", "job.yml", "--key", "id")
    assert done.err == "batch-score: error: run_max_try must be at least 1, got 0\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gpus", "--process-count-per-node", "0"), "--process-count-per-node must be at least 1, got 0"),
        (("gpus", "--gpus", "0", "--device", "cpu"), "--gpus names 0, but --device is cpu: leave one of them out"),
        (("plan", "t.csv", "--separator", "key"), "--separator must be one ASCII character other than NUL, got 'key'"),
        (
            ("plan", "t.csv", "--set-column-types", "a"),
            "--set-column-types must be NAME=TYPE, e.g. amount=int64; got 'a'",
        ),
        (("run", "score.py", "t.csv", "--key", "none,a"), "--key names column 'none', which the input does not have; "),
        (("run", "score.py", "https://host/t.csv"), "https://host/t.csv: URLs are not supported; copy the files to "),
        (("plan", "s3://bucket/*.csv"), "s3://bucket/*.csv: URLs are not supported; copy the files to this machine"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_command_line(arguments, message, tmp_path, called, script):
    numbers(tmp_path / "t.csv", 3)
    script(ECHO)
    done = called(*arguments)
    assert done.code == 2
    assert done.err.startswith(f"batch-score: error: {message}")
