"""The guard: a process ends with its parent, whatever its interpreter is at."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from batch_score._native import guard

MESSAGE = b"the coordinator is gone; leaving\n"
# A parent that starts a guarded child with the code given and prints its process id.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str({parent})], start_new_session=True, stderr={stderr})
print(child.pid, flush=True)
time.sleep(600)
"""
GUARDED = (
    "import sys\nfrom batch_score._native import guard\nguard(int(sys.argv[1]))\nimport ctypes, os, subprocess, time\n"
)


class Family:
    """A parent and its guarded child, which tells on stdout that it is where it should be."""

    def __init__(self, code, stderr="None"):
        program = PARENT.format(parent="__import__('os').getpid()", stderr=stderr)
        command = [sys.executable, "-c", program, GUARDED + code]
        self.parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.child = psutil.Process(int(self.line()))

    def line(self):
        return self.parent.stdout.readline()

    def kill_parent(self):
        self.parent.kill()
        self.parent.wait()

    def close(self):
        self.parent.kill()
        self.parent.communicate()


@pytest.fixture
def family():
    """Starts a family; whatever is left of it is killed."""
    families = []

    def start(code, **options):
        families.append(Family(code, **options))
        return families[-1]

    yield start
    for one in families:
        if one.child.is_running():
            os.killpg(one.child.pid, signal.SIGKILL)
        one.close()


def gone(process, within=3.0):
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


HOLDS = {
    "sleeps": "print('there', flush=True)\ntime.sleep(600)\n",
    "holds the interpreter": "print('there', flush=True)\nctypes.PyDLL(None).sleep(600)\n",
    "blocks every signal": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
        "print('there', flush=True)\ntime.sleep(600)\n"
    ),
    "has closed every descriptor": "print('there', flush=True)\nos.closerange(0, 1024)\ntime.sleep(600)\n",
    "waits for a full stderr": (
        "read, write = os.pipe()\nos.dup2(write, 2)\nos.set_blocking(2, False)\n"
        "try:\n    while True:\n        os.write(2, b'x' * 4096)\n"
        "except BlockingIOError:\n    os.set_blocking(2, True)\n"
        "print('there', flush=True)\ntime.sleep(600)\n"
    ),
    "gets signals": (
        "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n"
        "for _ in range(100):\n    os.kill(os.getpid(), signal.SIGUSR1)\n"
        "print('there', flush=True)\ntime.sleep(600)\n"
    ),
}


@pytest.mark.parametrize("what", HOLDS)
def test_a_process_ends_with_its_parent_while_it(what, family):
    one = family(HOLDS[what])
    assert one.line() == b"there\n"
    time.sleep(0.3)
    assert one.child.is_running()
    one.kill_parent()
    assert gone(one.child)


def test_the_leader_of_a_group_takes_the_group_along(family):
    one = family("print(subprocess.Popen(['sleep', '600']).pid, flush=True)\ntime.sleep(600)\n")
    other = psutil.Process(int(one.line()))
    one.kill_parent()
    assert gone(one.child)
    assert gone(other)


def test_a_member_of_another_s_group_leaves_alone(family):
    """The guarded process is a child of the leader here, in the leader's group with a process of the leader's."""
    member = f"{GUARDED}print('there', flush=True)\ntime.sleep(600)\n"
    one = family(
        "print(subprocess.Popen(['sleep', '600']).pid, flush=True)\n"
        f"member = subprocess.Popen([sys.executable, '-c', {member!r}, str(os.getpid())])\n"
        "print(member.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    other, guarded = psutil.Process(int(one.line())), psutil.Process(int(one.line()))
    assert one.line() == b"there\n"
    one.child.kill()
    assert gone(guarded)
    assert other.is_running()


def test_it_says_why_on_stderr(family):
    one = family(HOLDS["sleeps"])
    assert one.line() == b"there\n"
    one.kill_parent()
    assert gone(one.child)
    assert one.parent.stderr.read() == MESSAGE


@pytest.mark.parametrize("parent", ["os.getpid()", "0", "2**32 - 1", "2**31 - 1"])
def test_a_process_of_another_parent_leaves_at_once(parent):
    code = f"import os\nfrom batch_score._native import guard\nguard({parent})\nprint('went on')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, start_new_session=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGKILL, b"", MESSAGE)


def test_a_process_id_is_a_number_that_fits():
    with pytest.raises(OverflowError):
        guard(-1)


def test_the_guard_is_one_thread_that_sleeps():
    code = """
import os, time
from batch_score._native import guard
before = len(os.listdir("/proc/self/task"))
guard(os.getppid())
begin = time.process_time()
time.sleep(0.5)
spent = time.process_time() - begin
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
print(len(names) - before, "guard" in names, spent < 0.05)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1 True True\n"
