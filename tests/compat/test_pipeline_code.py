"""Pipeline code of SDK v1: only the import lines are other ones."""

import json
import pickle
import time
from copy import copy
from pathlib import Path

import pytest

from batch_score.azureml.core import Workspace
from batch_score.azureml.data import Dataset, DatasetConsumptionConfig, OutputFileDatasetConfig, PipelineData
from batch_score.azureml.data.dataset_factory import DataType
from batch_score.azureml.pipeline.core import Pipeline, PipelineParameter, StepSequence
from batch_score.azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep, PythonScriptStep
from batch_score.errors import ConfigError, InputError, JobFailedError, RecordError

NOTEBOOK = """
    from batch_score.azureml.core import Experiment, Workspace
    from batch_score.azureml.core import Dataset, Environment
    from batch_score.azureml.data import OutputFileDatasetConfig
    from batch_score.azureml.pipeline.core import Pipeline, PipelineParameter
    from batch_score.azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep, PythonScriptStep

    ws = Workspace.from_config()
    datastore = ws.get_default_datastore()
    readings = Dataset.Tabular.from_delimited_files(path="readings.csv")
    batch_size = PipelineParameter(name="batch_size_param", default_value="1KB")
    scored = OutputFileDatasetConfig(name="scored", destination=(datastore, "scored"))

    config = ParallelRunConfig(
        source_directory="scripts",
        entry_script="add_sum.py",
        mini_batch_size=batch_size,
        error_threshold=10,
        output_action="append_row",
        append_row_file_name="sums.txt",
        environment=Environment("some-env"),
        compute_target=None,
        node_count=2,
        run_invocation_timeout=600,
    )
    step = ParallelRunStep(
        name="add-sums",
        parallel_run_config=config,
        inputs=[readings.as_named_input("readings")],
        output=scored,
        arguments=["--scale", 2],
        allow_reuse=True,
    )
    report = PythonScriptStep(
        script_name="report.py",
        source_directory="report",
        arguments=["--scored", scored.as_input("scored")],
        compute_target=None,
    )
    pipeline = Pipeline(workspace=ws, steps=[step, report])
    run = Experiment(ws, "sums").submit(pipeline, pipeline_parameters={"batch_size_param": "2KB"})
    print(run.wait_for_completion(show_output=True))
    child = run.find_step_run("add-sums")[0]
    child.get_output_data("scored").download(local_path="results")
"""
ADD_SUM = """
    import argparse

    def init():
        global scale
        parser = argparse.ArgumentParser()
        parser.add_argument("--scale", type=int)
        scale = parser.parse_known_args()[0].scale

    def run(mini_batch):
        mini_batch["sum"] = (mini_batch["a"] + mini_batch["b"]) * scale
        return mini_batch
"""
REPORT = """
    import argparse, glob

    parser = argparse.ArgumentParser()
    parser.add_argument("--scored")
    folder = parser.parse_args().scored
    rows = [line.split(" ") for name in glob.glob(folder + "/*") for line in open(name)]
    print("rows", len(rows), "total", sum(int(row[2]) for row in rows))
"""
COPY = """
    import os, shutil, sys

    source, target = sys.argv[1:3]
    os.makedirs(target, exist_ok=True)
    for name in sorted(os.listdir(source)) if os.path.isdir(source) else [""]:
        path = os.path.join(source, name) if name else source
        shutil.copy(path, target)
    print("copied", *sys.argv[3:])
"""
UPPER = """
    import os

    def run(mini_batch):
        return [os.path.basename(path) + " " + open(path).read().strip().upper() for path in mini_batch]
"""


def readings(path, rows=200):
    path.write_text("a,b\n" + "".join(f"{i},{i * 2}\n" for i in range(rows)), encoding="utf-8")


def states(run):
    return {step.name: ("reused" if step.reused else step.get_status()) for step in run.get_steps()}


@pytest.fixture
def steps(write):
    """A pipeline of three steps: two copies, of which the second needs the first, and a job that needs the second."""
    write("words/a.txt", "ant")
    write("words/b.txt", "bee")
    for name in ("first", "second"):
        write(f"{name}/copy.py", COPY)
    write("score/upper.py", UPPER)

    def made(**settings):
        one, two = OutputFileDatasetConfig(name="one"), PipelineData("two")
        words = Dataset.File.from_files("words")
        first = PythonScriptStep("copy.py", "first", [words.as_mount(), one], source_directory="first")
        second = PythonScriptStep(
            "copy.py", "second", [one.as_input(), two, PipelineParameter("word", "now")], outputs=[two],
            source_directory="second",
        )  # fmt: skip
        config = ParallelRunConfig(
            entry_script="upper.py", source_directory="score", error_threshold=-1, output_action="append_row",
            node_count=1, process_count_per_node=1, **settings,
        )  # fmt: skip
        out = PipelineData("out")
        score = ParallelRunStep("score", config, inputs=[two.as_dataset()], output=out)
        return Pipeline(None, [score, second, first])

    return made


def finished(pipeline, **options):
    run = pipeline.submit("letters", **options)
    assert run.wait_for_completion(show_output=False) == "Finished"
    return run


def test_a_notebook_runs_with_other_import_lines(here, write, python):
    pytest.importorskip("batch_score.azureml.core", reason="the names of azureml.core are not here yet")
    readings(here / "readings.csv")
    write("scripts/add_sum.py", ADD_SUM)
    write("report/report.py", REPORT)
    write("notebook.py", NOTEBOOK)
    said = python("notebook.py").stdout
    assert said.endswith("Finished\n")
    assert "note: step add-sums: node_count is 2, but this machine is the one node" in said
    wanted = sorted(f"{i} {i * 2} {i * 6}" for i in range(200))
    found = [path for path in (here / "results").rglob("*") if path.is_file()]
    assert [path.name for path in found] == ["sums.txt"]
    assert sorted(found[0].read_text().splitlines()) == wanted
    published = here / "workspace" / "datastores" / "workspaceblobstore" / "scored" / "sums.txt"
    assert sorted(published.read_text().splitlines()) == wanted
    log = next((here / "runs" / "sums").glob("*/report.py/logs/70_driver_log.txt")).read_text()
    assert log == f"rows 200 total {sum(i * 6 for i in range(200))}\n"
    again = time.monotonic()
    said = python("notebook.py").stdout
    assert said.count("reused from") == 2
    assert time.monotonic() - again < 3  # the interpreter, pandas and the plan of the table included


def test_steps_run_in_the_order_of_what_they_need_whatever_their_order_in_the_list(steps):
    run = finished(steps())
    assert [step.name for step in run.get_steps()] == ["first", "second", "score"]
    assert set(states(run).values()) == {"Finished"}
    assert next(run.get_children()).name == "score"
    output = run.find_step_run("score")[0].get_output_data("out").path / "parallel_run_step.txt"
    assert sorted(output.read_text().splitlines()) == ["a.txt ANT", "b.txt BEE"]


def test_the_second_time_all_steps_are_used_again_in_under_a_second(steps):
    first = finished(steps())
    began = time.monotonic()
    second = finished(steps())
    assert time.monotonic() - began < 1
    assert set(states(second).values()) == {"reused"}
    for one, other in zip(first.get_steps(), second.get_steps(), strict=True):
        assert one.folder == other.folder


@pytest.mark.parametrize(
    ("changed", "runs"),
    [
        ("first/copy.py", {"first", "second", "score"}),
        ("second/copy.py", {"second", "score"}),
        ("second/beside.py", {"second", "score"}),
        ("score/upper.py", {"score"}),
        ("score/parallel_run_step.settings.json", {"score"}),
        ("words/b.txt", {"first", "second", "score"}),
        ("words/c.txt", {"first", "second", "score"}),
    ],
)
def test_a_change_runs_its_step_again_and_what_depends_on_it_only(steps, here, changed, runs):
    finished(steps())
    path = here / changed
    before = path.read_text() if path.exists() else ""
    path.write_text(before + (" {}\n" if path.suffix == ".json" else "\n"))
    again = states(finished(steps()))
    assert {name for name, state in again.items() if state == "Finished"} == runs


def test_touching_a_file_without_changing_it_runs_nothing(steps, here):
    finished(steps())
    for name in ("first/copy.py", "words/b.txt"):
        (here / name).touch()
    assert set(states(finished(steps())).values()) == {"reused"}


def test_a_parameter_runs_the_steps_that_have_it(steps):
    finished(steps())
    again = finished(steps(), pipeline_parameters={"word": "then"})
    assert states(again) == {"score": "Finished", "second": "Finished", "first": "reused"}
    assert (again.find_step_run("second")[0].folder / "logs/70_driver_log.txt").read_text() == "copied then\n"
    with pytest.raises(ConfigError, match="unknown parameter 'wrod'; did you mean 'word'"):
        steps().submit("letters", pipeline_parameters={"wrod": 1})


def test_settings_that_no_row_depends_on_run_nothing_again(steps):
    finished(steps())
    assert set(states(finished(steps(logging_level="DEBUG"))).values()) == {"reused"}
    assert states(finished(steps(mini_batch_size="1")))["score"] == "Finished"


def test_outputs_that_were_changed_are_made_again(steps):
    first = finished(steps())
    (first.find_step_run("second")[0].folder / "outputs/two/a.txt").write_text("gnu")
    again = finished(steps())
    assert states(again) == {"score": "Finished", "second": "Finished", "first": "reused"}


def test_no_reuse_when_it_is_not_wanted(steps):
    finished(steps())
    assert "reused" not in states(finished(steps(), regenerate_outputs=True)).values()


def test_a_step_that_fails_tells_its_log_and_what_needs_it_is_canceled(steps, here, write, capsys):
    write("second/copy.py", "print('before')\nraise ValueError('no such word')\n")
    run = steps().submit("letters")
    with pytest.raises(JobFailedError, match=r"step 'second' failed: its process ended with exit code 1") as caught:
        run.wait_for_completion(show_output=True)
    log = here / "runs" / "letters" / run.folder.name / "second" / "logs" / "70_driver_log.txt"
    assert str(log) in str(caught.value)
    assert "ValueError: no such word" in str(caught.value)
    assert "ValueError: no such word" in log.read_text()
    assert states(run) == {"score": "Canceled", "second": "Failed", "first": "Finished"}
    shown = capsys.readouterr().out
    assert f"step second: failed: its process ended with exit code 1; log {log}" in shown
    assert run.get_status() == "Failed"
    record = json.loads((run.folder / "pipeline_run.json").read_text())
    assert record["status"] == "failed"


@pytest.mark.usefixtures("here")
def test_a_job_that_fails_tells_its_log(steps, write):
    write("score/upper.py", "def run(mini_batch):\n    raise ValueError('not today')\n")
    run = steps(run_max_try=1).submit("letters")
    with pytest.raises(JobFailedError, match=r"step 'score' failed: .*not today"):
        run.wait_for_completion(show_output=False)
    details = run.find_step_run("score")[0].get_details_with_logs()
    assert "not today" in "".join(details["logFiles"].values())


@pytest.mark.usefixtures("here")
def test_independent_steps_run_beside_each_other_and_go_on_when_another_failed(write):
    """Each of two steps waits for a file that the other one writes; a third one fails."""
    write(
        "wait.py",
        """
        import pathlib, sys, time

        mine, other = sys.argv[1:3]
        pathlib.Path(mine).write_text("here")
        until = time.monotonic() + 30
        while not pathlib.Path(other).exists():
            assert time.monotonic() < until
            time.sleep(0.01)
    """,
    )
    write("fail.py", "raise SystemExit(3)\n")
    one = PythonScriptStep("wait.py", "one", ["one.flag", "two.flag"])
    two = PythonScriptStep("wait.py", "two", ["two.flag", "one.flag"])
    bad = PythonScriptStep("fail.py", "bad")
    after = PythonScriptStep("wait.py", "after", ["three.flag", "one.flag"])
    after.run_after(one)
    needy = PythonScriptStep("wait.py", "needy", ["four.flag", "one.flag"])
    needy.run_after(bad)
    run = Pipeline(None, [[one, two], bad, after, needy]).submit("beside", continue_on_step_failure=True)
    assert run.wait_for_completion(show_output=False, raise_on_error=False) == "Failed"
    assert states(run) == {
        "one": "Finished", "two": "Finished", "bad": "Failed", "after": "Finished", "needy": "Canceled",
    }  # fmt: skip


def test_a_sequence_runs_one_step_after_the_other(here, write):
    write("note.py", "import sys\nopen('order.txt', 'a').write(sys.argv[1])\n")
    steps = [PythonScriptStep("note.py", f"step {word}", [word]) for word in "abc"]
    Pipeline(None, StepSequence(steps)).submit("order").wait_for_completion(show_output=False)
    assert (here / "order.txt").read_text() == "abc"


@pytest.mark.usefixtures("here")
def test_side_inputs_and_several_files_arrive_as_one_path(write):
    write("words/a.txt", "ant")
    write("labels/x/one.txt", "red")
    write("labels/y/two.txt", "green")
    write(
        "score.py",
        """
        import argparse, pathlib

        def init():
            global labels
            parser = argparse.ArgumentParser()
            parser.add_argument("--labels")
            folder = pathlib.Path(parser.parse_known_args()[0].labels)
            labels = " ".join(path.read_text() for path in sorted(folder.rglob("*.txt"))).split()

        def run(mini_batch):
            return [f"{len(mini_batch)} {labels}"]
    """,
    )
    labels = Dataset.File.from_files(["labels/x/one.txt", "labels/y/two.txt"])
    side = labels.as_named_input("labels").as_mount("/tmp/anywhere")  # noqa: S108 - as samples have it
    config = ParallelRunConfig(entry_script="score.py", error_threshold=-1, output_action="append_row", node_count=1)
    out = PipelineData("out")
    step = ParallelRunStep(
        "with-labels", config, [Dataset.File.from_files("words")], out, side_inputs=[side], arguments=["--labels", side]
    )
    run = finished(Pipeline(None, [step]))
    text = (run.get_steps()[0].get_output_data("out").path / "parallel_run_step.txt").read_text()
    assert text == "1 ['red', 'green']\n"


def test_rows_that_a_step_wrote_are_the_next_one_s_table(here, write):
    readings(here / "readings.csv", 10)
    write("copy.py", COPY)
    write("add_sum.py", ADD_SUM)
    clean = OutputFileDatasetConfig(name="clean")
    copy = PythonScriptStep("copy.py", "copy", [Dataset.File.from_files("readings.csv").as_mount(), clean])
    config = ParallelRunConfig(entry_script="add_sum.py", error_threshold=-1, output_action="append_row", node_count=1)
    rows = clean.read_delimited_files().as_input(name="rows")
    out = PipelineData("out")
    score = ParallelRunStep("add-sums", config, inputs=[rows], output=out, arguments=["--scale", 1])
    run = finished(Pipeline(None, [copy, score]))
    text = (run.find_step_run("add-sums")[0].get_output_data("out").path / "parallel_run_step.txt").read_text()
    assert sorted(text.splitlines()) == sorted(f"{i} {2 * i} {3 * i}" for i in range(10))


def test_a_script_step_finds_a_table_among_its_inputs(here, write):
    readings(here / "readings.csv", 3)
    write(
        "sum.py",
        """
        from batch_score.azureml.data import input_datasets

        print(input_datasets()["rows"].to_pandas_dataframe()["b"].sum())
    """,
    )
    table = Dataset.Tabular.from_delimited_files("readings.csv").drop_columns("a")
    with pytest.raises(ConfigError, match="there is no column 'c'; the columns are b"):
        table.keep_columns("c")
    table = Dataset.Tabular.from_delimited_files("readings.csv", include_path=True)
    assert table.drop_columns("Path").schema.names == ["a", "b"]
    assert table.keep_columns(["Path", "b"]).schema.names == ["b", "Path"]
    rows = Dataset.Tabular.from_delimited_files("readings.csv").as_named_input("rows")
    run = finished(Pipeline(None, [PythonScriptStep("sum.py", inputs=[rows])]))
    assert (run.get_steps()[0].folder / "logs/70_driver_log.txt").read_text() == "6\n"


def test_a_dataset_can_be_a_parameter_and_an_output_a_registered_dataset(here, write):
    write("few/a.txt", "ant")
    write("many/b.txt", "bee")
    write("copy.py", COPY)
    words = DatasetConsumptionConfig("words", PipelineParameter("source", Dataset.File.from_files("few"))).as_mount()
    kept = OutputFileDatasetConfig("kept").register_on_complete(name="kept words")
    pipeline = Pipeline(None, [PythonScriptStep("copy.py", "copy", [words, kept])])
    finished(pipeline)
    assert [path.name for path in map(Path, Dataset.get_by_name(None, "kept words").to_path())] == ["a.txt"]
    finished(pipeline)
    run = finished(pipeline, pipeline_parameters={"source": Dataset.File.from_files("many")})
    assert states(run) == {"copy": "Finished"}
    assert [path.name for path in map(Path, Dataset.get_by_name(None, "kept words").to_path())] == ["b.txt"]
    assert len(list((here / "workspace/datasets/kept words").iterdir())) == 2  # the reused output is no new version


def test_types_of_columns_can_be_declared(here, write):
    write("rows.csv", "a;b\n1;2024-01-02\n")
    table = Dataset.Tabular.from_delimited_files(
        path="rows.csv",
        separator=";",
        set_column_types={"a": DataType.to_string(), "b": DataType.to_datetime("%Y-%m-%d")},
    )
    frame = table.to_pandas_dataframe()
    assert frame.a.tolist() == ["1"]
    assert frame.b.dt.year.tolist() == [2024]
    assert Dataset.Tabular.from_delimited_files("rows.csv", header=False, separator=";").schema.names != ["a", "b"]
    write("numbers.csv", "a\n1\nx\n3\n")
    table = Dataset.Tabular.from_delimited_files("numbers.csv", set_column_types={"a": DataType.to_long()})
    with pytest.raises(RecordError, match=r"numbers.csv: row 1 cannot be read: column 'a': .*'x'; correct it"):
        table.to_pandas_dataframe()
    assert here


def test_registered_datasets_are_found_by_name_and_version(here, write):
    write("words/a.txt", "ant")
    first = Dataset.File.from_files("words")
    first.register(None, "words")
    assert Dataset.get_by_name(None, "words").to_path() == [str(here / "words/a.txt")]
    first.register(None, "words")  # the same once more is the same version
    write("others/b.txt", "bee")
    with pytest.raises(ConfigError, match="create_new_version=True"):
        Dataset.File.from_files("others").register(None, "words")
    Dataset.File.from_files("others").register(None, "words", create_new_version=True)
    assert Dataset.get_by_name(None, "words").to_path() == [str(here / "others/b.txt")]
    assert Dataset.get_by_name(None, "words", version=1).to_path() == [str(here / "words/a.txt")]
    with pytest.raises(InputError, match="versions of 'words' are 1, 2"):
        Dataset.get_by_name(None, "words", version=3)


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: DataType.to_datetime(formats="%Y-%d-%m"), "dates of the format '%Y-%d-%m' are not read"),
        (lambda: DataType.to_datetime(["%F %T", "%d/%m/%Y"]), "dates of the format '%d/%m/%Y' are not read"),
        (lambda: DataType.to_bool(["yes"], ["no"]), "true_values has 'yes'"),
        (lambda: DataType.to_bool(true_values=["1"], false_values=["1"]), "false_values has '1'"),
        (lambda: DataType.to_bool(mismatch_as="true"), "mismatch_as is true"),
        (lambda: DataType.to_float(","), "the decimal mark ',' are not read"),
    ],
)
def test_types_that_are_read_otherwise_than_declared_are_refused(declare, message):
    with pytest.raises(ConfigError, match=message):
        declare()


def test_types_that_are_read_as_declared():
    formats = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S.%f", "%F %R"]
    assert DataType.to_datetime(formats) == DataType.to_datetime() == "datetime"
    assert DataType.to_bool(["1", "True"], ["0", "False"], "error") == DataType.to_bool() == "bool"
    assert DataType.to_float() == "float64"


def test_a_table_is_partitioned_into_a_datastore_as_notebooks_do(write):
    write("sales.csv", "store,brand,amount\ns1,b1,1\ns1,b2,2\ns2,b1,3\n")
    sales = Dataset.Tabular.from_delimited_files("sales.csv")
    store = Workspace.from_config().get_default_datastore()
    for _ in range(2):  # a cell that is run again
        found = sales.partition_by(partition_keys=["store", "brand"], target=(store, "by store"), name="by store")
    assert found.partition_keys == ("store", "brand")
    assert sorted(found.to_pandas_dataframe().itertuples(index=False)) == [
        (1, "s1", "b1"), (2, "s1", "b2"), (3, "s2", "b1"),
    ]  # fmt: skip
    assert Dataset.get_by_name(None, "by store").to_pandas_dataframe().equals(found.to_pandas_dataframe())
    folders = list((store.folder / "by store").iterdir())
    assert len(folders) == 2
    files = sales.partition_by(["store"], (store, "by store"), partition_as_file_dataset=True)
    assert (len(files.to_path()), files.partition_keys) == (2, ("store",))


def test_what_datasets_of_the_sdk_can_do_and_these_cannot_says_what_to_do(write):
    write("rows.csv", "a\n1\n")
    table, files = Dataset.Tabular.from_delimited_files("rows.csv"), Dataset.File.from_files("rows.csv")
    for name in ("take", "skip", "filter", "random_split"):
        with pytest.raises(AttributeError, match=rf"TabularDataset has no {name} in this version: choose the rows of"):
            getattr(table, name)
        with pytest.raises(AttributeError, match=rf"FileDataset has no {name} in this version: choose among the paths"):
            getattr(files, name)
    with pytest.raises(AttributeError, match="'TabularDataset' object has no attribute 'takes'"):
        table.takes  # noqa: B018 - the access is what is tested
    assert pickle.loads(pickle.dumps(table)) == copy(table) == table


@pytest.mark.usefixtures("here")
def test_settings_round_trip_and_name_what_is_unknown():
    config = ParallelRunConfig(
        environment=None, entry_script="score.py", error_threshold=5, output_action="summary_only", node_count=1,
        mini_batch_size=PipelineParameter("size", "5"), environment_variables={"A": "1"},
    )  # fmt: skip
    config.save_to_yaml("config.yml")
    loaded = ParallelRunConfig.load_yaml(None, "config.yml")
    assert loaded == config
    assert loaded.mini_batch_size == "5"
    with pytest.raises(ConfigError, match="did you mean 'error_threshold'"):
        ParallelRunConfig(entry_script="score.py", eror_threshold=1)
    with pytest.raises(ConfigError, match="error_threshold cannot be a PipelineParameter"):
        ParallelRunConfig(entry_script="score.py", error_threshold=PipelineParameter("t", 1))


def test_what_does_not_fit_together_is_said_before_anything_runs(here, write):
    write("copy.py", COPY)
    out = PipelineData("out")
    with pytest.raises(ConfigError, match="reads 'out', which no step writes"):
        Pipeline(None, [PythonScriptStep("copy.py", arguments=["x", out], inputs=[out])])
    PythonScriptStep("copy.py", "one", ["x", out], outputs=[out])
    with pytest.raises(ConfigError, match="written by step 'one' and by 'two'"):
        PythonScriptStep("copy.py", "two", ["x", out], outputs=[out])
    with pytest.raises(ConfigError, match="unknown parameter 'outputs'; did you mean 'output'"):
        ParallelRunStep("abc", ParallelRunConfig(entry_script="a.py"), [], outputs=[])
    with pytest.raises(ConfigError, match="name must be 3 to 32"):
        ParallelRunStep("X", ParallelRunConfig(entry_script="a.py"), [Dataset.File.from_files("copy.py")])
    with pytest.raises(ConfigError, match="not a int"):
        ParallelRunStep("abc", ParallelRunConfig(entry_script="a.py"), [3])
    one, two = PythonScriptStep("copy.py", "one"), PythonScriptStep("copy.py", "two")
    one.run_after(two)
    two.run_after(one)
    with pytest.raises(ConfigError, match=r"the steps wait for each other: (one needs two needs one|two needs one)"):
        Pipeline(None, [one, two]).submit("circle")
    assert not (here / "runs").exists()


def test_a_cell_that_is_run_again_makes_its_step_again(here, write):
    write("note.py", "import sys\nopen(sys.argv[1] + '/x', 'w').write(sys.argv[2])\n")
    out = PipelineData("out")
    for word in ("first", "second"):
        step = PythonScriptStep("note.py", "note", [out, word], outputs=[out])
    run = finished(Pipeline(None, [step]))
    assert (run.get_steps()[0].get_output_data("out").path / "x").read_text() == "second"
    assert here == run.folder.parents[2]


def test_other_spellings_of_the_sdk():
    from batch_score.azureml import RunDetails as here  # noqa: PLC0415, N813 - what is tested
    from batch_score.azureml.data.dataset_consumption_config import (  # noqa: PLC0415 - as above
        DatasetConsumptionConfig as Input,
    )
    from batch_score.azureml.data.output_dataset_config import OutputFileDatasetConfig as Same  # noqa: PLC0415 - as above
    from batch_score.azureml.pipeline.core.graph import PipelineParameter as There  # noqa: PLC0415 - as above
    from batch_score.azureml.widgets import RunDetails  # noqa: PLC0415 - as above

    assert (here, Same, There) == (RunDetails, OutputFileDatasetConfig, PipelineParameter)
    assert Input is DatasetConsumptionConfig


def test_names_of_the_sdk_that_are_not_here_say_what_to_do():
    import batch_score.azureml  # noqa: PLC0415 - what is tested

    with pytest.raises(AttributeError, match="has no Schedule: call submit"):
        batch_score.azureml.Schedule  # noqa: B018 - the access is what is tested
    with pytest.raises(ConfigError, match="cron"):
        Pipeline(None, [PythonScriptStep("a.py")]).publish(name="x")
