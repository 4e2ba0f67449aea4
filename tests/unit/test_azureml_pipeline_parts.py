"""The parts of a pipeline that decide: order, keys, places, records, overrides."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.azureml.jobs.document import merged, read_document
from batch_score.azureml.pipeline.key import changes, key_of, listing_digest, parts_of
from batch_score.azureml.pipeline.place import model_folder, one_path, quoted
from batch_score.azureml.pipeline.record import EarlierRuns, PipelineRecord, StepRecord, new_folder
from batch_score.azureml.pipeline.task import (
    CommandWork,
    Data,
    Hole,
    Made,
    OutputPort,
    ParallelWork,
    ScriptWork,
    Task,
    Value,
    folder_name,
    in_order,
)
from batch_score.config import ParallelRunConfig
from batch_score.errors import ConfigError, InputError

NAMES = st.text(st.sampled_from("abcdef"), min_size=1, max_size=2)


@given(st.dictionaries(NAMES, st.sets(NAMES), max_size=8))
def test_every_step_comes_after_what_it_needs(needs):
    needs = {name: {other for other in others if other in needs and other < name} for name, others in needs.items()}
    tasks = [Task(name, CommandWork(()), after=frozenset(others)) for name, others in needs.items()]
    order, seen = in_order(tasks), []
    while order.is_active():
        ready = order.get_ready()
        assert all(needs[name] <= set(seen) for name in ready)
        seen += ready
        order.done(*ready)
    assert sorted(seen) == sorted(needs)


@given(st.dictionaries(NAMES, st.sets(NAMES, max_size=3), min_size=1, max_size=5))
def test_steps_are_refused_if_and_only_if_they_wait_for_each_other(needs):
    """Against a twin that follows every need until nothing new is found."""
    needs = {name: {other for other in others if other in needs} for name, others in needs.items()}
    reached = {name: set(others) for name, others in needs.items()}
    for _ in needs:
        reached = {name: others.union(*(reached[other] for other in others)) for name, others in reached.items()}
    tasks = [Task(name, CommandWork(()), after=frozenset(others)) for name, others in needs.items()]
    if any(name in others for name, others in reached.items()):
        with pytest.raises(ConfigError, match="the steps wait for each other"):
            in_order(tasks)
    else:
        in_order(tasks)


def test_names_that_would_share_a_folder_are_refused():
    assert folder_name("Prepare the data!") == "Prepare-the-data"
    assert folder_name("../..") == "step"
    with pytest.raises(ConfigError, match="'a b' and 'a-b' share a name"):
        in_order([Task("a b", CommandWork(())), Task("a-b", CommandWork(()))])


@pytest.fixture
def task(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("code/run.py", "code/pack/more.py", "code/data/rows.csv", "in.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Task(
        name="one",
        work=ScriptWork("run.py", "code", (("--in",), (Hole("inputs", "data"),), ("3",))),
        inputs={
            "data": Data(("in.txt",)),
            "rows": Data(("code/data",)),
            "before": Made("zero", "out"),
            "n": Value("1"),
        },
        outputs={"out": OutputPort()},
    )


def changed(task, made=None, before=None):
    """What is told to be different after a change."""
    return changes(before, parts_of(task, made or {"zero": "id"}))


def test_parts_are_the_same_while_nothing_changes(task):
    parts = parts_of(task, {"zero": "id"})
    os.utime("code/run.py", (1, 1))
    os.utime("in.txt", (1, 1))
    again = parts_of(task, {"zero": "id"})
    assert changes(parts, again) == []
    assert key_of(parts) == key_of(again)


def test_each_part_tells_its_own_changes(task, tmp_path):
    before = parts_of(task, {"zero": "id"})
    assert changed(task, {"zero": "other"}, before) == ["input before"]
    assert changed(replace(task, environment={"A": "1"}), None, before) == ["settings"]
    assert changed(replace(task, work=replace(task.work, arguments=())), None, before) == ["settings"]
    (tmp_path / "code/data/rows.csv").write_text("other")
    assert changed(task, None, before) == ["input rows"]  # data in the code root is data
    (tmp_path / "in.txt").write_text("IN.TXT")
    assert changed(task, None, before) == ["input data", "input rows"]
    (tmp_path / "code/pack/more.py").write_text("x = 1")
    assert changed(task, None, before) == ["source", "input data", "input rows"]
    with pytest.raises(InputError):
        parts_of(replace(task, inputs={"data": Data(("gone.txt",))}), {})


def test_a_model_that_is_a_folder_is_not_the_file_in_it(task, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w.txt").write_text("weights")
    before = parts_of(replace(task, model="model"), {"zero": "id"})
    assert changed(replace(task, model="model"), None, before) == []
    assert changed(replace(task, model="model/w.txt"), None, before) == ["source"]


def test_runs_below_the_code_root_are_no_source(task):
    before = parts_of(task, {"zero": "id"})
    for name in ("runs/p/1/pipeline_run.json", "runs/p/1/s/outputs/x.csv", "__pycache__/a.pyc", ".hidden"):
        path = Path("code", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    assert changed(task, None, before) == []


def test_settings_without_effect_on_rows_do_not_count():
    def parts(**settings):
        return parts_of(Task("a", ParallelWork(ParallelRunConfig(entry_script="a.py", **settings), ())), {})

    assert parts() == parts(process_count_per_node=3, logging_level="DEBUG")
    assert changes(parts(), parts(run_max_try=9)) == ["settings"]


def test_large_data_counts_by_size_and_time(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate((64 << 20) + 1)
    before = listing_digest([str(path)])
    assert listing_digest([str(path)]) == before
    os.utime(path, (1, 1))
    assert listing_digest([str(path)]) != before


def test_one_path_for_one_or_several(tmp_path):
    for name in ("a/x.txt", "b/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    one = one_path(Data((str(tmp_path / "a"),)), tmp_path / "links")
    assert one == str(tmp_path / "a")
    several = one_path(Data((str(tmp_path / "*" / "x.txt"),)), tmp_path / "links")
    assert {path.relative_to(several).as_posix(): path.read_text() for path in (tmp_path / "links").rglob("*.txt")} == {
        "a/x.txt": "a/x.txt",
        "b/x.txt": "b/x.txt",
    }


def test_paths_in_commands_are_quoted_unless_the_command_does():
    hole = Hole("inputs", "x")
    assert quoted(("cat ", hole), {hole: "/a b"}) == "cat '/a b'"
    assert quoted(('cat "', hole, '"'), {hole: "/a b"}) == 'cat "/a b"'
    assert quoted(("cat ", hole), {hole: "/ab"}) == "cat /ab"


def test_a_folder_that_holds_the_model(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "other").write_text("beside")
    found = model_folder(str(tmp_path / "model"), tmp_path / "runs")
    assert [path.name for path in Path(found).iterdir()] == ["model"]
    assert model_folder(str(tmp_path / "model"), tmp_path / "runs") == found
    with pytest.raises(InputError, match="no such file or folder"):
        model_folder(str(tmp_path / "gone"), tmp_path / "runs")


def recorded(folder, name, **about):
    run = new_folder(folder)
    record = PipelineRecord(run, "p", {}, [StepRecord(name, "script", folder=name)], "id")
    (run / name).mkdir()
    record.change(name, **{"key": "k", "state": "completed", **about})
    return run


def test_earlier_runs_are_found_newest_first_and_damaged_records_are_none(tmp_path):
    runs = [recorded(tmp_path, "step") for _ in range(3)]
    (runs[1] / "pipeline_run.json").write_text("{")
    content = json.loads((runs[0] / "pipeline_run.json").read_text())
    other = recorded(tmp_path, "step", key="another")
    now = new_folder(tmp_path)
    found = list(EarlierRuns(tmp_path, now).of("step"))
    assert [one.folder for one in found] == [other / "step", runs[2] / "step", runs[0] / "step"]
    assert list(EarlierRuns(tmp_path, now).of("other")) == []
    (runs[0] / "pipeline_run.json").write_text(json.dumps({**content, "format": 2}))
    assert len(list(EarlierRuns(tmp_path, now).of("step"))) == 2
    assert all(one.intact() for one in found)


def test_overrides_name_keys_and_values(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.yml"
    path.write_text("inputs: {n: 1, d: {type: uri_file, path: a}, s: {type: string, optional: true}}\njobs: {j: {}}\n")
    _, content = read_document(path, ["inputs.n=[1, 2]", "inputs.d=b.csv", "inputs.s=x y", "jobs.j.task.code=c"])
    assert content["inputs"]["n"] == [1, 2]
    assert content["inputs"]["d"] == {"type": "uri_file", "path": "b.csv"}
    assert content["inputs"]["s"] == {"type": "string", "optional": True, "default": "x y"}
    assert content["jobs"]["j"] == {"task": {"code": "c"}}
    (tmp_path / "nested").mkdir()
    (tmp_path / "b.csv").write_text("")
    (tmp_path / "nested" / "p.yml").write_text("inputs: {d: {type: uri_file, path: a}}\n")
    _, content = read_document(tmp_path / "nested" / "p.yml", ["inputs.d=file:b.csv"])
    assert content["inputs"]["d"]["path"] == "../b.csv"
    for text, message in (("n", "give a key and a value"), ("inputs.m=1", "unknown input 'm'"), ("job.x=1", "'jobs'")):
        with pytest.raises(ConfigError, match=message):
            read_document(path, [text])


def test_mappings_are_merged_and_all_else_replaced():
    assert merged({"a": {"b": 1, "c": [1]}, "d": 1}, {"a": {"c": [2], "e": 3}, "f": 4}) == {
        "a": {"b": 1, "c": [2], "e": 3},
        "d": 1,
        "f": 4,
    }
