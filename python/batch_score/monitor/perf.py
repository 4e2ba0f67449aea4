"""The perf files of one node: tables that grow by a sample, and lists of processes."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import psutil

from batch_score.logs.text import one_line, replace_text, utc_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

    from batch_score.logs.tree import LogTree
    from batch_score.monitor.sample import Row

NODE_COLUMNS = (
    "Utc Time",
    "Cpu Percent",
    "Memory Total (MB)",
    "Memory Available (MB)",
    "Memory Used (MB)",
    "Memory Used Percent",
    "Disk Io Read Count",
    "Disk Io Write Count",
    "Disk Io Read (MB)",
    "Disk Io Write (MB)",
    "Network Sent (MB)",
    "Network Recv (MB)",
    "# of TCP Connections",
    "# of UDP Connections",
)
DISK_COLUMNS = (
    "Utc Time",
    "Disk (/) Total (MB)",
    "Disk (/) Used (MB)",
    "Disk (/) Free (MB)",
    "Disk (/) Used Percent",
)
PROCESS_COLUMNS = (
    "Utc Time",
    "Name",
    "Cpu Percent",
    "Cpu Time User",
    "Cpu Time System",
    "Memory Used Percent",
    "Disk Io Read Count",
    "Disk Io Write Count",
    "Disk Io Read (MB)",
    "Disk Io Write (MB)",
    "Thread Num",
)
GPU_COLUMNS = (
    "Utc Time",
    "Device",
    "Uuid",
    "Process",
    "Gpu Percent",
    "Memory Total (MB)",
    "Memory Used (MB)",
    "Power (W)",
    "Temperature (C)",
    "Sm Clock (MHz)",
    "Memory Clock (MHz)",
    "Throttle Reasons",
)
_PS_FIELDS = "pid,ppid,user,pcpu,pmem,rss,nlwp,stat,etime,args"
_PS_LIMIT_S = 10.0
# Where a value ends in a line of arguments nobody can tell, so all that follows is left out.
_VARIABLE = re.compile(r"(--environment-variables[= ][^\s=]*=).*")


class PerfFiles:
    """Appends samples to the perf tables of a node. A table without samples is not made.

    Every method raises OSError when its file cannot be written.

    Args:
        tree: The log tree as the node sees it.
    """

    def __init__(self, tree: LogTree) -> None:
        self._tree = tree

    def node(self, moment: datetime, row: Row) -> None:
        """Appends to `node_resource_usage.csv`."""
        _append(self._tree.node_resource_usage, NODE_COLUMNS, moment, [row])

    def disk(self, moment: datetime, row: Row) -> None:
        """Appends to `node_disk_usage.csv`."""
        _append(self._tree.node_disk_usage, DISK_COLUMNS, moment, [row])

    def processes(self, moment: datetime, rows: Iterable[Row]) -> None:
        """Appends to `processes_resource_usage.csv`, a row per process."""
        _append(self._tree.processes_resource_usage, PROCESS_COLUMNS, moment, rows)

    def gpus(self, moment: datetime, rows: Iterable[Row]) -> None:
        """Appends to `gpu_resource_usage.csv`, a row per GPU."""
        _append(self._tree.gpu_resource_usage, GPU_COLUMNS, moment, rows)

    def process_list(self, moment: datetime) -> None:
        """Writes the list of all processes, unless this minute has one."""
        path = self._tree.process_list(moment)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, without_variables(process_list()))


def without_variables(processes: str) -> str:
    """A process list without the values of `--environment-variables`, which may be secrets, and what follows them."""
    return _VARIABLE.sub(r"\1...", processes)


def process_list() -> str:
    """All processes of the machine as `ps` prints them; a shorter table where there is no such `ps`."""
    program = shutil.which("ps")
    if program is not None:
        try:
            done = subprocess.run([program, "-eo", _PS_FIELDS], capture_output=True, timeout=_PS_LIMIT_S, check=True)
        except (OSError, subprocess.SubprocessError):
            pass  # the ps of a small container knows other options: the table below says the same
        else:
            return done.stdout.decode(errors="backslashreplace")
    return plain_process_list()


def plain_process_list() -> str:
    """All processes, a line each: pid, ppid, resident memory in KiB, threads, state and command.

    Line breaks in an argument (`python -c`) become blanks, as a real `ps` does it too.
    """
    lines = [f"{'PID':>8} {'PPID':>8} {'RSS':>10} {'NLWP':>5} {'STAT':<10} COMMAND"]
    for process in psutil.process_iter(["pid", "ppid", "memory_info", "num_threads", "status", "name", "cmdline"]):
        info = process.info
        rss = info["memory_info"].rss // 1024 if info["memory_info"] else ""
        command = one_line(" ".join(info["cmdline"] or ()) or f"[{info['name']}]")
        threads = info["num_threads"] or ""
        lines.append(f"{info['pid']:>8} {info['ppid']:>8} {rss:>10} {threads:>5} {info['status']:<10} {command}")
    return "\n".join(lines) + "\n"


def _append(path: Path, columns: tuple[str, ...], moment: datetime, rows: Iterable[Row]) -> None:
    time = utc_text(moment.timestamp())
    stamped = [(time, *row) for row in rows]
    if not stamped:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(columns)
        writer.writerows(stamped)
