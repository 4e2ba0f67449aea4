"""`Run`: what it writes and reads, inside a run and outside, from one process and from several."""

import json
import math
import os
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.azureml.core.run import OFFLINE, UPLOADS, Run
from batch_score.azureml.metrics import EVENTS, METRICS, append, plain, records
from batch_score.errors import ConfigError, ModelError
from batch_score.job.layout import RESERVED
from batch_score.registry import Registry


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The run that this process belongs to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCH_SCORE_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("BATCH_SCORE_RUN_DIR", str(tmp_path / "job"))
    monkeypatch.setenv("AZUREML_RUN_ID", "job-7")
    return Run.get_context()


def test_values_are_lines_with_who_wrote_them(run):
    run.log("accuracy", 0.5)
    run.log("accuracy", np.float32(0.75), description="better", step=3)
    first, second = records(run.folder / "metrics.jsonl")
    assert {name: first[name] for name in ("run", "pid", "kind", "name", "value")} == {
        "run": "job-7",
        "pid": os.getpid(),
        "kind": "scalar",
        "name": "accuracy",
        "value": 0.5,
    }
    assert (second["value"], second["description"], second["step"]) == (0.75, "better", 3)
    assert run.get_metrics() == {"accuracy": [0.5, 0.75]}


def test_every_kind_of_value_can_be_read_back(run, tmp_path):
    run.log("text", "good")
    run.log_list("list", np.arange(3))
    run.log_row("rows", x=1, y="a")
    run.log_row("rows", x=2, y="b")
    run.log_table("table", {"x": [1, 2], "y": np.array([3.5, math.nan])})
    run.log_confusion_matrix("matrix", {"data": {"matrix": [[1, 0], [0, 1]]}})
    run.log_accuracy_table("accuracies", [1])
    run.log_predictions("predictions", [2])
    run.log_residuals("residuals", [3])
    (tmp_path / "plot.svg").write_text("<svg/>")
    run.log_image("plot", path="plot.svg")
    assert run.get_metrics() == {
        "text": "good",
        "list": [0, 1, 2],
        "table": {"x": [1, 2], "y": [3.5, "nan"]},
        "matrix": {"data": {"matrix": [[1, 0], [0, 1]]}},
        "accuracies": [1],
        "predictions": [2],
        "residuals": [3],
        "plot": "uploads/plot.svg",
        "rows": {"x": [1, 2], "y": ["a", "b"]},
    }
    assert (run.folder / "uploads" / "plot.svg").read_text() == "<svg/>"
    assert run.get_metrics("text") == {"text": "good"}


class Plot:
    """As matplotlib's: the one method that is called."""

    def savefig(self, path, **options):
        path.write_bytes(options["format"].encode())


def test_a_plot_becomes_an_image(run):
    run.log_image("curve", plot=Plot())
    assert (run.folder / "uploads" / "curve.png").read_bytes() == b"png"
    with pytest.raises(ConfigError, match="needs a path or a plot"):
        run.log_image("neither")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.builds(np.float64, st.floats()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3) | st.tuples(inner),
    max_leaves=10,
)


@given(values)
def test_any_value_is_a_line_of_json(value):
    text = json.dumps(plain(value), allow_nan=False)
    assert "\n" not in text
    assert json.loads(text) == plain(value)


@given(st.lists(st.tuples(st.text(min_size=1), values), max_size=5))
def test_what_is_appended_is_what_is_read(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("metrics") / "deeper" / "metrics.jsonl"
    for name, value in pairs:
        append(path, {"name": name, "value": plain(value)})
    assert [(record["name"], record["value"]) for record in records(path)] == [
        (name, plain(value)) for name, value in pairs
    ]


def test_a_line_that_was_cut_off_costs_nobody_else_a_line(run):
    run.log("before", 1)
    path = run.folder / "metrics.jsonl"
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut])
        run.log("after", 2)
        found = [record["name"] for record in records(path)]
        assert found[0] == "before"
        assert found[-1] == "after"
        assert len(found) == 2 + (cut == len(whole) - 1)  # of which only the line's end was missing


WRITE = """
import sys
from batch_score.azureml.core import Run

run = Run.get_context()
for k in range(int(sys.argv[2])):
    run.log(f"value {sys.argv[1]}", k)
    run.log_row("row", own=sys.argv[1], text="x" * (k % 50) * 300)
run.tag(f"done {sys.argv[1]}")
"""


def test_several_processes_write_into_the_same_files(run):
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, str(own), "200"]) for own in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 4 * 400
    assert all(json.loads(line)["run"] == "job-7" for line in lines)
    metrics = run.get_metrics()
    assert [metrics[f"value {own}"] for own in range(4)] == [list(range(200))] * 4
    assert len(metrics["row"]["own"]) == 800
    assert set(run.get_tags()) == {f"done {own}" for own in range(4)}


def test_tags_properties_and_states(run):
    assert (run.get_status(), run.get_tags()) == ("Running", {})
    run.tag("a", 1)
    run.set_tags({"b": "x", "c": None})
    run.remove_tags("a")
    run.add_properties({"p": 2})
    assert run.tags == {"b": "x", "c": ""}
    assert run.properties == {"p": "2"}
    run.complete()
    assert run.status == "Completed"
    run.fail("because", error_code=3)
    assert run.get_details() == {"runId": "job-7", "status": "Failed", "tags": run.tags, "properties": {"p": "2"}}


def test_a_child_has_values_tags_and_a_state_of_its_own(run):
    run.log("value", 1)
    with run.child_run("first") as child:
        child.log("value", 2)
        child.tag("k", "v")
        grandchild = child.child_run()
        grandchild.log("value", 3)
    with pytest.raises(ValueError, match="no"), run.child_run("second"):
        raise ValueError("no")
    assert child.parent is run
    assert child.id != run.id
    assert child.get_metrics() == {"value": 2}
    assert (run.get_status(), run.get_tags()) == ("Running", {})
    first, second = run.get_children()
    assert [(one.name, one.status, one.tags) for one in (first, second)] == [
        ("first", "Completed", {"k": "v"}),
        ("second", "Failed", {}),
    ]
    assert [one.name for one in run.get_children(tags={"k": "v"})] == ["first"]
    assert [one.id for one in run.get_children(recursive=True)] == [child.id, grandchild.id, second.id]
    assert run.get_metrics(recursive=True) == {"value": [1, 2, 3]}
    assert [one.tags for one in run.create_children(tag_key="part", tag_values=["x", "y"])] == [
        {"part": "x"},
        {"part": "y"},
    ]
    assert len(run.create_children(2)) == 2


def test_files_are_kept_under_their_names(run, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "deep" / "b.txt").write_text("b")
    run.upload_file("outputs/a.txt", "in/a.txt")
    run.upload_file("stream.bin", BytesIO(b"bytes"))
    run.upload_folder("whole", "in")
    run.upload_files(["one", "two"], ["in/a.txt", "in/deep/b.txt"])
    assert run.get_file_names() == ["outputs/a.txt", "stream.bin", "whole/a.txt", "whole/deep/b.txt", "one", "two"]
    (tmp_path / "in" / "a.txt").write_text("later")
    run.upload_file("outputs/a.txt", "in/a.txt")
    run.download_file("outputs/a.txt", "here.txt")
    run.download_file("stream.bin", str(tmp_path / "in"))
    run.download_files("whole/", tmp_path / "all")
    assert (tmp_path / "here.txt").read_text() == "later"
    assert (tmp_path / "in" / "stream.bin").read_bytes() == b"bytes"
    assert (tmp_path / "all" / "whole" / "deep" / "b.txt").read_text() == "b"
    with pytest.raises(ConfigError, match="is not a folder"):
        run.upload_folder("x", "in/a.txt")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../../b", "", "."])
def test_no_file_is_written_outside_of_the_run(name, run, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(ConfigError, match="is no name of a file within the run"):
        run.upload_file(name, "a.txt")
    assert not run.folder.exists()


def test_a_model_is_registered_from_what_was_uploaded_or_lies_here(run, tmp_path):
    (tmp_path / "m.pkl").write_text("here")
    assert run.register_model("m", "m.pkl", tags={"a": 1}, model_framework="Onnx").version == 1
    run.upload_file("outputs/m.pkl", BytesIO(b"uploaded"))
    model = run.register_model(model_name="m", model_path="outputs/m.pkl", description="words")
    assert model.registered.path.read_text() == "uploaded"
    assert (model.version, model.run_id) == (2, "job-7")
    assert [one.description for one in Registry().models("m")] == ["", "words"]
    with pytest.raises(ModelError, match="there is no nothing; looked for"):
        run.register_model("nothing")


def test_the_surroundings_of_a_run(run, tmp_path, monkeypatch):
    monkeypatch.setenv("AZUREML_EXPERIMENT_NAME", "loans")
    monkeypatch.setenv("BATCH_SCORE_WORKSPACE", str(tmp_path / "ws"))
    (tmp_path / "inputs.json").write_text('{"rows": "/data/rows"}', encoding="utf-8")
    monkeypatch.setenv("BATCH_SCORE_DATASETS", str(tmp_path / "inputs.json"))
    assert run.experiment.name == "loans"
    assert run.experiment.workspace.folder == tmp_path / "ws"
    assert run.input_datasets["rows"] == "/data/rows"
    assert run.parent.id == "job-7_pipeline"
    assert run.parent.parent is None
    run.parent.log("value", 1)
    assert (run.get_metrics(), run.parent.get_metrics()) == ({}, {"value": 1})


@pytest.mark.usefixtures("run")
def test_the_parent_in_a_pipeline_writes_where_the_pipeline_does(tmp_path, monkeypatch):
    monkeypatch.setenv("BATCH_SCORE_PARENT_RUN_DIR", str(tmp_path / "pipeline"))
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "pipeline-1")
    parent = Run.get_context().parent
    parent.log("value", 1)
    assert parent.id == "pipeline-1"
    assert next(records(tmp_path / "pipeline" / "metrics.jsonl"))["run"] == "pipeline-1"


def test_outside_of_any_run_there_is_one_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BATCH_SCORE_RUN_DIR", raising=False)
    run = Run.get_context()
    assert run.id.startswith(OFFLINE)
    assert not list(tmp_path.iterdir())
    run.log("value", 1)
    assert Run.get_context().get_metrics() == {"value": 1}
    assert run.folder == tmp_path / "runs" / run.id
    run.parent.log("value", 2)
    assert run.get_metrics() == {"value": 1}
    assert run.experiment.name == "batch-score"
    with pytest.raises(ConfigError, match="belongs to no run"):
        Run.get_context(allow_offline=False)


def test_an_output_file_may_have_none_of_the_names_of_what_a_run_keeps():
    assert {METRICS, EVENTS, UPLOADS} <= set(RESERVED)
