"""`run.json`: claimed by one run, read back, and refused in one sentence when it is none."""

import json
import os
import stat
from pathlib import Path

import pytest

from batch_score.config import ParallelRunConfig
from batch_score.dataset.origin import Origin
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import OutputError
from batch_score.job.prepare import make_folder, prepare
from batch_score.job.record.reading import Recorded
from batch_score.job.record.writing import RunRecord
from batch_score.job.reopen import reopened
from batch_score.job.request import JobRequest, Resumption


@pytest.fixture
def request_(tmp_path, monkeypatch):
    """A job over a table, whose folders are there."""
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("a;b\n1;2\n", encoding="utf-8")
    Path("score.py").write_text("def run(rows): return rows\n", encoding="utf-8")
    dataset = TabularDataset.from_delimited_files("*.csv", separator=";", set_column_types={"a": "string"})
    config = ParallelRunConfig(entry_script="score.py", error_threshold=3, environment=object(), device="cpu")
    make_folder(tmp_path / "r")
    return JobRequest(config, (dataset,), Path("r"), arguments=("--run_max_try", 2, "--error_threshold", 5))


def test_a_run_directory_is_claimed_once_and_the_record_is_whole(request_, tmp_path):
    first, second = (RunRecord(prepare(request_), request_) for _ in range(2))
    first.claim()
    before = (tmp_path / "r" / "run.json").read_bytes()
    with pytest.raises(FileExistsError):
        second.claim()
    assert (tmp_path / "r" / "run.json").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["run.json"]
    assert Recorded.read(tmp_path / "r").run_id == first.run_id
    assert not Recorded.read(tmp_path / "r").completed


def test_the_record_is_for_its_owner_alone_at_every_moment(request_, tmp_path, monkeypatch):
    """It has the values of `environment_variables`."""
    modes = []
    replace, link = Path.replace, os.link

    def seen(path):
        modes.append(stat.S_IMODE(Path(path).stat().st_mode))

    monkeypatch.setattr(os, "fsync", lambda number: modes.append(stat.S_IMODE(os.fstat(number).st_mode)))
    monkeypatch.setattr(os, "link", lambda *pair: (seen(pair[0]), link(*pair)))
    monkeypatch.setattr(Path, "replace", lambda *pair: (seen(pair[0]), replace(*pair)))
    before = os.umask(0)
    try:
        (tmp_path / "r" / f".run.json.{os.getpid()}").touch(mode=0o666)
        record = RunRecord(prepare(request_), request_)
        record.claim()
        record.columns(("a",))
    finally:
        os.umask(before)
    seen(tmp_path / "r" / "run.json")
    assert modes == [0o600] * 5


def test_a_draft_does_not_take_a_run_directory_and_anything_else_does(request_, tmp_path):
    (tmp_path / "r" / ".run.json.12345").write_text("{")
    RunRecord(prepare(request_), request_).claim()
    (tmp_path / "r" / "run.json").rename(tmp_path / "r" / "other")
    with pytest.raises(OutputError, match="is there already; give another --run-dir"):
        prepare(request_)


def test_where_there_are_no_links_it_is_claimed_by_its_name(request_, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    record = RunRecord(prepare(request_), request_)
    other = RunRecord(prepare(request_), request_)
    record.claim()
    assert Recorded.read(tmp_path / "r").run_id == record.run_id
    with pytest.raises(FileExistsError):
        other.claim()


def test_a_run_is_asked_for_again_as_it_was(request_, tmp_path):
    RunRecord(prepare(request_), request_).claim()
    again = reopened(Recorded.read(tmp_path / "r"), {"engine": "inline"})
    assert again.datasets == request_.datasets
    assert [one.origin for one in again.datasets] == [one.origin for one in request_.datasets]
    assert again.config.engine == "inline"
    assert again.config.error_threshold == 5  # of the flag among the arguments
    assert again.arguments == ("--run_max_try", "2", "--error_threshold", "5")
    assert (again.run_dir, again.output) == (tmp_path / "r", None)
    assert again.resumes.record.fingerprint.changes(prepare(again).fingerprint) == []


def test_columns_are_known_to_the_next_session(request_, tmp_path):
    first = RunRecord(prepare(request_), request_)
    first.claim()
    assert first.known_columns == ()
    first.columns(("a", "b"))
    again = reopened(Recorded.read(tmp_path / "r"), {})
    second = RunRecord(prepare(again), again)
    assert second.known_columns == ("a", "b")
    assert second.run_id == first.run_id
    second.resume()
    assert len(json.loads((tmp_path / "r" / "run.json").read_text())["resumed"]) == 1


def test_the_run_id_stays_when_the_run_is_forced_to_go_on(request_, tmp_path):
    first = RunRecord(prepare(request_), request_)
    first.claim()
    Path("score.py").write_text("def run(rows): return []\n", encoding="utf-8")
    request = JobRequest(
        request_.config, request_.datasets, Path("r"), resumes=Resumption(Recorded.read(tmp_path / "r"), force=True)
    )
    second = RunRecord(prepare(request), request)
    second.resume()
    found = Recorded.read(tmp_path / "r")
    assert found.run_id == first.run_id != prepare(request).fingerprint.run_id
    assert found.fingerprint == prepare(request).fingerprint


def test_a_dataset_that_was_put_together_by_hand_cannot_be_opened_again(request_, tmp_path):
    (table,) = request_.datasets
    request = JobRequest(request_.config, (TabularDataset(table.paths, table.format),), Path("r"))
    RunRecord(prepare(request), request).claim()
    with pytest.raises(OutputError, match="run its ParallelRunStep again"):
        reopened(Recorded.read(tmp_path / "r"), {})


def test_an_origin_can_be_written_down():
    origin = Origin("parquet", ("a", os.fsdecode(b"\xff")))
    assert Origin.from_json(json.loads(json.dumps(origin.as_json()))) == origin


BROKEN = {
    "no object": "[]",
    "no JSON": "{",
    "empty": "",
    "another format": '{"format": 2}',
    "too little": '{"format": 1}',
    "bytes": "\udcff",
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_no_record(what, tmp_path):
    (tmp_path / "run.json").write_bytes(BROKEN[what].encode("utf-8", "surrogateescape"))
    with pytest.raises(OutputError) as raised:
        Recorded.read(tmp_path)
    assert str(raised.value).startswith(str(tmp_path / "run.json"))
    assert "\n" not in str(raised.value)


def test_every_part_is_needed(request_, tmp_path):
    RunRecord(prepare(request_), request_).claim()
    whole = json.loads((tmp_path / "r" / "run.json").read_text())
    for name in ("run_id", "fingerprint", "config", "inputs", "arguments", "working_directory", "status", "started"):
        rest = {key: value for key, value in whole.items() if key != name}
        (tmp_path / "r" / "run.json").write_text(json.dumps(rest))
        with pytest.raises(OutputError, match=name):
            Recorded.read(tmp_path / "r")


@pytest.mark.parametrize("where", ["nowhere", "file"])
def test_where_there_is_no_record(where, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is no run directory"):
        Recorded.read(tmp_path / where)
