"""Coordinators and workers are killed or interrupted at random moments, and runs go on to the same result.

A test that fails names its scenario and its seed; the seed draws the moments, the machine adds its own chance.
"""

import signal
import subprocess
import time
from collections import Counter

import pytest
from tests.faults.scenario import RESUME, ROWS, SCENARIOS, by_effort, chance
from tests.integration.running import wait_for

pytestmark = pytest.mark.timeout(300)

SEEDS = by_effort(quick=1, ci=2, full=12)
FORMS = ("csv", "parquet", "files", "stream-to-jsonl", "jsonl-to-text", "summary", "deadly")
# As many kills as a run gets at most, before it may complete.
MOST_KILLS = by_effort(quick=2, ci=3, full=5)


def lasts(process, seconds):
    """Whether a session is still running after so many seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def killed(here, process, seconds, *, everything=False):
    """Kills a coordinator after so many seconds, or all processes of the run; whether it was still there."""
    if lasts(process, seconds):
        workers = here.workers(process) if everything else ()
        process.kill()  # first, or it would count failed tries against what the workers are at
        for worker in workers:
            here.kill_worker(worker)
    return was_killed(here, process)


def was_killed(here, process):
    """Counts a session that has completed its run or was killed, and nothing else."""
    ran = here.ended(process)
    assert ran.code in (0, -signal.SIGKILL), ran.err
    here.counts.cycles += 1
    here.counts.coordinators += ran.code != 0
    return ran.code != 0


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("name", FORMS[: by_effort(quick=2, ci=7, full=7)])
def test_a_coordinator_may_be_killed_at_any_moment(name, seed, place, undisturbed):
    draw = chance(f"{name} {seed}")
    here, seconds = place(name), undisturbed(name)[1]
    for _ in range(draw.randint(2, MOST_KILLS)):
        everything = draw.random() < 0.2
        if not killed(here, here.start(), draw.uniform(0, seconds), everything=everything):
            break
    here.complete()


# In place of the command: the command, but it kills itself before its n-th step on the files of the run directory.
# Steps of the append writer are not among them: what it leaves is what test_tails.py cuts.
STEPPING = """
import os, signal, sys

folder, last = os.path.abspath("r"), {last}
steps = []

def step(event, arguments):
    writes = event in ("os.mkdir", "os.link", "os.rename", "os.remove") or event == "open" and arguments[2] & 3
    if writes and str(arguments[0]).startswith(folder) and "/logs" not in str(arguments[0]):
        steps.append(event)
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(step)
from batch_score.cli import main
main()
"""
MOST_STEPS = 13


@pytest.mark.parametrize("last", by_effort(quick=[3], ci=[2, 3, 4, 7, 10], full=range(1, MOST_STEPS)))
@pytest.mark.parametrize("name", ["parquet", "csv", "summary"][: by_effort(quick=1, ci=1, full=3)])
def test_a_coordinator_may_be_killed_before_each_step_on_its_files(name, last, place):
    here = place(name)
    for _ in range(2):
        was_killed(here, here.start(program=STEPPING.format(last=last)))
    here.complete()


@pytest.mark.parametrize("seed", range(by_effort(quick=1, ci=3, full=12)))
def test_workers_may_be_killed_while_the_job_runs(seed, place, undisturbed):
    draw = chance(f"workers {seed}")
    here, seconds = place("telling"), undisturbed("telling")[1]
    if seed % 2:
        process = here.start()
        kill_workers(here, process, draw)
        killed(here, process, draw.uniform(0, seconds / 2))
    process = here.start()
    kill_workers(here, process, draw)
    assert here.ended(process).code == 0
    here.complete()


def kill_workers(here, process, draw):
    """Kills a worker, and another one, and so on; not so many that one place loses three in a row."""
    for _ in range(draw.randint(1, 4)):
        here.counts.cycles += 1
        if not lasts(process, draw.uniform(0.2, 1.0)):
            return
        if workers := here.workers(process):
            here.kill_worker(draw.choice(workers))


@pytest.mark.parametrize("seed", range(by_effort(quick=1, ci=3, full=12)))
def test_each_item_has_one_end_also_when_workers_are_killed_among_bad_items(seed, place):
    """A part of a mini-batch has one try: an item may fail for a killed worker, but is then told as failed."""
    draw = chance(f"among bad items {seed}")
    here = place("csv")
    here.wanted, wanted = None, here.wanted
    process = here.start()
    kill_workers(here, process, draw)
    killed(here, process, draw.uniform(0, 1))
    process = here.start()
    kill_workers(here, process, draw)
    assert here.ended(process).code == 0
    found = here.found()
    scored = Counter(int(line.split(",")[1]) for line in list(found.rows.elements()) if line != "source,row,id,a,b")
    failed = Counter(item["row"] for item in here.failed_items())
    assert scored + failed == Counter(range(ROWS))
    assert found.rows <= wanted.rows
    assert set(failed) >= {17, 60, 130, 131}


SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143}


@pytest.mark.parametrize("seed", range(by_effort(quick=1, ci=4, full=24)))
def test_a_job_may_be_interrupted_at_any_moment(seed, place, undisturbed):
    """Whatever `run()` has finished by then, or is about to, is in the output; unless a second signal comes."""
    draw = chance(f"interruptions {seed}")
    here, seconds = place("telling"), undisturbed("telling")[1]
    hurried = False
    for _ in range(draw.randint(2, MOST_KILLS)):
        process = here.start()
        sent = interrupt(here, process, draw, seconds)
        ran = here.ended(process)
        # A signal that comes while the interpreter starts, or after the end was told, has its usual effect.
        assert ran.code in (0, *(SIGNALS[number] for number in sent), *(-number for number in sent)), ran.err
        hurried |= len(sent) > 1
        check_interrupted(here, ran, hurried=hurried)
        if ran.code == 0:
            break
    here.complete()


def interrupt(here, process, draw, seconds):
    """Sends a signal at some moment, and now and then another one soon behind it; gives what was sent."""
    sent = []
    here.counts.cycles += 1
    for wait in (draw.uniform(0, seconds), draw.uniform(0, 0.2))[: draw.choice((1, 1, 1, 2))]:
        if lasts(process, wait):
            sent.append(draw.choice(list(SIGNALS)))
            process.send_signal(sent[-1])
            here.counts.signals += 1
    return sent


def check_interrupted(here, ran, *, hurried):
    if ran.out:
        assert ran.json["status"] in ("interrupted" if ran.code else "completed", "completed")
        assert ran.json["status"] == here.record["status"]
        assert ran.json["items"] == here.record["items"]
    told = here.folder / "finished"
    finished = set(told.read_text().split()) if told.exists() else set()
    committed = {line.split(",")[1] for line in here.committed_rows(here.journal)} if here.journal else set()
    here.counts.lost += 0 if hurried else len(finished - committed)
    assert hurried or finished <= committed


@pytest.mark.parametrize("seed", range(by_effort(quick=1, ci=3, full=10)))
def test_of_sessions_at_the_same_time_one_works(seed, place):
    """Two resume, or two begin: one of them does it, and the other says why not, in a line."""
    draw = chance(f"at once {seed}")
    here = place("telling")
    if seed % 2 == 0:
        process = here.start()
        wait_for(lambda: len(here.journal) > 1)
        assert killed(here, process, 0)
    arguments = RESUME if seed % 2 == 0 else SCENARIOS["telling"].arguments
    (here.folder / "hold").touch()
    first = here.start(*arguments)
    time.sleep(draw.uniform(0, 0.2))
    second = here.start(*arguments)
    here.counts.cycles += 1
    wait_for(lambda: first.poll() is not None or second.poll() is not None)
    (here.folder / "hold").unlink()
    refused, done = sorted((here.ended(first), here.ended(second)), key=lambda ran: -ran.code)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, "", 1), refused
    assert done.code == 0, done.err
    here.complete()
