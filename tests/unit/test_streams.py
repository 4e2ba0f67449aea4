"""Standard streams that are closed, full or of a narrow encoding."""

import os
import subprocess
import sys

import pytest

PATH = os.pathsep.join(path for path in sys.path if path)


def shell(code, redirected="", **environment):
    """Runs Python code with streams that a shell has redirected."""
    return subprocess.run(
        ["/bin/sh", "-c", f'"$0" -c "$1" {redirected}', sys.executable, code],
        env={**os.environ, "PYTHONPATH": PATH, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


PREPARED = "from batch_score.cli.streams import prepare_streams, print_end\nprepare_streams()\n"


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_a_closed_stream_takes_what_is_printed_and_no_file_gets_its_place(closed, tmp_path):
    code = f"""{PREPARED}
import os, sys
path = {str(tmp_path / "opened")!r}
with open(path, "w") as file:
    assert file.fileno() > 2
    print("nowhere")
    print("nor here", file=sys.stderr, flush=True)
    os.write(1, b"x")
    os.write(2, b"x")
assert open(path).read() == ""
"""
    done = shell(code, closed)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


def test_what_an_encoding_has_no_character_for_is_shown_all_the_same():
    done = shell(f"{PREPARED}print_end('caf\\u00e9 \\ud83d \\udcff')", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "caf\\xe9 \\ud83d \\udcff\n")
    done = shell(f"{PREPARED}print_end('caf\\u00e9 \\ud83d \\udcff')", PYTHONIOENCODING="utf-8:strict")
    assert (done.returncode, done.stdout) == (0, "café \\ud83d \\udcff\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")  # noqa: PTH110 - as a condition
def test_a_full_stdout_changes_nothing_about_how_a_command_ended():
    done = shell(f"{PREPARED}print_end('the end')", ">/dev/full")
    assert done.returncode == 0
    assert done.stderr == "batch-score: warning: stdout cannot be written: [Errno 28] No space left on device\n"
