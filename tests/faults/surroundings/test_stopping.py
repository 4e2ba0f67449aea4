"""Ctrl-C and SIGTERM wherever a job may be, once and twice: an exit code, no process, and a run to go on with."""

import os
import signal
import time

import pytest
from tests.faults.surroundings.site import ECHO, Site, echoed, long, thorough, told
from tests.integration.running import wait_for

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
# Where `run()` is when the signal comes; `there` says that it is.
HANGING = """
    import os, pathlib, time

    def run(rows):
        if rows["id"].iloc[0] > 200 and not os.path.exists("go"):
            pathlib.Path("there").touch()
            {wait}
        return rows
"""
WAITS = {"in Python": "time.sleep(600)", "in native code": "__import__('ctypes').PyDLL(None).sleep(600)"}


def check_interrupted(site, done, number):
    assert done.code == CODES[number], done.err
    assert told(done)["status"].startswith("interrupted")
    assert site.record["status"] == "interrupted"
    assert f"batch-score resume {site.run_dir}" in told(done)["next"]
    site.check_whole(echoed())


def check_goes_on(site):
    (site.folder / "go").touch()
    site.check_complete(site.resume())


def seconds_since(begin):
    return time.monotonic() - begin


@long
@pytest.mark.parametrize("where", WAITS)
def test_a_run_that_takes_longer_than_the_grace_period_is_ended(where, site):
    """Ten seconds, as GRACE_S says; what it was at is scored again by the session that goes on."""
    site.script(HANGING.format(wait=WAITS[where]))
    process = site.begin(workers=2)
    wait_for((site.folder / "there").exists)
    begin = time.monotonic()
    process.terminate()
    done = site.ended(process)
    assert 9 < seconds_since(begin) < 20
    check_interrupted(site, done, signal.SIGTERM)
    check_goes_on(site)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=thorough)])
def test_a_second_signal_does_not_wait(number, site):
    site.script(HANGING.format(wait=WAITS["in native code"]))
    process = site.begin(workers=2)
    wait_for((site.folder / "there").exists)
    process.send_signal(number)
    wait_for(lambda: "once more stops at once" in site.master_log)
    begin = time.monotonic()
    process.send_signal(number)
    done = site.ended(process)
    assert seconds_since(begin) < 5
    # SIGTERM has its usual effect then: the process ends without a word.
    assert done.code == (130 if number == signal.SIGINT else -signal.SIGTERM), done.err
    site.check_whole(echoed())
    check_goes_on(site)


@thorough
def test_a_second_signal_counts_where_a_shell_had_it_ignored(site):
    """As it has for a command that it puts into the background."""
    site.script(HANGING.format(wait=WAITS["in native code"]))
    process = site.begin(workers=1, before=("sh", "-c", 'trap "" INT; exec "$@"', "sh"))
    wait_for((site.folder / "there").exists)
    process.send_signal(signal.SIGINT)
    wait_for(lambda: "once more stops at once" in site.master_log)
    process.send_signal(signal.SIGINT)
    assert site.ended(process).code == 130


SLOW_START = """
    import pathlib, time

    {place}
        pathlib.Path("there").touch()
        time.sleep(0 if pathlib.Path("go").exists() else 600)

    def run(rows):
        return rows
"""
PLACES = {"the import of the script": "if True:", "init()": "def init():"}


@thorough
@pytest.mark.parametrize("place", PLACES)
def test_a_signal_before_any_worker_is_ready(place, site):
    """Nobody waits for an init(), which may take long and changes nothing."""
    site.script(SLOW_START.format(place=PLACES[place]))
    process = site.begin(workers=3)
    wait_for((site.folder / "there").exists)
    begin = time.monotonic()
    process.terminate()
    done = site.ended(process)
    assert seconds_since(begin) < 5
    check_interrupted(site, done, signal.SIGTERM)
    assert site.journal == []
    check_goes_on(site)


@thorough
@pytest.mark.parametrize("wait", [0.0, 0.1, 0.4])
def test_a_signal_while_a_large_listing_is_planned(wait, site):
    """40,000 files; the signal comes at some moment before, in or after the listing."""
    folder = site.folder / "in"
    folder.mkdir()
    for part in range(40):
        (folder / str(part)).mkdir()
        for number in range(1_000):
            os.close(os.open(folder / str(part) / f"{number:03}", os.O_CREAT))
    site.script("def run(paths):\n    return paths\n")
    process = site.begin(source="in", size=5, workers=2)
    wait_for((site.run_dir / "journal").exists)
    time.sleep(wait)
    begin = time.monotonic()
    process.terminate()
    done = site.ended(process)
    assert seconds_since(begin) < 10
    assert done.code in (143, -signal.SIGTERM), done.err  # it may still be starting
    done = site.resume()
    assert done.code == 0, done.err
    assert len(set(site.lines)) == len(site.lines) == 40_001


@thorough
@pytest.mark.parametrize("number", CODES)
def test_an_inline_job_stops_between_two_mini_batches(number, site):
    site.script(HANGING.format(wait="time.sleep(1)"))
    process = site.begin("--engine", "inline", size="100")
    wait_for((site.folder / "there").exists)
    process.send_signal(number)
    check_interrupted(site, site.ended(process), number)
    check_goes_on(site)


@thorough
def test_an_inline_job_is_stopped_at_once_by_a_second_signal(site):
    site.script(HANGING.format(wait="time.sleep(600)"))
    process = site.begin("--engine", "inline")
    wait_for((site.folder / "there").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    done = site.ended(process)
    assert done.code == 130, done.err
    site.check_whole(echoed())
    check_goes_on(site)


@thorough
@pytest.mark.parametrize("wait", [0.0, 0.2, 0.35, 0.5, 0.7, 0.9])
def test_a_signal_while_the_command_itself_begins(wait, tmp_path, site):
    """Before anything was started: one line at most, and the same command may be given again or the run resumed."""
    process = site.begin()
    time.sleep(wait)
    process.send_signal(signal.SIGINT)
    done = site.ended(process)
    assert done.code in (0, 130, -signal.SIGINT), done.err
    if (site.run_dir / "run.json").exists():
        site.check_complete(site.resume())
    else:
        again = Site(tmp_path)
        again.script(ECHO)
        again.check_complete(again.run())


@thorough
def test_signals_again_and_again_while_a_run_goes_on(site):
    """Each session does a part, and all together the whole."""
    site.script("import time\ndef run(rows):\n    time.sleep(0.05)\n    return rows\n")
    process = site.begin(size="500")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        before = len(site.journal)
        wait_for(lambda known=before: len(site.journal) > known + 2)
        process.send_signal(number)
        assert site.ended(process).code in (0, CODES[number])
        site.check_whole(echoed())
        process = site.start("resume", "r", "--quiet")
    site.check_complete(site.ended(process))
