"""Models, runs and the names of azureml in whole jobs, and the commands about models."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from tests.integration.running import numbers

import batch_score as batch_score_package
from batch_score import ParallelRunConfig, ParallelRunStep, TabularDataset
from batch_score.azureml.core import Environment, Run
from batch_score.azureml.metrics import records

TWO = ("--process-count-per-node", 2)


@pytest.fixture
def models(tmp_path):
    """Where this test's models are: given to each command."""
    return {"BATCH_SCORE_MODELS": str(tmp_path / "models")}


# --- the commands


def test_the_commands_about_models(tmp_path, batch_score, models):
    (tmp_path / "m.pkl").write_text("weights")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.bin").write_text("a")
    path = str(tmp_path / "models" / "m" / "1" / "model" / "m.pkl")
    done = batch_score("model", "register", "m", "m.pkl", "--tag", "a=b=c", "--description", "words", **models)
    assert done.out == f"registered m:1: 1 file, 7 bytes, 9a129038d9a0, {path}\n"
    told = batch_score("model", "register", "m", "net", "--json", **models).json
    assert (told["name"], told["version"], told["files"]) == ("m", 2, 1)
    assert batch_score("model", "path", "m:1", **models).out == f"{path}\n"
    listed = batch_score("model", "list", **models).out.splitlines()
    assert [line.split()[0] for line in listed] == ["m:1", "m:2"]
    assert listed[0].endswith("a=b=c")
    lines = batch_score("model", "list", "m", "--tag", "a", "--json", **models).out.splitlines()
    assert [json.loads(line)["version"] for line in lines] == [1]
    shown = dict(line.split(None, 1) for line in batch_score("model", "show", "m:1", **models).out.splitlines())
    assert (shown["model"], shown["path"], shown["description"], shown["tags"]) == ("m:1", path, "words", "a=b=c")
    assert batch_score("model", "show", "m", "--json", **models).json["version"] == 2
    assert "no model x; " in batch_score("model", "list", "x", **models).out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("path", "x"), "model x is not known; "),
        (("show", "m:9"), "model m:9 is not known; "),
        (("register", "x", "nowhere"), "nowhere does not exist"),
        (("register", "x", "t.csv", "--tag", "a"), "a tag must be NAME=VALUE, got 'a'"),
    ],
)
def test_what_cannot_be_done_with_models_is_one_line(arguments, message, tmp_path, batch_score, models):
    numbers(tmp_path / "t.csv", 1)
    done = batch_score("model", *arguments, **models)
    assert done.code == 2
    assert done.out == ""
    (line,) = done.error_lines
    assert message in line


# --- AZUREML_MODEL_DIR

FIND = """
    import os
    from glob import glob

    from azureml.core import Model

    def init():
        global found
        found = os.environ.get("AZUREML_MODEL_DIR", "unset")
        if os.environ.get("BY_NAME"):
            found = Model.get_model_path(os.environ["BY_NAME"])

    def run(rows):
        return [f"{found}|{' '.join(sorted(glob(found + '/*')))}"] * len(rows)
"""


def lines(done):
    assert done.code == 0, done.err
    return set(done.output.read_text().splitlines())


def test_the_model_folder_of_a_job(tmp_path, batch_score, script, models):
    script(FIND)
    numbers(tmp_path / "t.csv", 3)
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "m.pkl").write_text("weights")
    ask = ("score.py", "t.csv", "--append-row-file-name", "o.txt", *TWO)
    folder, file = tmp_path / "dir", tmp_path / "dir" / "m.pkl"
    assert lines(batch_score.run(*ask, "--model-dir", "dir", **models)) == {f"{folder}|{file}"}
    assert lines(batch_score.run(*ask, "--model-dir", "dir/m.pkl", **models)) == {f"{folder}|{file}"}
    batch_score("model", "register", "net", "dir", **models)
    registered = tmp_path / "models" / "net" / "1" / "model"
    assert lines(batch_score.run(*ask, "--model-dir", "net", **models)) == {f"{registered}|{registered / 'dir'}"}
    done = batch_score.run(*ask, "--model-dir", "azureml:net:1", BY_NAME="net", **models)
    assert lines(done) == {f"{registered / 'dir'}|{registered / 'dir' / 'm.pkl'}"}
    assert lines(batch_score.run(*ask, **models)) == {"unset|"}


def test_an_unknown_model_is_found_out_before_anything_is_started(tmp_path, batch_score, script, models):
    script(FIND)
    numbers(tmp_path / "t.csv", 3)
    done = batch_score.run("score.py", "t.csv", "--model-dir", "nowhere", **models)
    assert done.code == 2
    assert "model_dir nowhere: there is no such file or folder, and model nowhere is not known; " in done.err
    assert not (tmp_path / "runs").exists()


def test_an_unknown_model_in_init_fails_the_job_at_once(tmp_path, batch_score, script, models):
    script(FIND)
    numbers(tmp_path / "t.csv", 3)
    done = batch_score.run("score.py", "t.csv", BY_NAME="nowhere", **models)
    assert done.code == 1
    assert "the scorer cannot be loaded: ModelError: model nowhere is not known; " in done.err


STOP_ONCE = """
    import os
    from pathlib import Path

    def run(rows):
        if rows["id"].iloc[0] > 50 and not Path(os.environ["GO"]).exists():
            raise ValueError("not yet")
        return [Path(os.environ["AZUREML_MODEL_DIR"]).parent.name] * len(rows)
"""


def test_a_run_goes_on_with_the_version_it_began_with(tmp_path, batch_score, script, models):
    script(STOP_ONCE)
    numbers(tmp_path / "t.csv", 100)
    (tmp_path / "m.pkl").write_text("one")
    batch_score("model", "register", "m", "m.pkl", **models)
    environment = {**models, "GO": str(tmp_path / "go")}
    ask = ("score.py", "t.csv", "--model-dir", "m", "--mini-batch-size", 100, "--run-dir", "r", "--key", "none")
    done = batch_score.run(
        *ask, "--append-row-file-name", "o.txt", "--error-threshold", 0, "--run-max-try", 1, **environment
    )
    assert done.code == 1
    batch_score("model", "register", "m", "m.pkl", **models)
    (tmp_path / "go").touch()
    done = batch_score("resume", "r", "--json", "--error-threshold", -1, **environment)
    assert lines(done) == {"1"}


def test_a_run_does_not_go_on_with_another_model(tmp_path, batch_score, script):
    script(STOP_ONCE)
    numbers(tmp_path / "t.csv", 100)
    (tmp_path / "dir" / "1").mkdir(parents=True)
    (tmp_path / "dir" / "1" / "m.pkl").write_text("one")
    ask = ("score.py", "t.csv", "--model-dir", "dir/1", "--run-dir", "r", "--mini-batch-size", 100)
    done = batch_score.run(*ask, "--error-threshold", 0, "--run-max-try", 1, GO=str(tmp_path / "go"))
    assert done.code == 1
    (tmp_path / "dir" / "1" / "m.pkl").write_text("two")
    done = batch_score("resume", "r")
    assert done.code == 2
    assert "cannot go on: the source file dir/1/m.pkl changed; start a new run" in done.err


def test_another_model_in_the_folder_is_another_run(tmp_path, monkeypatch, script):
    script("def run(rows):\n    return [1] * len(rows)\n")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dir").mkdir()
    model = tmp_path / "dir" / "m.pkl"
    model.write_text("one")
    table = TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3))

    def reused(model_dir):
        config = ParallelRunConfig(entry_script="score.py", engine="inline", device="cpu", model_dir=model_dir)
        return ParallelRunStep("step-one", config, [table]).run().reused

    assert [reused("dir"), reused("dir")] == [False, True]
    model.write_text("two")
    assert [reused("dir"), reused("dir")] == [False, True]
    assert [reused("dir/m.pkl"), reused("dir/m.pkl")] == [False, True]


# --- Run in workers

LOG = """
    from azureml.core.run import Run
    from azureml_user.parallel_run import EntryScript

    def init():
        global context
        context = Run.get_context()
        context.log("started", 1)

    def run(rows):
        context.log_row("mini-batches", first=rows["id"].iloc[0], rows=len(rows))
        child = context.child_run(name=str(rows["id"].iloc[0]))
        child.log("mean", rows["a"].mean())
        child.complete()
        context.parent.log("seen", 1)
        context.tag(EntryScript().agent_name)
        return rows

    def shutdown():
        Run.get_context().log("ended", True)
"""


def test_what_workers_log_lands_in_the_run_directory(tmp_path, batch_score, script):
    script(LOG)
    numbers(tmp_path / "t.csv", 1_000)
    done = batch_score.run("score.py", "t.csv", "--mini-batch-size", 200, "--run-dir", "job", *TWO)
    assert done.code == 0, done.err
    assert Run(run_id="job", folder=done.run_dir).get_status() == "Completed"
    found = list(records(done.run_dir / "metrics.jsonl"))
    own = [record for record in found if record["run"] == "job"]
    assert sum(record["value"]["rows"] for record in own if record["name"] == "mini-batches") == 1_000
    count = done.json["mini_batches"]["total"]
    assert sum(record["name"] == "mean" for record in found) == count
    assert sum(record["run"] == "job_pipeline" for record in found) == count
    assert sum(record["name"] in ("started", "ended") for record in own) == 4
    assert len({record["pid"] for record in own}) == 2
    events = list(records(done.run_dir / "events.jsonl"))
    assert {"process000", "process001"} >= {tag for event in events for tag in event.get("set", ())}
    assert sum(event["kind"] == "status" for event in events) == count


def test_without_the_azureml_part_everything_else_works(tmp_path, batch_score, script):
    package = Path(batch_score_package.__file__).parent
    shutil.copytree(package, tmp_path / "site" / "batch_score", ignore=shutil.ignore_patterns("azureml", "__pycache__"))
    script("import sys\ndef run(rows):\n    return rows\n")
    script("import azureml.core\ndef run(rows):\n    return rows\n", name="asking.py")
    numbers(tmp_path / "t.csv", 3)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    (tmp_path / "m.pkl").touch()
    assert batch_score("model", "register", "m", "m.pkl", PYTHONPATH=path, BATCH_SCORE_MODELS="models").code == 0
    done = batch_score.run("score.py", "t.csv", "--model-dir", "m.pkl", PYTHONPATH=path)
    assert done.code == 0, done.err
    done = batch_score.run("asking.py", "t.csv", PYTHONPATH=path)
    assert done.code == 1
    assert "ModuleNotFoundError: No module named 'azureml'" in done.err


UNKNOWN = """
    from azureml.core import AKSWebservice

    def run(rows):
        return rows
"""


def test_a_name_that_is_not_provided_is_said_in_the_first_line(tmp_path, batch_score, script):
    script(UNKNOWN)
    numbers(tmp_path / "t.csv", 1)
    done = batch_score.run("score.py", "t.csv")
    assert done.code == 1
    assert "azureml.core.AKSWebservice is not provided by batch-score" in done.err


INSTALLED = """
    from azureml.core import Run

    def run(rows):
        return [Run.__module__] * len(rows)
"""


@pytest.mark.parametrize("engine", ["local", "inline"])
@pytest.mark.parametrize(("whose", "module"), [("installed", "azureml.core"), ("ours", "batch_score.azureml.core.run")])
def test_whose_names_a_script_gets(engine, whose, module, tmp_path, batch_score, script):
    script(INSTALLED)
    script("class Run: pass\n", name="site/azureml/core/__init__.py")
    numbers(tmp_path / "t.csv", 1)
    path = os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    ask = ("score.py", "t.csv", "--azureml-names", whose, "--engine", engine, "--append-row-file-name", "o.txt")
    assert lines(batch_score.run(*ask, PYTHONPATH=path)) == {module}


def test_the_inline_engine_leaves_no_name_behind(tmp_path, job, script):
    finders, path = list(sys.meta_path), list(sys.path)
    script(LOG)
    result = job(TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3)))
    assert result.status == "completed", result
    assert (sys.meta_path, sys.path) == (finders, path)
    assert not [name for name in sys.modules if name.partition(".")[0] in ("azureml", "azureml_user")]
    assert "BATCH_SCORE_RUN_DIR" not in os.environ
    assert (result.run_dir / "metrics.jsonl").exists()


def test_what_an_environment_has_other_is_told_when_the_job_begins(tmp_path, job, script):
    script("def run(rows):\n    return rows\n")
    (tmp_path / "conda.yml").write_text("dependencies: [no-such-package-1, {pip: [numpy]}]\n")
    environment = Environment.from_conda_specification("env", tmp_path / "conda.yml")
    result = job(TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3)), environment=environment)
    assert result.status == "completed", result
    log = (result.run_dir / "logs" / "sys" / "master_role.txt").read_text()
    assert "|WARNING|" in log
    assert "environment: no-such-package-1 is not installed" in log


# --- scripts as steps

STEP = """
    import os, sys
    from azureml.core import Run
    from azureml_user.parallel_run import EntryScript
    import beside

    run = Run.get_context()
    run.log("arguments", " ".join(sys.argv[1:]))
    run.upload_file("outputs/here.txt", beside.__file__)
    print(__name__, os.path.realpath(__file__), os.getcwd(), sys.path[0], run.id, EntryScript().agent_name)
    sys.exit(int(sys.argv[2]))
"""
RUN_SCRIPT = "import runpy, sys; sys.argv[0] = 'x'; runpy.run_module('batch_score.azureml.script', run_name='__main__')"


def test_a_script_runs_as_a_step(tmp_path, batch_score, script):
    script(STEP, name="code/step.py")
    script("", name="code/beside.py")
    where = {"BATCH_SCORE_RUN_DIR": str(tmp_path / "step"), "AZUREML_RUN_ID": "step-1"}
    done = batch_score.program(RUN_SCRIPT, "code/step.py", "--n", 3, **where)
    code = tmp_path / "code"
    assert done.out.split() == [
        *("__main__", str(code / "step.py"), str(tmp_path), str(code), "step-1", "process000"),
    ], done.err
    assert done.code == 3
    (record,) = records(tmp_path / "step" / "metrics.jsonl")
    assert (record["run"], record["value"]) == ("step-1", "--n 3")
    assert (tmp_path / "step" / "uploads" / "outputs" / "here.txt").exists()


def test_a_script_that_fails_ends_with_its_own_traceback(tmp_path, batch_score, script):
    script("import azureml.core\nraise ValueError('mine')\n")
    done = batch_score.program(RUN_SCRIPT, "score.py")
    assert done.code == 1
    assert done.err.rstrip().endswith("ValueError: mine")
    assert "score.py" in done.err
    done = batch_score.program(RUN_SCRIPT, "nowhere.py")
    assert "no such file; usage: " in done.err
    assert done.code == 1
    assert Path(tmp_path).exists()
