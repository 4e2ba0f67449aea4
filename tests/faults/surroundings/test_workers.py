"""Many workers on few cores, workers whose init() fails, and that none is left."""

import time

import pytest
from tests.faults.surroundings.site import ECHO, EFFORT, Site, echoed, long, thorough, told
from tests.integration.running import numbers, tries, wait_for

WORKERS = 8 if EFFORT == "quick" else 50
MEMORY = """
from batch_score.cli import main
try:
    main()
finally:
    # Not getrusage(), whose maximum begins with that of the process that started this one.
    print("peak", *(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(done):
    """The most memory that the coordinator had, in MB."""
    [line] = [line for line in done.out.splitlines() if line.startswith("peak ")]
    return int(line.split()[1]) / 1024


@pytest.mark.parametrize(
    ("rows", "size"),
    [(1_000, "1KB"), pytest.param(20_000, "100", marks=thorough), pytest.param(200_000, "10KB", marks=long)],
)
def test_many_workers_on_few_cores(rows, size, site, request):
    """Nobody is killed for being slow, with time limits as they are by default, and memory stays where it was."""
    site.table(rows)
    done = site.run(workers=WORKERS, size=size, code=MEMORY)
    site.check_complete(done, echoed(rows))
    assert {row["Status"] for row in tries(site.run_dir)} == {"RUN_DONE"}
    text = f"{WORKERS} workers, {len(site.journal)} mini-batches: coordinator {peak(done):.0f} MB"
    request.config.pluginmanager.getplugin("terminalreporter").write_line(f"\n{text}")
    assert peak(done) < 400


@thorough
@pytest.mark.parametrize("count", [1, 7])
def test_more_workers_than_mini_batches(count, site):
    site.table(1_000)
    size = -(-(site.folder / "t.csv").stat().st_size // count)
    done = site.run(workers=WORKERS, size=size)
    site.check_complete(done)
    assert len(tries(site.run_dir)) in (count, count + 1)


# Each fails in its own way; `agent` is the name of the worker.
INIT = """
    import os, signal, time
    from azureml_user.parallel_run import EntryScript

    def once(name):
        try:
            os.mkdir(name)
        except FileExistsError:
            return False
        return True

    def init():
        agent = EntryScript().agent_name
        {how}

    def run(rows):
        return rows
"""
# How init() fails, the number of workers, and how many processes there are in all, at least and at most.
SURVIVED = {
    "raises in every second worker": ("assert int(agent[7:]) % 2 == 0", 4, (4, 8)),
    "raises twice, then works": ("assert not once('first') and not once('second')", 1, (3, 3)),
    "hangs in one": ("once('hung') and time.sleep(600)", 2, (2, 2)),
    "leaves in one": ("once('left') and os._exit(9)", 2, (2, 3)),
    "crashes in one": ("once('crashed') and os.kill(os.getpid(), signal.SIGSEGV)", 2, (2, 3)),
    "is killed twice": ("(once('1') or once('2')) and os.kill(os.getpid(), signal.SIGKILL)", 1, (3, 3)),
    "works in one only": ("assert once('only')", 4, (4, 10)),
}
QUICK = ("raises twice, then works",)


@pytest.mark.parametrize("how", [one if one in QUICK else pytest.param(one, marks=thorough) for one in SURVIVED])
def test_a_job_completes_where_any_worker_works(how, site):
    text, workers, (least, most) = SURVIVED[how]
    site.script(INIT.format(how=text))
    done = site.run(workers=workers)
    site.check_complete(done)
    assert least <= processes(site) <= most


def processes(site):
    """How many workers were ever started."""
    return len(list((site.run_dir / "logs" / "sys" / "node" / "node-0").glob("*.stdout.txt")))


FAILING = {
    "raises": ("raise RuntimeError('no such model')", "RuntimeError: no such model"),
    "leaves": ("os._exit(9)", "left with exit code 9"),
    "crashes": ("os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
}


@thorough
@pytest.mark.parametrize("how", FAILING)
def test_an_init_that_fails_everywhere_ends_the_job_in_one_line(how, site):
    text, reason = FAILING[how]
    site.script(INIT.format(how=text))
    done = site.run("--json", workers=3)
    assert (done.code, done.err.count("\n")) == (1, 1), done.err
    assert "init() failed 9 times and succeeded on none of 3 workers" in done.err
    assert reason in done.err
    assert processes(site) == 9
    assert site.journal == []


@long
def test_an_init_that_hangs_everywhere_ends_the_job_after_its_time_limit(site):
    site.script(INIT.format(how="time.sleep(600)"))
    done = site.run("--run-invocation-timeout", 1, workers=2)
    assert done.code == 1
    assert "every worker has been inside init() for more than 33 s" in told(done)["cause"]


NATIVE = """
    import ctypes, os, pathlib, subprocess, sys

    CHILD = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); time.sleep(600)"

    def shutdown():
        pathlib.Path("there").touch()
        subprocess.Popen([sys.executable, "-c", CHILD])
        ctypes.PyDLL(None).sleep(600)

    def run(rows):
        return rows
"""


@thorough
@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_none_is_left_of_workers_that_hang_in_shutdown(how, site):
    """Killed or asked to stop while every worker is in shutdown(), in native code, with children of its own.

    All rows are in the output then: whoever asks for the end gets a completed run at once.
    """
    site.script(NATIVE)
    process = site.begin(workers=3)
    wait_for((site.folder / "there").exists)
    begin = time.monotonic()
    getattr(process, how)()
    done = site.ended(process)
    assert time.monotonic() - begin < 20  # run_invocation_timeout is 60
    if how == "kill":
        site.script(ECHO)
        done = site.resume("--force")
    site.check_complete(done)


@thorough
def test_a_coordinator_killed_while_it_starts_fifty_workers_leaves_none(site):
    process = site.begin(workers=50)
    wait_for(lambda: len(site.command.alive()) > 10)
    process.kill()
    site.ended(process)


@thorough
def test_two_jobs_side_by_side_do_not_touch_each_other(site, tmp_path):
    """One is killed; the other one's workers live on."""
    folder = tmp_path / "other"
    folder.mkdir()
    other = Site(folder)
    numbers(folder / "t.csv", 1_000)
    slow = "import time\ndef run(rows):\n    time.sleep(0.05)\n    return rows\n"
    other.script(slow)
    site.script(slow)
    first, second = site.begin(workers=2), other.begin(workers=2)
    wait_for(lambda: len(site.journal) > 2 and len(other.journal) > 2)
    first.kill()
    site.ended(first)
    other.check_complete(other.ended(second))
    other.end()
    site.check_complete(site.resume())
