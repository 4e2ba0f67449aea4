"""How a worker's death is worded, where the kernel's count of OOM kills is found, and which faults lack memory."""

import os
import signal
import subprocess
import sys

import pytest

from batch_score.job.death import OomCounter, ended_by
from batch_score.job.placing import read_text
from batch_score.worker.messages import BROKEN, CUT_OFF, DEVICE_LOST


@pytest.mark.parametrize(
    ("code", "oom", "words"),
    [
        (0, None, "left with exit code 0"),
        (3, True, "left with exit code 3"),
        (CUT_OFF, None, f"left because its connection to the coordinator broke (exit code {CUT_OFF})"),
        (BROKEN, None, f"left because one of its own threads failed, as its log tells (exit code {BROKEN})"),
        (DEVICE_LOST, None, f"left with exit code {DEVICE_LOST}"),  # blamed is only a script that chose it
        (-signal.SIGKILL, None, "was killed by SIGKILL (out of memory?)"),
        (-signal.SIGKILL, True, "was killed by SIGKILL: the kernel ran out of memory (OOM killer)"),
        (
            *(-signal.SIGKILL, False),
            "was killed by SIGKILL (from outside: kill -9, a job scheduler, a container's limit)",
        ),
        (-signal.SIGSEGV, None, "was killed by SIGSEGV (a crash in native code)"),
        (-signal.SIGSEGV, True, "was killed by SIGSEGV (a crash in native code)"),
        (-signal.SIGABRT, None, "was killed by SIGABRT (native abort)"),
        (-signal.SIGBUS, None, "was killed by SIGBUS (a mapped file was cut short, or /dev/shm is full)"),
        (-signal.SIGTERM, False, "was killed by SIGTERM"),
        (-(signal.SIGRTMIN + 3), None, f"was killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_how_a_process_ended(code, oom, words):
    assert ended_by(code, oom=oom) == words


@pytest.mark.parametrize("number", range(1, 65))
@pytest.mark.parametrize("oom", [None, False, True])
def test_every_signal_can_be_told(number, oom):
    assert ended_by(-number, oom=oom).startswith("was killed by ")


def test_the_exit_codes_of_a_worker_are_of_no_other_meaning():
    assert not {DEVICE_LOST, CUT_OFF, BROKEN} & {value for name, value in vars(os).items() if name.startswith("EX_")}
    assert len({DEVICE_LOST, CUT_OFF, BROKEN}) == 3
    assert max(DEVICE_LOST, CUT_OFF, BROKEN) < 126


EVENTS = "low 0\nhigh 7\nmax 9\noom 5\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 12345\noom_kill {}\nzone_reclaim_failed 0\n"
V2 = "0::/user.slice/session.scope\n"
V1 = "9:name=systemd:/\n4:cpu,memory:/docker/0a1b\n0::/\n"
OWN_V2 = "/sys/fs/cgroup/user.slice/session.scope/memory.events"
OWN_V1 = "/sys/fs/cgroup/memory/docker/0a1b/memory.oom_control"
OLD = "oom_kill_disable 0\nunder_oom 0\n"  # before Linux 4.13


@pytest.mark.parametrize(
    ("cgroup", "counter", "text"),
    [
        (V2, OWN_V2, EVENTS),
        (V2, "/sys/fs/cgroup/user.slice/memory.events", EVENTS),  # the controller stops above
        ("0::/\n", "/sys/fs/cgroup/memory.events", EVENTS),  # a container with a namespace of its own
        (V1, OWN_V1, CONTROL),
        (V1, "/sys/fs/cgroup/memory/memory.oom_control", CONTROL),  # a container on cgroup v1
        (V2, "/proc/vmstat", VMSTAT),
        (V1, "/proc/vmstat", VMSTAT),
        (None, "/proc/vmstat", VMSTAT),
    ],
)
def test_oom_kills_are_found_where_the_kernel_counts_them(cgroup, counter, text):
    files = {"/proc/self/cgroup": cgroup, counter: text.format(2)}
    killed_since = OomCounter(files.get).killed_since
    assert killed_since() is False  # what was before the job is not its own
    files[counter] = text.format(3)
    assert killed_since() is True
    assert killed_since() is False


@pytest.mark.parametrize(("cgroup", "own", "text"), [(V2, OWN_V2, EVENTS), (V1, OWN_V1, CONTROL)])
def test_a_kill_elsewhere_on_the_machine_is_not_told(cgroup, own, text):
    files = {"/proc/self/cgroup": cgroup, own: text.format(0), "/proc/vmstat": VMSTAT.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files["/proc/vmstat"] = VMSTAT.format(1)
    assert killed_since() is False
    files[own] = text.format(1)
    assert killed_since() is True


def test_an_old_kernel_s_file_without_the_count_is_passed_over():
    files = {"/proc/self/cgroup": V1, OWN_V1: OLD, "/proc/vmstat": VMSTAT.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files["/proc/vmstat"] = VMSTAT.format(1)
    assert killed_since() is True


@pytest.mark.parametrize("files", [{}, {"/proc/self/cgroup": V1, OWN_V1: OLD, "/proc/vmstat": "nr_free_pages 1\n"}])
def test_without_a_count_nothing_is_told(files):
    assert OomCounter(files.get).killed_since() is None


def test_a_count_that_cannot_be_read_any_more_tells_nothing():
    files = {"/proc/self/cgroup": V2, OWN_V2: EVENTS.format(0)}
    killed_since = OomCounter(files.get).killed_since
    del files[OWN_V2]
    assert killed_since() is None


def test_each_kill_explains_one_death():
    """Three workers are killed at once, and their ends are seen one after the other."""
    files = {"/proc/self/cgroup": V2, OWN_V2: EVENTS.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files[OWN_V2] = EVENTS.format(2)
    assert killed_since() is True
    files[OWN_V2] = EVENTS.format(3)
    assert [killed_since() for _ in range(3)] == [True, True, False]


def test_this_machine_s_count_does_not_rise_by_itself():
    """Which counter there is depends on the machine; the form of the files is the kernel's."""
    assert OomCounter(read_text).killed_since() in (False, None)


def test_a_real_end_in_words():
    def ended(code):
        return ended_by(subprocess.run([sys.executable, "-c", code], check=False).returncode, oom=None)

    assert ended("import os; os.kill(os.getpid(), 15)") == "was killed by SIGTERM"
    assert ended("import sys; sys.exit(4)") == "left with exit code 4"
