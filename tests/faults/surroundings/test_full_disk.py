"""A full disk, of whichever file: the job fails in one line that names it, and goes on when there is room again."""

import os
import re
import resource
import shutil
import subprocess

import pytest
from tests.faults.surroundings.site import compiled, echoed, needs_compiler, needs_root, thorough, told
from tests.integration.running import wait_for

# Says much, so that a worker's own log files meet the full disk too; fails for one row, so that there are failed items.
SCRIPT = """
    import sys

    def run(rows):
        print("x" * 300)
        if 777 in set(rows["id"]):
            raise ValueError("a bad row")
        return rows
"""
# Another return, which makes the shim's disk a full one.
FILL = """
    def fill(rows):
        import os
        os.remove("room")
        return rows
"""
WANTED = [line for line in echoed() if not line.startswith("t.csv,777,")]
OPTIONS = ("--run-max-try", 1)
NO_SPACE = "No space left on device"


def check_failed(site, done, name, reason=NO_SPACE):
    """One line says which file, why, and how to go on."""
    assert done.code == 1, done.err + done.out
    summary = told(done)
    assert summary["status"].startswith("failed")
    assert reason in summary["cause"]
    assert re.search(name, summary["cause"]), summary["cause"]
    assert f"batch-score resume {site.run_dir}" in summary["next"]
    site.check_whole(WANTED)


def check_goes_on(site):
    """Every row is in the output once, or among the failed items once."""
    done = site.resume()
    site.check_complete(done, WANTED)
    assert site.failed_rows == [777]


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return compiled("full_disk_shim.c", tmp_path_factory.mktemp("shim"))


# Where the disk is full: a part of the path, the size that still fits, and what the message names.
PLACES = {
    "output": ("outputs/predictions.csv", 12_000, "outputs/predictions.csv"),
    "journal": ("r/journal", 500, "r/journal"),
    "failed items": ("failed_items.jsonl", 20, "failed_items.jsonl"),
    "report of tries": ("processed_mini-batches.csv", 2_000, "processed_mini-batches.csv"),
    "all logs": ("r/logs/", 2_500, "r/logs/"),
}
QUICK = ("report of tries",)


@needs_compiler
@pytest.mark.parametrize("where", [one if one in QUICK else pytest.param(one, marks=thorough) for one in PLACES])
def test_the_file_that_did_not_fit_is_named_and_the_run_goes_on_when_there_is_room(where, site, shim):
    part, size, name = PLACES[where]
    site.script(SCRIPT)
    full = {"LD_PRELOAD": str(shim), "FULL_DISK": part, "FULL_DISK_BYTES": str(size)}
    done = site.run(*OPTIONS, environment=full)
    check_failed(site, done, name)
    assert done.err == ""
    check_goes_on(site)


# Files of a worker alone, and what is only written when all is done. No row may be lost for them.
MINOR = {
    "log of a worker": ("logs/sys/node", 300),
    "errors of the script": ("user/error", 0),
    "overview": ("job_progress_overview", 10),
    "what the script prints": ("logs/user/stdout", 1_000),
    "the coordinator's log": ("master_role.txt", 400),
    "result": ("job_result", 0),
    "sums": ("process_summary", 0),
}


@needs_compiler
@pytest.mark.parametrize(
    "where", [one if one == "log of a worker" else pytest.param(one, marks=thorough) for one in MINOR]
)
def test_no_row_is_lost_for_a_log_that_cannot_be_written(where, site, shim):
    part, size = MINOR[where]
    site.script(SCRIPT)
    full = {"LD_PRELOAD": str(shim), "FULL_DISK": part, "FULL_DISK_BYTES": str(size)}
    done = site.run(*OPTIONS, environment=full)
    site.check_whole(WANTED)
    if done.code == 0:
        assert site.lines == WANTED
        assert site.failed_rows == [777]
        return
    assert done.code == 1, done.err
    assert NO_SPACE in done.err + done.out
    check_goes_on(site)


@needs_compiler
@thorough
def test_an_end_that_cannot_be_recorded_is_told_and_the_run_goes_on(site, shim):
    """The disk fills up while the last rows are scored; of all files `run.json` has no room."""
    site.script(SCRIPT.replace("return rows", "return rows if rows['id'].iloc[-1] < 999 else fill(rows)") + FILL)
    room = site.folder / "room"
    room.touch()
    full = {"LD_PRELOAD": str(shim), "FULL_DISK": ".run.json", "FULL_DISK_UNLESS": str(room)}
    check_failed(site, site.run(*OPTIONS, environment=full), "run.json")
    assert site.record["status"] == "running"
    check_goes_on(site)


@pytest.fixture
def small_disk(site):
    """A disk of 160 KiB where the run directory will be; gives the command that makes it larger."""
    place = site.folder / "disk"
    place.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    make = [mount, "-t", "tmpfs", "-o", "size=160k", "none", place]
    if not mount or subprocess.run(make, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted")
    site.run_dir = place / "r"
    yield lambda: subprocess.run([mount, "-o", "remount,size=20m", place], check=True)
    subprocess.run([unmount, "--lazy", place], check=True)


@needs_root
@pytest.mark.parametrize("size", ["1KB", pytest.param("100", marks=thorough), pytest.param("4KB", marks=thorough)])
def test_a_disk_that_is_really_full(size, site, small_disk):
    """Output, journal and all logs are on it; which of them does not fit is chance."""
    site.script("def run(rows):\n    print('x' * 100)\n    return [f'{number:200}' for number in rows['id']]\n")
    wanted = sorted(["source,row,prediction", *(f"t.csv,{i},{i:200}" for i in range(1_000))])
    fixed = ("score.py", "t.csv", "--mini-batch-size", size, "--process-count-per-node", 2, "--run-max-try", 1)
    done = site.ended(site.start("run", "--quiet", *fixed, "--run-dir", "disk/r"))
    assert done.code == 1, done.err + done.out
    assert done.err == ""
    assert f"batch-score resume {site.run_dir}" in told(done)["next"]
    assert re.search(f"{NO_SPACE}: '{site.run_dir}/", told(done)["cause"])
    site.check_whole(wanted)
    small_disk()
    site.check_complete(site.ended(site.start("resume", "disk/r", "--quiet")), wanted)
    assert site.failed_items == []


@thorough
def test_a_limit_on_the_size_of_files(site):
    """RLIMIT_FSIZE, set for the coordinator while it runs: the same as a full disk under another name."""
    site.script("""
        import os, pathlib, time

        def run(rows):
            pathlib.Path("begun").touch()
            while not os.path.exists("go"):
                time.sleep(0.01)
            return rows
    """)
    process = site.begin()
    wait_for((site.folder / "begun").exists)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (12_000, 12_000))
    (site.folder / "go").touch()
    done = site.ended(process)
    assert done.code == 1, done.err
    assert "File too large" in told(done)["cause"]
    assert "resume" in told(done)["next"]
    site.check_whole(echoed())
    site.check_complete(site.resume())


@needs_compiler
@thorough
@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_a_full_disk_under_other_forms(form, site, shim):
    """Of a Parquet file the spool; the file itself, which is made at the end, too."""
    parts = {"parquet": ("spool.arrow", "outputs/"), "jsonl": ("outputs/",)}[form]
    site.script(SCRIPT)
    options = (*OPTIONS, "--append-row-file-name", f"o.{form}")
    for part in parts:
        full = {"LD_PRELOAD": str(shim), "FULL_DISK": part, "FULL_DISK_BYTES": "9000"}
        done = site.resume(environment=full) if site.run_dir.exists() else site.run(*options, environment=full)
        assert (done.code, done.err) == (1, ""), done.out
        assert NO_SPACE in told(done)["cause"]
        assert part in told(done)["cause"]
        assert "batch-score resume" in told(done)["next"]
    done = site.resume()
    assert done.code == 0, done.err
    assert site.items == {"total": 1_000, "succeeded": 999, "failed": 1}
    assert site.failed_rows == [777]


@needs_compiler
@thorough
def test_a_disk_that_is_full_from_the_start(site, shim):
    done = site.run(environment={"LD_PRELOAD": str(shim), "FULL_DISK": str(site.run_dir) + os.sep})
    assert done.code in (1, 2)
    [line] = done.err.splitlines()
    assert NO_SPACE in line
    assert str(site.run_dir) in line
