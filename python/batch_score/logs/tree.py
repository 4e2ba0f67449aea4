"""Where every log file of a run lies, as the ParallelRunStep contract lays them out."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

README = """\
What lies in this folder. <node> is one name per machine, <process> a worker (process000, process001, ...).
A worker that dies is replaced under a new number. All times are UTC, "MB" in the perf tables is 2**20 bytes.

Start here
  job_result.txt               how the run ended, where the output is; if it failed: why, and where to read on
  job_progress_overview.txt    how far the run is (rewritten while it runs)
  user/error.txt               one line per error of the entry script: time|process|node|message

What the entry script left
  user/error/<node>/<process>.txt                       full tracebacks of import, init(), run(), shutdown()
  user/stdout/<node>/<process>.stdout.txt               print()
  user/stderr/<node>/<process>.stderr.txt               sys.stderr and the root logger
  user/entry_script_log/<node>/<process>.log.txt        EntryScript().logger

What batch-score itself did
  sys/master_role.txt                                   coordinator: time|level|pid|thread|message
  sys/job_report/processed_mini-batches.csv             one row per try of a mini-batch
  sys/job_report/process_summary.csv, node_summary.csv  its sums per worker and per node
  sys/node/<node>/<process>.txt                         worker: one line per mini-batch, and its own messages
  sys/node/<node>/<process>.stdout.txt, .stderr.txt     what libraries and child processes wrote past Python
  sys/node/<node>/<process>.profile                     for Python's pstats, with profiling_module
  sys/error/                                            failures that are not the entry script's

What the machine was doing (one sample every resource_monitor_interval seconds, 0 turns it off)
  perf/<node>/node_resource_usage.csv, node_disk_usage.csv, processes_resource_usage.csv
  perf/<node>/gpu_resource_usage.csv                    only where there are GPUs
  perf/<node>/os/<YYYYmmddHH>/processes_<MM>            the process list, at most one per minute
Counts and megabytes of disk and network are running totals: since the machine started for a node, since the
process started for a process. The CPU percentage of a process is of one core, so it can exceed 100.

A file that nobody wrote to does not exist, but for the .stdout.txt and .stderr.txt of sys.
"""

COORDINATOR = "manager"  # what the ParallelRunStep contract calls the coordinator among the processes


def process_name(worker: int) -> str:
    """What a worker is called in the tree and in reports, by its number: `process000`."""
    return f"process{worker:03d}"


@dataclass(frozen=True, slots=True)
class LogTree:
    """The log files of a run as one node sees them.

    Attributes:
        root: The `logs` folder of the run directory.
        node: Stable name of the node, `node-0` for a local run.
    """

    root: Path
    node: str

    def on(self, node: str) -> LogTree:
        """The same tree as another node sees it."""
        return replace(self, node=node)

    def create(self) -> None:
        """Makes the folders of this node and writes `readme.txt`; does no harm when they exist."""
        for folder in (
            self.process_summary.parent,
            self.system_error("").parent,
            self.worker_log("").parent,
            self.entry_script_folder,
            self.user_stdout("").parent,
            self.user_stderr("").parent,
            self.user_error("").parent,
            self.node_disk_usage.parent,
        ):
            folder.mkdir(parents=True, exist_ok=True)
        self.readme.write_text(README, encoding="utf-8")

    @property
    def readme(self) -> Path:
        """This layout in words."""
        return self.root / "readme.txt"

    @property
    def job_progress_overview(self) -> Path:
        """How far the run is."""
        return self.root / "job_progress_overview.txt"

    @property
    def job_result(self) -> Path:
        """How the run ended."""
        return self.root / "job_result.txt"

    @property
    def master_role(self) -> Path:
        """The coordinator's own log."""
        return self.root / "sys" / "master_role.txt"

    @property
    def processed_mini_batches(self) -> Path:
        """One row per try of a mini-batch."""
        return self.root / "sys" / "job_report" / "processed_mini-batches.csv"

    @property
    def process_summary(self) -> Path:
        """The tries summed per worker."""
        return self.root / "sys" / "job_report" / "process_summary.csv"

    @property
    def node_summary(self) -> Path:
        """The tries summed per node."""
        return self.root / "sys" / "job_report" / "node_summary.csv"

    def system_error(self, process: str) -> Path:
        """Failures of the system side; `process` is a worker or `manager`."""
        return self.root / "sys" / "error" / f"{self.node}.{process}.txt"

    def worker_log(self, process: str) -> Path:
        """What batch-score did in a worker, one line per mini-batch."""
        return self.root / "sys" / "node" / self.node / f"{process}.txt"

    def worker_stdout(self, process: str) -> Path:
        """File descriptor 1 of a worker, which its child processes inherit."""
        return self.root / "sys" / "node" / self.node / f"{process}.stdout.txt"

    def worker_stderr(self, process: str) -> Path:
        """File descriptor 2 of a worker, which its child processes inherit."""
        return self.root / "sys" / "node" / self.node / f"{process}.stderr.txt"

    def profile(self, process: str) -> Path:
        """The profile of a worker's script."""
        return self.root / "sys" / "node" / self.node / f"{process}.profile"

    @property
    def entry_script_folder(self) -> Path:
        """`EntryScript().log_dir`: where an entry script may put log files of its own."""
        return self.root / "user" / "entry_script_log" / self.node

    def entry_script_log(self, process: str) -> Path:
        """`EntryScript().logger`."""
        return self.entry_script_folder / f"{process}.log.txt"

    def user_stdout(self, process: str) -> Path:
        """`sys.stdout` of a worker."""
        return self.root / "user" / "stdout" / self.node / f"{process}.stdout.txt"

    def user_stderr(self, process: str) -> Path:
        """`sys.stderr` and the root logger of a worker."""
        return self.root / "user" / "stderr" / self.node / f"{process}.stderr.txt"

    @property
    def user_errors(self) -> Path:
        """One line per error of the entry script, written by every process of the run."""
        return self.root / "user" / "error.txt"

    def user_error(self, process: str) -> Path:
        """The full tracebacks of one worker."""
        return self.root / "user" / "error" / self.node / f"{process}.txt"

    @property
    def node_disk_usage(self) -> Path:
        """Samples of the disk."""
        return self.root / "perf" / self.node / "node_disk_usage.csv"

    @property
    def node_resource_usage(self) -> Path:
        """Samples of CPU, memory, input and output, and connections."""
        return self.root / "perf" / self.node / "node_resource_usage.csv"

    @property
    def processes_resource_usage(self) -> Path:
        """Samples of the coordinator and the workers."""
        return self.root / "perf" / self.node / "processes_resource_usage.csv"

    @property
    def gpu_resource_usage(self) -> Path:
        """Samples of the GPUs."""
        return self.root / "perf" / self.node / "gpu_resource_usage.csv"

    def process_list(self, moment: datetime) -> Path:
        """The process list taken at `moment` (UTC)."""
        return self.root / "perf" / self.node / "os" / f"{moment:%Y%m%d%H}" / f"processes_{moment:%M}"


def node_address() -> str:
    """This machine's IPv4 address on its way out, or 127.0.0.1 where there is none; sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # An address reserved for documentation: connecting a datagram socket only picks the route.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])
