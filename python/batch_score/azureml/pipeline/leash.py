"""Runs a command as long as its parent lives: `python leash.py COMMAND...`, with a pipe of the parent's on stdin.

Run by its path and without the package, for it must cost as little as it can. It leads the process group of the
command, and ends as the command does.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def main(command: list[str]) -> int:
    """Runs the command; when the parent has gone, that and everything it has started is killed.

    Returns:
        Its exit code.
    """
    nothing = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=nothing)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the command has it too, and may have something to do yet
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([0, ended], [], [])
    if ended not in ready:
        os.killpg(0, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
