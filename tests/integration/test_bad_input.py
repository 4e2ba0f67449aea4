"""What is wrong with a call is said in one line, with exit code 2, before anything is started or written."""

import os

import pytest
from tests import models
from tests.integration.running import numbers

SCRIPT = "def run(rows):\n    return rows\n"


@pytest.fixture
def folder(tmp_path):
    """A folder with a good script, a good table and a good model."""
    (tmp_path / "score.py").write_text(SCRIPT)
    numbers(tmp_path / "good.csv", 10)
    models.weighted_sum(tmp_path / "two.onnx", 2)
    return tmp_path


def other_header(folder):
    (folder / "other.csv").write_text("id,a,c\n1,2,3\n")


def folder_without_files(folder):
    (folder / "empty").mkdir()


def folder_named_as_table(folder):
    (folder / "x.csv").mkdir()


def unreadable(folder):
    """Not even root can read this one: its first byte is in no page of memory."""
    (folder / "memory.csv").symlink_to("/proc/self/mem")


def dangling(folder):
    (folder / "gone.csv").symlink_to("nowhere.csv")


def header_only(folder):
    (folder / "header.csv").write_text("")


def large_keys(folder):
    (folder / "keys.csv").write_text("id,a\n1234567890123456789,1\n,2\n1234567890123456788,3\n")


def pipes(folder):
    """Nobody writes into them: who opens one waits for ever."""
    for name in ("p.csv", "p.csv.gz", "p.jsonl", "p.parquet"):
        os.mkfifo(folder / name)


def image(folder):
    (folder / "image.png").write_bytes(b"\x89PNG")


def json_lines(folder):
    (folder / "more.jsonl").write_text('{"id": 1}\n')


def no_parquet(folder):
    (folder / "no.parquet").write_bytes(b"PAR1 and then nothing")


def no_model(folder):
    (folder / "bad.onnx").write_bytes(b"this is no model")


def yaml_syntax(folder):
    (folder / "c.yml").write_text("error_threshold: [1\n")


def yaml_unknown(folder):
    (folder / "c.yml").write_text("error_treshold: 1\n")


def yaml_range(folder):
    (folder / "c.yml").write_text("run_max_try: 0\n")


def yaml_list(folder):
    (folder / "c.yml").write_text("- 1\n- 2\n")


def yaml_wrong_type(folder):
    (folder / "c.yml").write_text("process_count_per_node: many\n")


def yaml_variable(folder):
    (folder / "c.yml").write_text('environment_variables: {"A\\0": "1"}\n')


def output_there(folder):
    (folder / "out").mkdir()
    (folder / "out" / "predictions.csv").write_text("precious\n")


def run_dir_full(folder):
    (folder / "runs").mkdir()
    (folder / "runs" / "r").mkdir()
    (folder / "runs" / "r" / "kept.txt").write_text("precious\n")


def run_dir_a_file(folder):
    (folder / "taken").write_text("precious\n")


def settings_of_to_csv(folder):
    (folder / "parallel_run_step.settings.json").write_text('{"append_row": {"pandas.DataFrame.to_csv": {"sepp": 1}}}')


def nothing(_folder):
    pass


CASES = {
    "missing file": (nothing, "score.py nope.csv", ["nope.csv"]),
    "empty glob": (nothing, "score.py part-*.csv", ["part-*.csv"]),
    "folder without files": (folder_without_files, "score.py empty", ["empty"]),
    "folder named as a table": (folder_named_as_table, "score.py x.csv", ["x.csv"]),
    "unreadable": (unreadable, "score.py memory.csv", ["memory.csv"]),
    "dangling link": (dangling, "score.py gone.csv", ["gone.csv"]),
    "pipe": (pipes, "score.py p.csv", ["p.csv", "not a regular file"]),
    "pipe as a stream": (pipes, "score.py p.csv.gz", ["p.csv.gz", "not a regular file"]),
    "pipe of UTF-16": (pipes, "score.py p.jsonl --encoding utf16", ["p.jsonl", "not a regular file"]),
    "pipe of Parquet": (pipes, "score.py p.parquet", ["p.parquet", "not a regular file"]),
    "no byte": (header_only, "score.py header.csv", ["header.csv"]),
    "tables and others": (image, "score.py good.csv image.png", ["good.csv", "image.png", "--input-type"]),
    "kinds of tables": (json_lines, "score.py good.csv more.jsonl", ["good.csv", "more.jsonl"]),
    "another header": (other_header, "score.py good.csv other.csv", ["other.csv", "'b'", "good.csv"]),
    "not parquet": (no_parquet, "score.py no.parquet", ["no.parquet"]),
    "no YAML": (yaml_syntax, "score.py good.csv --config c.yml", ["c.yml", "line"]),
    "unknown key": (yaml_unknown, "score.py good.csv --config c.yml", ["c.yml", "error_treshold", "error_threshold"]),
    "key out of range": (yaml_range, "score.py good.csv --config c.yml", ["run_max_try", "at least 1"]),
    "no mapping": (yaml_list, "score.py good.csv --config c.yml", ["c.yml", "list"]),
    "wrong type": (yaml_wrong_type, "score.py good.csv --config c.yml", ["process_count_per_node", "many"]),
    "missing config": (nothing, "score.py good.csv --config c.yml", ["c.yml"]),
    "not a model": (no_model, "bad.onnx good.csv", ["bad.onnx"]),
    "missing model": (nothing, "none.onnx good.csv", ["none.onnx"]),
    "columns do not fit": (nothing, "two.onnx good.csv", ["id, a, b", "--features"]),
    "unknown feature": (nothing, "two.onnx good.csv --features a,z", ["--features", "z", "id, a, b"]),
    "model for files": (nothing, "two.onnx good.csv --input-type file", ["two.onnx"]),
    "no GPU here": (nothing, "two.onnx good.csv --features a,b --device cuda", ["cuda", "GPU"]),
    "output is there": (output_there, "score.py good.csv --output out", ["out/predictions.csv"]),
    "output is the spool": (
        nothing,
        "score.py good.csv --run-dir c --output c --append-row-form csv --append-row-file-name spool.arrow",
        ["c/spool.arrow", "--append-row-file-name"],
    ),
    "output is the journal": (
        nothing,
        "score.py good.csv --run-dir c --output c --append-row-form csv --append-row-file-name journal",
        ["c/journal", "give another --output"],
    ),
    "output is a draft": (
        nothing,
        "score.py good.csv --run-dir c --output c --append-row-form csv --append-row-file-name .run.json.1",
        ["c/.run.json.1"],
    ),
    "output among the logs": (
        nothing,
        "score.py good.csv --run-dir c --output c/logs --append-row-file-name job_result.txt",
        ["c/logs/job_result.txt"],
    ),
    "output is the run directory": (
        nothing,
        "score.py good.csv --run-dir c/o.csv --output c --append-row-file-name o.csv",
        ["c/o.csv", "in the place of"],
    ),
    "run directory in use": (run_dir_full, "score.py good.csv --run-dir runs/r", ["runs/r"]),
    "run directory is a file": (run_dir_a_file, "score.py good.csv --run-dir taken", ["taken"]),
    "missing script": (nothing, "nope.py good.csv", ["nope.py"]),
    "missing module": (nothing, "no.such.module good.csv", ["no.such.module"]),
    "unknown option": (nothing, "score.py good.csv --error-treshold 1", ["--error-treshold", "--error-threshold"]),
    "no input": (nothing, "score.py", ["INPUT"]),
    "no worker": (nothing, "score.py good.csv --process-count-per-node 0", ["--process-count-per-node", "at least 1"]),
    "number is none": (nothing, "score.py good.csv --run-max-try many", ["many"]),
    "size of nothing": (nothing, "score.py good.csv --mini-batch-size 0", ["--mini-batch-size"]),
    "size beyond all": (nothing, "score.py good.csv --mini-batch-size 99999999999999999999", ["--mini-batch-size"]),
    "files beyond all": (image, "score.py image.png --mini-batch-size 99999999999999999999", ["--mini-batch-size"]),
    "files in bytes": (image, "score.py image.png --mini-batch-size 1MB", ["--mini-batch-size", "1MB"]),
    "unknown key column": (nothing, "score.py good.csv --key z", ["'z'", "id, a, b"]),
    "key with gaps": (large_keys, "score.py keys.csv --key id", ["'id'", "set_column_types id=string"]),
    "key of files": (image, "score.py image.png --key id", ["key"]),
    "unknown form": (nothing, "score.py good.csv --append-row-file-name out.xml", ["out.xml", ".csv"]),
    "form with a folder": (nothing, "score.py good.csv --append-row-file-name a/out.csv", ["a/out.csv"]),
    "unknown type": (nothing, "score.py good.csv --set-column-types a=complex", ["complex", "int64"]),
    "type of no column": (nothing, "score.py good.csv --set-column-types z=int64", ["'z'"]),
    "pair of nothing": (nothing, "score.py good.csv --environment-variables NAME", ["--environment-variables"]),
    "variable without a name": (
        nothing,
        "score.py good.csv --environment-variables =c",
        ["--environment-variables", "''"],
    ),
    "variable with a NUL": (yaml_variable, "score.py good.csv --config c.yml", ["environment_variables", "a name"]),
    "separator of two": (nothing, "score.py good.csv --separator ab", ["separator"]),
    "flag out of range": (nothing, "score.py good.csv -- --error_threshold=-2", ["error_threshold"]),
    "to_csv": (
        settings_of_to_csv,
        "score.py good.csv --append-row-file-name out.txt",
        ["parallel_run_step.settings.json", "sepp"],
    ),
}


def contents(folder):
    """Every path below `folder`, with the bytes of those that are files."""
    return {path: path.read_bytes() if path.is_file() and not path.is_symlink() else b"" for path in folder.rglob("*")}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_refused_before_anything_happens(case, folder, called):
    make, arguments, wanted = CASES[case]
    make(folder)
    before = contents(folder)
    done = called("run", *arguments.split(), "--json")
    assert done.code == 2, done.err
    assert done.out == ""
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("batch-score: error: ")
    for text in wanted:
        assert text in done.err
    assert "internal error" not in done.err
    assert contents(folder) == before


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("command", ["plan nope.csv", "debug score.py nope.csv", "debug nope.py good.csv", "nonsense"])
def test_other_commands_refuse_in_the_same_way(command, batch_score):
    done = batch_score(*command.split())
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
    assert done.err.startswith("batch-score: error: ")


def test_a_job_does_not_score_its_own_run_directory(folder, batch_score):
    (folder / "in").mkdir()
    (folder / "in" / "one.dat").write_text("1")
    done = batch_score("run", "score.py", "in", "--run-dir", "in/runs/r", "--json")
    assert done.code == 2, done.out
    assert "in/runs/r" in done.err
    assert sorted(path.name for path in folder.rglob("in/**/*")) == ["one.dat"]
