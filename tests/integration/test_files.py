"""Files as items: many small ones, mini-batches of them, and how soon the first one is scored."""

import json
import time

import pandas as pd
import pytest
from tests.integration.running import FULL

from batch_score import FileDataset

COUNT = 100_000 if FULL else 10_000


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """A folder of COUNT small files in 100 folders."""
    folder = tmp_path_factory.mktemp("many")
    for k in range(100):
        (folder / f"{k:02}").mkdir()
    for k in range(COUNT):
        (folder / f"{k % 100:02}" / f"{k:06}.txt").write_text(str(k))
    return folder


def test_the_first_of_many_files_is_scored_within_a_second(many, tmp_path, job, script):
    """Measured from the call of the API, so that planning is in it, to the first line of `run()`."""
    script("""
        import pathlib, time

        def init():
            pathlib.Path("times.txt").write_text("")

        def run(files):
            with open("times.txt", "a") as times:
                times.write(f"{time.monotonic()}\\n")
            return files
    """)
    begin = time.monotonic()
    result = job(FileDataset.from_files(many), append_row_file_name="o.txt", mini_batch_size=100)
    first = float((tmp_path / "times.txt").read_text().split()[0])
    assert first - begin < 1.0
    assert result.totals.items_succeeded == COUNT
    assert len(set(result.output.read_text().splitlines())) == COUNT


def test_many_files_in_workers_while_the_plan_goes_on(many, batch_score, script):
    script("""
        import os

        def run(files):
            return [open(path).read() for path in files]
    """)
    done = batch_score.run("score.py", many, "--mini-batch-size", 50, "--process-count-per-node", 2)
    assert done.code == 0, done.err
    result = pd.read_csv(done.output)
    assert sorted(result["prediction"]) == list(range(COUNT))
    assert [int(source[-10:-4]) for source in result["source"]] == list(result["prediction"])
    assert done.json["mini_batches"] == {"total": COUNT // 50, "succeeded": COUNT // 50, "failed": 0}


@pytest.mark.parametrize(("count", "size"), [(1, None), (9, None), (10, None), (11, None), (3, 1), (7, 3), (600, 2)])
def test_mini_batches_of_files_are_full_but_the_last(count, size, tmp_path, job, script):
    script("def run(files):\n    return [len(files)] * len(files)\n")
    (tmp_path / "in").mkdir()
    for k in range(count):
        (tmp_path / "in" / f"{k:04}.bin").write_bytes(b"x")
    result = job(FileDataset.from_files("in"), mini_batch_size=size, append_row_file_name="o.csv")
    assert result.status == "completed", result
    frame = pd.read_csv(result.output)
    assert list(frame["source"]) == [f"in/{k:04}.bin" for k in range(count)]
    size = size or 10
    last = count % size
    assert list(frame["prediction"]) == [size] * (count - last) + [last] * last


def test_paths_are_absolute_and_exist(tmp_path, batch_score, script):
    script(
        """
        import os

        def run(files):
            assert all(os.path.isabs(path) and os.path.isfile(path) for path in files)
            return [os.path.basename(path) for path in files]
    """,
        name="code/score.py",
    )
    names = ["plain.dat", "with space.dat", "äöü 😀.dat", "line\nbreak.dat", '"quoted",.dat']
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / name).write_bytes(b"")
    (tmp_path / "in" / ".hidden").write_bytes(b"")
    done = batch_score.run("code/score.py", "in", "--append-row-file-name", "o.jsonl")
    assert done.code == 0, done.err
    records = [json.loads(line) for line in done.output.read_text(encoding="utf-8").splitlines()]
    assert sorted(record["prediction"] for record in records) == sorted(names)
    assert all(record["source"] == f"in/{record['prediction']}" for record in records)


def test_failed_files_are_named(tmp_path, job, script):
    script("def run(files):\n    raise ValueError('not an image')\n")
    (tmp_path / "in").mkdir()
    for k in range(3):
        (tmp_path / "in" / f"{k}.png").write_bytes(b"")
    result = job(FileDataset.from_files("in"), mini_batch_size=2, run_max_try=1, error_threshold=5)
    assert result.status == "failed"
    lines = [json.loads(line) for line in (result.run_dir / "failed_items.jsonl").read_text().splitlines()]
    assert sorted((line["source"], line["row"], line["mini_batch"]) for line in lines) == [
        ("in/0.png", None, 0),
        ("in/1.png", None, 0),
        ("in/2.png", None, 1),
    ]


def test_a_mini_batch_of_very_many_files(tmp_path, batch_score, script):
    """Its descriptor is larger than any socket's buffer."""
    script("def run(files):\n    return [len(files)]\n")
    (tmp_path / "in").mkdir()
    for k in range(6_000):
        (tmp_path / "in" / f"{'x' * 100}{k:04}.bin").write_bytes(b"")
    done = batch_score.run("score.py", "in", "--mini-batch-size", 6_000, "--append-row-file-name", "o.txt")
    assert done.code == 0, done.err
    assert done.output.read_text() == "6000\n"


def test_the_run_directory_does_not_depend_on_where_the_script_goes(tmp_path, batch_score, script):
    script("""
        import os

        def run(files):
            os.chdir("/")
            return files
    """)
    (tmp_path / "in").mkdir()
    for k in range(30):
        (tmp_path / "in" / f"{k}.bin").write_bytes(b"")
    done = batch_score.run("score.py", "in", "--mini-batch-size", 1)
    assert done.code == 0, done.err
    assert sorted(pd.read_csv(done.output)["prediction"]) == sorted(str(path) for path in (tmp_path / "in").iterdir())
    assert (done.run_dir / "logs" / "job_result.txt").exists()
