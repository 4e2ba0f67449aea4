"""Workers that cannot speak or listen, because native code holds their interpreter: time limits hold all the same."""

import subprocess

import pytest
from tests.faults.surroundings.site import thorough
from tests.integration.running import wait_for

# The second mini-batch takes the interpreter for good while the encoding thread is sending the result of the first.
MUTE = """
    import ctypes, sys, time

    def sending():
        return any(frame.f_code.co_name == "_send" for frame in sys._current_frames().values())

    def run(rows):
        if rows["id"].iloc[0] == 1:
            while not sending():
                time.sleep(0)
            ctypes.PyDLL(None).sleep(600)
        return ["x" * 20_000_000 if rows["id"].iloc[0] == 0 else "y"] * len(rows)
"""
LIMITS = ("--run-invocation-timeout", 2, "--run-max-try", 1)


def check_one_failed(site, done):
    assert done.code == 0, done.err
    assert site.failed_rows == [1]
    assert "run_invocation_timeout" in site.failed_items[0]["message"]
    assert len(site.lines) == 1 + 20 - 1


def test_a_worker_that_falls_silent_in_the_middle_of_a_message_is_killed_in_time(site):
    """The coordinator must not wait for the rest of it."""
    site.table(20)
    site.script(MUTE)
    check_one_failed(site, site.run(*LIMITS, size=1, timeout=40))


@thorough
def test_a_job_with_a_worker_that_has_fallen_silent_can_be_interrupted(site):
    site.table(20)
    site.script(MUTE)
    process = site.begin(size=1)
    wait_for(lambda: "process000 is ready" in site.master_log)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)
    process.terminate()
    assert site.ended(process, timeout=30).code == 143


@thorough
def test_a_worker_that_does_not_listen_is_killed_in_time(site):
    """Tasks name thousands of files, more than any pipe holds."""
    folder = site.folder / "in"
    folder.mkdir()
    for number in range(12_000):
        (folder / f"{number:0200}").touch()
    site.script("""
        import ctypes

        def run(paths):
            if paths[0].endswith("00000"):
                ctypes.PyDLL(None).sleep(600)
            return [1] * len(paths)
    """)
    done = site.run(*LIMITS, "--on-failure", "skip", source="in", size=3_000, timeout=60)
    assert done.code == 0, done.err
    assert site.items == {"total": 12_000, "succeeded": 9_000, "failed": 3_000}
