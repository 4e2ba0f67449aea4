"""What an entry script finds around it, where its words go, and that the inline engine puts everything back."""

import json
import logging
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.integration.running import numbers

from batch_score import FileDataset, ParallelRunConfig, TabularDataset
from batch_score.job.placing import usable_cpus
from batch_score.job.prepare import prepare
from batch_score.job.request import JobRequest

LOOK_AROUND = """
    import json, os, sys, threading

    import beside

    SEEN = {
        "argv": list(sys.argv),
        "cwd": os.getcwd(),
        "file": os.path.realpath(__file__),
        "name": __name__,
        "path": sys.path[0],
        "beside": beside.__file__,
        "environment": dict(os.environ),
    }

    def init():
        SEEN["init"] = threading.current_thread() is threading.main_thread()

    def run(rows):
        SEEN["run"] = threading.current_thread() is threading.main_thread()
        return [json.dumps(SEEN)]
"""


def seen(output):
    return json.loads(output.read_text(encoding="utf-8").splitlines()[0])


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_what_a_script_finds_around_it(engine, tmp_path, batch_score, script):
    script(LOOK_AROUND, name="code/score.py")
    script("", name="code/beside.py")
    numbers(tmp_path / "t.csv", 1)
    options = ("--engine", engine, "--append-row-file-name", "o.txt", "--process-count-per-node", 1, "--run-dir", "r")
    variables = ("--environment-variables", "COLOUR=red=green", "--environment-variables", "SIZE=9")
    done = batch_score.run("code/score.py", "t.csv", *options, *variables, "--", "--model", "m 1", 20, OUTSIDE="kept")
    assert done.code == 0, done.err
    found = seen(done.output)
    root = tmp_path / "code"
    outputs = tmp_path / "r" / "outputs"
    assert found["argv"] == [
        str(root / "score.py"),
        f"--output={outputs}",
        "--append_row_file_name=o.txt",
        "--logging_level=INFO",
        *("--model", "m 1", "20"),
    ]
    assert (found["cwd"], found["path"], found["file"]) == (str(root), str(root), str(root / "score.py"))
    assert found["beside"] == str(root / "beside.py")
    assert found["name"] == "score"
    assert found["init"]
    assert found["run"]
    environment = found["environment"]
    wanted = {
        "COLOUR": "red=green",
        "SIZE": "9",
        "OUTSIDE": "kept",
        "AZUREML_BI_OUTPUT_PATH": str(outputs),
        "AZUREML_RUN_ID": "r",
        "AZUREML_CR_NODE_RANK": "0",
        "AZ_BATCHAI_GPU_COUNT_FOUND": environment["AZ_BATCHAI_GPU_COUNT_FOUND"],
    }
    assert {name: environment[name] for name in wanted} == wanted
    assert "CUDA_VISIBLE_DEVICES" in environment


@pytest.mark.parametrize(
    ("workers", "chosen", "threads"),
    [(1, {}, str(usable_cpus())), (1000, {}, "1"), (1, {"OMP_NUM_THREADS": "3"}, "3")],
)
def test_libraries_of_threads_get_a_share_of_the_cores(workers, chosen, threads, tmp_path, monkeypatch):
    """Decided before anything is started, so that a thousand workers need not be."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.chdir(tmp_path)
    numbers(tmp_path / "t.csv", 1)
    (tmp_path / "score.py").write_text("def run(rows):\n    return rows\n")
    config = ParallelRunConfig(entry_script="score.py", process_count_per_node=workers, environment_variables=chosen)
    dataset = TabularDataset.from_delimited_files("t.csv")
    environments = prepare(JobRequest(config, (dataset,), tmp_path / "r")).environments
    assert {one["OMP_NUM_THREADS"] for one in environments} == {threads}


def test_a_script_in_a_package_below_the_code_root(tmp_path, batch_score, script):
    script("", name="code/src/__init__.py")
    script("WORD = 'relative'\n", name="code/src/words.py")
    script("", name="code/beside.py")
    script(LOOK_AROUND.replace("import beside", "import beside\n    from .words import WORD"), name="code/src/score.py")
    numbers(tmp_path / "t.csv", 1)
    options = ("--source-directory", "code", "--append-row-file-name", "o.txt")
    for scorer in ("src/score.py", "src.score"):
        done = batch_score.run(scorer, "t.csv", *options, "--run-dir", scorer)
        assert done.code == 0, done.err
        found = seen(done.output)
        assert (found["name"], found["cwd"]) == ("src.score", str(tmp_path / "code"))


def test_runtime_flags_among_the_arguments_count_and_stay(tmp_path, batch_score, script):
    script("import json, sys\ndef run(rows):\n    return [json.dumps({'argv': sys.argv})]\n")
    numbers(tmp_path / "t.csv", 1)
    flags = ("--append_row_file_name", "flag.txt", "--resource_monitor_interva", "0", "--logging_level=debug")
    done = batch_score.run("score.py", "t.csv", "--", *flags)
    assert done.code == 0, done.err
    assert done.output.name == "flag.txt"
    assert seen(done.output)["argv"][-5:] == list(flags)
    assert "--append_row_file_name=flag.txt" in seen(done.output)["argv"]
    assert not list((done.logs / "perf" / "node-0").iterdir())


TALK = """
    import logging, os, subprocess, sys

    def init():
        print("printed in init")
        logging.info("logged at info")
        logging.debug("logged at debug")

    def run(rows):
        print("printed in run")
        print("printed to stderr", file=sys.stderr)
        logging.getLogger("my.module").warning("logged by a module")
        os.write(1, b"written past Python\\n")
        subprocess.run(["sh", "-c", "echo said by a child; echo cried by a child >&2"])
        return rows

    def shutdown():
        print("printed in shutdown")
"""


def test_what_a_script_says_lands_in_its_files(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 1)
    done = batch_score.run(script(TALK), "t.csv", "--process-count-per-node", 1)
    assert done.code == 0, done.err
    logs = done.logs
    stdout = (logs / "user/stdout/node-0/process000.stdout.txt").read_text()
    assert stdout == "printed in init\nprinted in run\nprinted in shutdown\n"
    stderr = (logs / "user/stderr/node-0/process000.stderr.txt").read_text()
    assert [line.split("|")[-1] for line in stderr.splitlines() if "|" in line] == [
        "logged at info",
        "logged by a module",
    ]
    assert "printed to stderr\n" in stderr
    assert "debug" not in stderr
    system = logs / "sys/node/node-0"
    assert (system / "process000.stdout.txt").read_text() == "written past Python\nsaid by a child\n"
    assert (system / "process000.stderr.txt").read_text() == "cried by a child\n"
    first, *others = (system / "process000.txt").read_text().splitlines()
    assert "|process000 runs on " in first
    assert "CUDA_VISIBLE_DEVICES=" in first
    assert any("mini-batch 0 try 0: RUN_DONE" in line for line in others)
    master = (logs / "sys/master_role.txt").read_text()
    for text in (f"output {done.output}", "the plan is complete: mini-batches 1, items 1", "|completed: 1 of 1 row "):
        assert text in master
    for name in ("job_result.txt", "job_progress_overview.txt", "readme.txt", "sys/master_role.txt"):
        assert (logs / name).read_text()
    assert not (logs / "user/error.txt").exists()


@pytest.fixture
def surroundings():
    """The state of this process that a script could leave changed."""

    def look():
        return {
            "cwd": Path.cwd(),
            "argv": list(sys.argv),
            "path": list(sys.path),
            "environment": dict(os.environ),
            "streams": (sys.stdout, sys.stderr),
            "handlers": list(logging.getLogger().handlers),
            "levels": (logging.getLogger().level, logging.getLogger("batch_score").level),
            "loggers": list(logging.getLogger("batch_score").handlers),
        }

    return look


RUDE = """
    import os, sys

    import beside

    def init():
        os.chdir("/")
        os.environ["RUDE"] = "1"
        os.environ.pop("HOME", None)
        sys.path.insert(0, "/rude")
        sys.argv.append("rude")
        sys.argv = ["new"]
        sys.stdout = sys.stderr

    def run(rows):
        if ENDING != "completed":
            raise ValueError(ENDING)
        return [beside.WORD] * len(rows)
"""


@pytest.mark.parametrize("ending", ["completed", "failed"])
def test_the_inline_engine_puts_everything_back(ending, tmp_path, job, script, surroundings):
    script(RUDE.replace("ENDING", repr(ending)))
    script("WORD = 'one'\n", name="beside.py")
    table = TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3))
    before = surroundings()
    assert job(table, run_max_try=1).status == ending
    assert surroundings() == before


def test_two_inline_jobs_each_import_their_own_modules(tmp_path, job, script):
    table = TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3))
    for word in ("one", "two"):
        script(RUDE.replace("ENDING", "'completed'"), name=f"{word}/score.py")
        script(f"WORD = {word!r}\n", name=f"{word}/beside.py")
        assert job(table, f"{word}/score.py").output.read_text() == f"{word}\n" * 3


def test_a_script_does_not_take_the_place_of_a_module_of_this_process(tmp_path, job, script):
    table = TabularDataset.from_delimited_files(numbers(tmp_path / "t.csv", 3))
    sys.modules["score"] = before = ModuleType("score")
    try:
        assert job(table, script("def run(rows):\n    return rows\n")).status == "completed"
        assert sys.modules["score"] is before
    finally:
        del sys.modules["score"]


def test_a_relative_path_is_found_although_the_script_runs_elsewhere(tmp_path, job, script):
    script(
        "from pathlib import Path\ndef run(files):\n    return [Path(path).read_text() for path in files]\n",
        name="code/score.py",
    )
    (tmp_path / "one.txt").write_text("1")
    assert job(FileDataset.from_files("one.txt"), "code/score.py").output.read_text() == "1\n"


@pytest.mark.parametrize("kind", ["tabular", "file"])
def test_relative_inputs_are_planned_to_the_end_while_the_script_is_elsewhere(kind, tmp_path, job, script):
    """Enough of them that planning cannot be over when the script's folder becomes the current one."""
    script("def run(items):\n    return [1] * len(items)\n", name="code/score.py")
    for part in range(10):
        (tmp_path / "in" / str(part)).mkdir(parents=True)
        for k in range(50):
            (tmp_path / "in" / str(part) / f"{k}.csv").write_text("id\n1\n")
    kinds = {"tabular": TabularDataset.from_delimited_files, "file": FileDataset.from_files}
    result = job(kinds[kind]("in"), "code/score.py", mini_batch_size=None if kind == "tabular" else 5)
    assert result.status == "completed", result
    assert result.totals.items_succeeded == 500


CONTEXT = {
    "positional": "def run(rows, mini_batch_context):\n    context = mini_batch_context\n",
    "keyword": "def run(rows, *, mini_batch_context):\n    context = mini_batch_context\n",
    "default": "def run(rows, context=None):\n    pass\n",
}


@pytest.mark.parametrize("how", CONTEXT)
def test_the_context_of_a_mini_batch(how, tmp_path, job, script):
    known = "{context.minibatch_index} {context.global_row_index_lower_bound} {context.retry_count}"
    script(f"{CONTEXT[how]}    return [f'{known}'] * len(rows)\n")
    (tmp_path / "t.csv").write_text("id\n1\n2\n3\n")
    (tmp_path / "u.csv").write_text("id\n4\n")
    result = job(TabularDataset.from_delimited_files(["t.csv", "u.csv"]), mini_batch_size=4)
    assert result.output.read_text() == "0 0 0\n0 0 0\n1 2 0\n2 3 0\n"


AGENT = """
    from azureml_user.parallel_run import EntryScript
    from entry_script import EntryScript as Older

    def init():
        EntryScript().logger.info("I am %s", EntryScript().agent_name)

    def run(rows):
        agent = EntryScript()
        assert agent is EntryScript() is Older()
        return [f"{agent.log_dir} {agent.output_dir} {agent.working_dir}"]
"""


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_the_entry_script_object_of_existing_scripts(engine, tmp_path, job, script):
    script(AGENT)
    numbers(tmp_path / "t.csv", 1)
    result = job(TabularDataset.from_delimited_files("t.csv"), engine=engine, process_count_per_node=1)
    assert result.status == "completed", result
    log_dir, output_dir, working_dir = result.output.read_text().split()
    assert (output_dir, working_dir) == (str(result.output.parent), str(tmp_path))
    assert Path(log_dir, "process000.log.txt").read_text().endswith("|I am process000\n")
    assert not {"azureml_user", "entry_script"} & set(sys.modules)
