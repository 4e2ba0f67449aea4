"""What a run depends on: written down, read back, and every change of it named."""

import json
import os
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import models

from batch_score.config import ParallelRunConfig
from batch_score.dataset.files import FileDataset
from batch_score.dataset.tabular import TabularDataset
from batch_score.job.record.fingerprint import LISTED, SHOWN, Fingerprint, Listing, enumerated
from batch_score.job.record.sources import LARGEST

STATES = st.dictionaries(st.text(min_size=1), st.tuples(st.integers(0, 2**40), st.integers(0, 2**61)), max_size=6)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two tables, an entry script and a code root."""
    monkeypatch.chdir(tmp_path)
    for name in ("part-0.csv", "part-1.csv"):
        (tmp_path / name).write_text("a\n1\n")
        os.utime(tmp_path / name, ns=(0, 10**18))
    (tmp_path / "src" / "lib").mkdir(parents=True)
    (tmp_path / "src" / "score.py").write_text("def run(rows): return rows\n")
    (tmp_path / "src" / "lib" / "help.py").write_text("x = 1\n")
    (tmp_path / "src" / "data.bin").write_bytes(b"1")
    return tmp_path


def taken(inputs="*.csv", arguments=(), dataset=None, **settings):
    settings = {"entry_script": "score.py", "source_directory": "src", **settings}
    config = ParallelRunConfig(**settings)
    datasets = [dataset or TabularDataset.from_delimited_files(inputs)]
    return Fingerprint.of(config, datasets, str(Path("src", config.entry_script).resolve()), arguments)


def written_down(fingerprint):
    return Fingerprint.from_json(json.loads(json.dumps(fingerprint.as_json())))


def changes(before, now):
    return written_down(before).changes(now)


@pytest.mark.usefixtures("place")
def test_nothing_changed():
    before = taken()
    assert changes(before, taken()) == []
    assert taken().run_id == before.run_id
    assert len(before.run_id) == 16


def change_size(place):
    (place / "part-0.csv").write_text("a\n1\n22\n")
    os.utime(place / "part-0.csv", ns=(0, 10**18))


def change_time(place):
    os.utime(place / "part-0.csv", ns=(0, 10**18 + 10**9))


def change_data(place):
    """As a copy that keeps times does."""
    before = (place / "src" / "data.bin").stat()
    (place / "src" / "data.bin").write_bytes(b"2")
    os.utime(place / "src" / "data.bin", ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "size": (change_size, ["input part-0.csv changed: 7 bytes, modified 2001-09-09T01:46:40.000+00:00 (was 4 bytes, "]),
    "time": (change_time, ["input part-0.csv changed: 4 bytes, modified 2001-09-09T01:46:41.000+00:00 (was 4 bytes, "]),
    "new": (lambda place: (place / "x.csv").write_text("a\n1\n"), ["input x.csv is new"]),
    "missing": (lambda place: (place / "part-1.csv").unlink(), ["input part-1.csv is missing"]),
    "script": (lambda place: (place / "src/score.py").write_text("#"), ["the entry script score.py changed"]),
    "source": (lambda place: (place / "src/lib/help.py").write_text("#"), ["the source file lib/help.py changed"]),
    "new source": (lambda place: (place / "src/more.py").write_text("#"), ["the source file more.py is new"]),
    "no source": (lambda place: (place / "src/lib/help.py").unlink(), ["the source file lib/help.py is missing"]),
    "new data": (lambda place: (place / "src/lib/words.txt").touch(), ["the source file lib/words.txt is new"]),
    "data of the same size and time": (change_data, ["the source file data.bin changed"]),
    "settings file": (
        lambda place: (place / "src/parallel_run_step.settings.json").write_text("{}"),
        ["the source file parallel_run_step.settings.json is new"],
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_on_the_disk_is_named(what, place):
    change, wanted = CHANGES[what]
    before = taken()
    change(place)
    now = taken()
    found = changes(before, now)
    assert [text[: len(start)] for text, start in zip(found, wanted, strict=True)] == wanted
    assert now.run_id != before.run_id


@pytest.mark.parametrize("name", [".git/hook.py", "lib/__pycache__/help.py", "lib/.#help.py"])
def test_hidden_and_compiled_files_are_not_the_scripts(name, place):
    before = taken()
    path = place / "src" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("#")
    assert changes(before, taken()) == []


def test_what_a_run_reads_and_writes_is_no_source_of_it(place):
    """A code root may be the folder where everything lies."""
    for name in ("out/x.csv", "runs/a/logs/x", "runs/other/run.json", "runs/other/journal", "runs/other/outputs/x"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("1")
    (place / "looks" / "like").mkdir(parents=True)
    (place / "looks" / "like" / "run.json").touch()
    written = (place / "out", place / "runs" / "a")
    assert list(rooted(written)) == ["looks/like/run.json", "src/data.bin", "src/lib/help.py", "src/score.py"]
    files = FileDataset.from_files(["src/lib", "src/data.bin", "*.csv"])
    assert list(rooted(written, files)) == ["looks/like/run.json", "part-0.csv", "part-1.csv", "src/score.py"]


def rooted(written, dataset=None):
    config = ParallelRunConfig(entry_script="src/score.py", source_directory=".")
    dataset = dataset or TabularDataset.from_delimited_files("*.csv")
    return Fingerprint.of(config, [dataset], str(Path("src/score.py").resolve()), (), written).scorer.sources.states


def test_a_large_file_counts_by_size_and_time(place):
    weights = place / "src" / "weights.bin"
    with weights.open("wb") as file:
        file.truncate(LARGEST + 1)
    before = taken()
    state = weights.stat()
    with weights.open("r+b") as file:
        file.write(b"other")
    os.utime(weights, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert changes(before, taken()) == []
    os.utime(weights, ns=(0, 0))
    [text] = changes(before, taken())
    assert text.startswith("the source file weights.bin changed: 67,108,865 bytes, modified 1970-01-01")


def test_what_is_no_regular_file_is_not_waited_for_and_links_lead_once_to_each_folder(place):
    source = place / "src"
    os.mkfifo(source / "pipe")
    (source / "nowhere").symlink_to(place / "nothing")
    (source / "lib" / "round").symlink_to(source)
    (place / "shared").mkdir()
    (place / "shared" / "words.txt").write_text("one")
    (source / "shared").symlink_to(place / "shared")
    before = taken()
    assert list(before.scorer.sources.states) == ["data.bin", "lib/help.py", "score.py", "shared/words.txt"]
    (place / "shared" / "words.txt").write_text("two")
    assert changes(before, taken()) == ["the source file shared/words.txt changed"]


def test_weights_outside_of_a_model_are_its_own(place):
    model = onnx.load(models.weighted_sum(place / "m.onnx", 2))
    how = {"location": "weights.bin", "size_threshold": 0}
    onnx.save(model, place / "src" / "lib" / "m.onnx", save_as_external_data=True, **how)
    for settings, name in (({"source_directory": None}, "weights.bin"), ({}, "lib/weights.bin")):
        before = taken(entry_script="lib/m.onnx", **settings)
        weights = place / "src" / "lib" / "weights.bin"
        weights.write_bytes(weights.read_bytes()[::-1])
        found = changes(before, taken(entry_script="lib/m.onnx", **settings))
        assert found == [f"the source file {name} changed"]


@pytest.mark.parametrize(
    ("now", "wanted"),
    [
        ({"mini_batch_size": "2MB"}, "mini_batch_size is 2MB (was 1MB)"),
        ({"mini_batch_size": None}, "mini_batch_size is not set (was 1MB)"),
        ({"key": "a"}, "key is a (was auto)"),
        ({"append_row_file_name": "x.csv"}, "append_row_file_name is x.csv (was parallel_run_step.txt)"),
        ({"output_action": "summary_only"}, "output_action is summary_only (was append_row)"),
        ({"features": ("a", "b")}, "features is a,b (was not set)"),
        ({"arguments": ["--password", "5"]}, "the arguments of the entry script changed"),
    ],
)
@pytest.mark.usefixtures("place")
def test_another_setting_is_named(now, wanted):
    before = taken(mini_batch_size="1MB")
    after = taken(**{"mini_batch_size": "1MB", **now})
    assert changes(before, after) == [wanted]
    assert after.run_id != before.run_id


@pytest.mark.parametrize(
    "now",
    [
        {"process_count_per_node": 7},
        {"engine": "inline"},
        {"error_threshold": 3},
        {"run_invocation_timeout": 9},
        {"logging_level": "DEBUG"},
        {"on_failure": "skip"},
        {"device": "cpu"},
    ],
)
@pytest.mark.usefixtures("place")
def test_what_decides_no_row_may_change(now):
    assert changes(taken(), taken(**now)) == []


def test_another_scorer_is_another_setting(place):
    (place / "src" / "other.py").write_text("def run(rows): return []\n")
    assert changes(taken(), taken(entry_script="other.py")) == ["entry_script is other.py (was score.py)"]


@pytest.mark.parametrize(("name", "value"), [("infer_column_types", False), ("include_path", True), ("separator", ";")])
@pytest.mark.usefixtures("place")
def test_reader_options_are_named(name, value):
    before, now = taken(), taken(dataset=TabularDataset.from_delimited_files("*.csv", **{name: value}))
    assert changes(before, now) == [f"{name} is {value!r} (was the default)"]
    assert changes(now, before) == [f"{name} is the default (was {value!r})"]


@pytest.mark.usefixtures("place")
def test_types_that_come_out_otherwise_from_the_same_files_are_a_change():
    before = taken()
    (one,) = before.inputs
    other = replace(before, inputs=(replace(one, columns={"a": "double"}),))
    assert changes(other, before) == ["the columns or their types are not what they were"]


def test_a_model_is_called_one(place):
    (place / "src" / "m.onnx").write_bytes(b"1")
    before = taken(entry_script="m.onnx", source_directory=None)
    (place / "src" / "m.onnx").write_bytes(b"2")
    assert changes(before, taken(entry_script="m.onnx", source_directory=None)) == ["the model m.onnx changed"]


def test_files_are_their_inputs_made_absolute_and_not_looked_at(place):
    """The journal compares the files themselves; looking at ten million would hold up every run."""
    before = taken(dataset=FileDataset.from_files(["src", "*.csv"]), source_directory=None)
    (place / "part-0.csv").write_text("other")
    (place / "src" / "score.txt").write_text("new")
    assert changes(before, taken(dataset=FileDataset.from_files(["src", "*.csv"]), source_directory=None)) == []
    assert list(before.inputs[0].files.states) == [str(place / "src"), str(place / "*.csv")]
    fewer = taken(dataset=FileDataset.from_files(["src"]), source_directory=None)
    assert changes(before, fewer) == [f"input {place / '*.csv'} is missing"]


@pytest.mark.usefixtures("place")
def test_files_are_not_rows():
    assert changes(taken(), taken(dataset=FileDataset.from_files("*.csv"))) == ["the input is file (was delimited)"]


@pytest.mark.usefixtures("place")
def test_the_number_of_datasets():
    one = taken()
    two = replace(one, inputs=one.inputs * 2)
    assert changes(two, one) == ["the number of datasets is 1 (was 2)"]


@given(before=STATES, now=STATES)
def test_a_listing_names_each_difference_once_and_nothing_else(before, now):
    listing = Listing.from_json(json.loads(json.dumps(Listing.of(before).as_json())))
    found = list(listing.changes(Listing.of(now), "input "))
    paths = {text.removeprefix("input ").rpartition(" is ")[0] for text in found if " changed: " not in text}
    changed = [text for text in found if " changed: " in text]
    assert paths == before.keys() ^ now.keys()
    assert len(changed) == len([path for path in before.keys() & now.keys() if before[path] != now[path]])
    assert (found == []) == (before == now)


def long_listing(count, **others):
    return Listing.of({**{f"f{number:05}": (number, 0) for number in range(count)}, **others})


def test_only_the_first_files_are_written_down_and_the_hash_is_over_all():
    before = Listing.from_json(json.loads(json.dumps(long_listing(LISTED + 5).as_json())))
    assert len(before.states) == LISTED
    assert list(before.changes(long_listing(LISTED + 5), "")) == []
    other = long_listing(LISTED + 5, **{f"f{LISTED + 1:05}": (0, 1)})
    assert list(before.changes(other, "")) == ["files beyond the first 1,000 changed, 1,005 are there (were 1,005)"]
    assert list(before.changes(long_listing(LISTED - 1), "")) == [f"f{LISTED - 1:05} is missing"]


def test_a_path_that_is_no_text_can_be_written_down():
    path = os.fsdecode(b"caf\xe9.csv")
    listing = Listing.of({path: (1, 2)})
    assert list(Listing.from_json(json.loads(json.dumps(listing.as_json()))).changes(listing, "")) == []


def test_many_changes_are_cut_short():
    assert enumerated(["a", "b"]) == "a; b"
    assert enumerated([str(number) for number in range(SHOWN + 3)]) == "0; 1; 2; 3; 4; and 3 more"
