"""Folders that cannot be written, from the start or from some moment on, for a user who is not root."""

import os
import shutil

import pytest
from tests.faults.surroundings.site import echoed, thorough, told
from tests.integration.running import wait_for

# Without these powers root is held to the permissions of its files as every other user is.
POWERLESS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
WAITING = """
    import os, pathlib, time

    def run(rows):
        if rows["id"].iloc[0] > 300:
            pathlib.Path("half").touch()
            while not os.path.exists("go"):
                time.sleep(0.01)
        return rows
"""


@pytest.fixture
def before():
    """What makes the command one of a user without special powers."""
    if os.geteuid():
        return ()
    return POWERLESS if shutil.which("setpriv") else pytest.skip("root, and no setpriv to become powerless")


@pytest.fixture
def read_only():
    """Makes folders read-only, until the test ends: `read_only(folder)`."""
    made = []

    def make(folder):
        made.append(folder)
        folder.chmod(0o555)

    yield make
    for folder in made:
        folder.chmod(0o755)


@pytest.mark.parametrize("where", ["run directory", pytest.param("output", marks=thorough)])
def test_a_folder_that_cannot_be_made_is_named_before_anything_starts(where, site, before, read_only):
    place = site.folder / "closed"
    place.mkdir()
    read_only(place)
    run_dir, output = ("closed/r", "out") if where == "run directory" else ("r", "closed/out")
    fixed = ("score.py", "t.csv", "--run-dir", run_dir, "--output", output)
    done = site.ended(site.start("run", *fixed, before=before))
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert str(place) in done.err
    assert "Permission denied" in done.err
    assert not (site.folder / "runs").exists()


def half_way(site, before, *options):
    """A run that waits half-way, with half of its mini-batches in the output."""
    site.script(WAITING)
    process = site.begin(*options, before=before)
    wait_for((site.folder / "half").exists)
    return process


def go(site, process):
    (site.folder / "go").touch()
    return site.ended(process)


@thorough
def test_files_that_are_open_are_written_to_the_end(site, before, read_only):
    """The output file made read-only, and its folder: whoever has it open goes on."""
    process = half_way(site, before)
    site.output.chmod(0o444)
    read_only(site.output.parent)
    site.check_complete(go(site, process))


def test_a_run_directory_that_becomes_read_only_ends_the_job_in_one_line(site, before, read_only):
    """What is appended stays; how the job ended cannot be written down, and the run goes on from where it was."""
    process = half_way(site, before)
    read_only(site.run_dir)
    done = go(site, process)
    read_only(site.run_dir)
    assert done.code == 1, done.err + done.out
    assert "Permission denied" in done.err + done.out
    assert str(site.run_dir) in done.err + done.out
    site.check_whole(echoed())
    site.run_dir.chmod(0o755)
    site.check_complete(site.resume(before=before))


@thorough
def test_logs_that_become_read_only_cost_no_row(site, before, read_only):
    process = half_way(site, before)
    for folder in (site.run_dir / "logs", *filter(os.path.isdir, (site.run_dir / "logs").rglob("*"))):
        read_only(folder)
    done = go(site, process)
    site.check_complete(done)


@thorough
def test_a_parquet_file_that_cannot_be_made_where_it_should_be(site, before, read_only):
    process = half_way(site, before, "--append-row-file-name", "o.parquet")
    read_only(site.run_dir / "outputs")
    done = go(site, process)
    assert done.code == 1, done.err
    assert "Permission denied" in told(done)["cause"]
    assert "o.parquet" in told(done)["cause"]
    assert "batch-score resume" in told(done)["next"]
    (site.run_dir / "outputs").chmod(0o755)
    done = site.resume(before=before)
    assert done.code == 0, done.err
    assert site.items == {"total": 1_000, "succeeded": 1_000, "failed": 0}
    assert site.output.name == "o.parquet"


@thorough
def test_a_run_that_may_not_be_written_any_more_is_not_resumed(site, before, read_only):
    process = half_way(site, before)
    process.kill()
    site.ended(process)
    read_only(site.run_dir)
    (site.folder / "go").touch()
    done = site.resume(before=before)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert str(site.run_dir) in done.err
    site.run_dir.chmod(0o755)
    site.check_complete(site.resume(before=before))
