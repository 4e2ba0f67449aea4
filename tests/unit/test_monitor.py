import csv
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import psutil
import pytest

from batch_score.logs.tree import LogTree
from batch_score.monitor.monitor import Monitor
from batch_score.monitor.perf import PerfFiles, plain_process_list, process_list, without_variables
from batch_score.monitor.sample import GpuSample, NodeReader, ProcessReader, disk_row

COLUMNS = {
    "node_resource_usage": [
        "Utc Time", "Cpu Percent", "Memory Total (MB)", "Memory Available (MB)", "Memory Used (MB)",
        "Memory Used Percent", "Disk Io Read Count", "Disk Io Write Count", "Disk Io Read (MB)", "Disk Io Write (MB)",
        "Network Sent (MB)", "Network Recv (MB)", "# of TCP Connections", "# of UDP Connections",
    ],
    "node_disk_usage": [
        "Utc Time", "Disk (/) Total (MB)", "Disk (/) Used (MB)", "Disk (/) Free (MB)", "Disk (/) Used Percent",
    ],
    "processes_resource_usage": [
        "Utc Time", "Name", "Cpu Percent", "Cpu Time User", "Cpu Time System", "Memory Used Percent",
        "Disk Io Read Count", "Disk Io Write Count", "Disk Io Read (MB)", "Disk Io Write (MB)", "Thread Num",
    ],
    "gpu_resource_usage": [
        "Utc Time", "Device", "Uuid", "Process", "Gpu Percent", "Memory Total (MB)", "Memory Used (MB)", "Power (W)",
        "Temperature (C)", "Sm Clock (MHz)", "Memory Clock (MHz)", "Throttle Reasons",
    ],
}  # fmt: skip
MOMENT = datetime(2020, 10, 24, 2, 59, 4, 227237, tzinfo=UTC)
GPU = GpuSample(0, "GPU-1", "process000", 93.0, 8 * 2**30, 2**30, 250.5, 61.0, 1980, 3201, "power cap")


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def tree(tmp_path):
    tree = LogTree(tmp_path / "logs", "node-0")
    tree.create()
    return tree


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "import time\n\ntime.sleep(60)"]) as process:
        yield process
        process.kill()


def run_monitor(tree, **changes):
    arguments = {
        "interval_s": 600,
        "gpu_interval_s": 600,
        "processes": lambda: {"manager": os.getpid()},
        "clock": lambda: MOMENT,
    }
    monitor = Monitor(tree, **arguments | changes)
    monitor.start()
    monitor.stop()


def test_every_table_has_the_columns_of_the_contract_once(tree):
    for _ in range(2):
        run_monitor(tree, gpu_samples=lambda: [GPU])
    for name, columns in COLUMNS.items():
        lines = getattr(tree, name).read_text().splitlines()
        assert lines[0].split(",") == columns
        assert len(lines) == 5  # a short job: one sample at the start and one at the end, twice
        assert all(line.startswith("2020-10-24T02:59:04.227237,") for line in lines[1:])


def test_rows_have_a_cell_for_each_column(tree):
    run_monitor(tree, gpu_samples=lambda: [GPU])
    for name, columns in COLUMNS.items():
        for row in read(getattr(tree, name)):
            assert list(row) == columns
            assert None not in row.values()


def test_samples_tell_the_truth_about_the_node():
    reader = NodeReader()
    first, second = reader.row(), reader.row()
    assert first[0] == ""
    assert 0 <= second[0] <= 100
    assert second[1] == pytest.approx(psutil.virtual_memory().total / 2**20, abs=0.01)
    assert disk_row()[0] == pytest.approx(psutil.disk_usage("/").total / 2**20, abs=0.01)


def test_samples_tell_the_truth_about_a_process():
    reader = ProcessReader()
    (first,) = reader.rows({"manager": os.getpid()})
    until = time.perf_counter() + 0.3
    while time.perf_counter() < until:
        pass
    (second,) = reader.rows({"manager": os.getpid()})
    assert second[0] == "manager"
    assert second[1] > 20  # busy all the time, if the machine lets it
    assert second[2] + second[3] - first[2] - first[3] > 0.05
    assert second[-1] >= 1


def test_a_vanished_process_is_skipped(sleeper):
    reader = ProcessReader()
    both = {"manager": os.getpid(), "process000": sleeper.pid}
    assert [row[0] for row in reader.rows(both)] == ["manager", "process000"]
    sleeper.kill()
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert [row[0] for row in reader.rows(both)] == ["manager"]
    sleeper.wait()
    assert [row[0] for row in reader.rows(both)] == ["manager"]
    assert [row[0] for row in ProcessReader().rows(both)] == ["manager"]


def test_a_name_that_passes_to_another_process_is_read_anew(sleeper):
    reader = ProcessReader()
    (mine,) = reader.rows({"process000": os.getpid()})
    (theirs,) = reader.rows({"process000": sleeper.pid})
    assert theirs[2] < mine[2]


def test_unknown_gpu_values_are_empty_cells():
    assert GPU.row() == (0, "GPU-1", "process000", 93.0, 8192.0, 1024.0, 250.5, 61.0, 1980, 3201, "power cap")
    assert GpuSample(1, "MIG-2").row() == (1, "MIG-2", *[""] * 9)


def test_without_gpus_there_is_no_gpu_table(tree):
    run_monitor(tree)
    assert not tree.gpu_resource_usage.exists()


def test_interval_zero_turns_the_monitor_off(tree):
    threads = threading.active_count()
    monitor = Monitor(tree, 0, dict)
    monitor.start()
    assert threading.active_count() == threads
    monitor.stop()
    assert list((tree.root / "perf").rglob("*.csv")) == []


def test_a_negative_interval_is_refused(tree):
    with pytest.raises(ValueError, match="0 or more"):
        Monitor(tree, -1, dict)


def test_samples_are_taken_at_the_interval(tree):
    monitor = Monitor(tree, 0.01, lambda: {"manager": os.getpid()})
    monitor.start()
    until = time.monotonic() + 10
    while not (tree.node_disk_usage.exists() and len(read(tree.node_disk_usage)) > 3):
        assert time.monotonic() < until
        time.sleep(0.01)
    monitor.stop()
    count = len(read(tree.node_disk_usage))
    time.sleep(0.05)
    assert len(read(tree.node_disk_usage)) == count


def test_gpus_are_sampled_at_an_interval_of_their_own(tree):
    monitor = Monitor(tree, 600, dict, gpu_samples=lambda: [GPU], gpu_interval_s=0.01)
    monitor.start()
    until = time.monotonic() + 10
    while not (tree.gpu_resource_usage.exists() and len(read(tree.gpu_resource_usage)) > 3):
        assert time.monotonic() < until
        time.sleep(0.01)
    monitor.stop()
    assert len(read(tree.node_disk_usage)) == 2


def test_gpus_can_be_the_only_ones_that_are_sampled(tree):
    run_monitor(tree, interval_s=0, gpu_samples=lambda: [GPU])
    assert len(read(tree.gpu_resource_usage)) == 2
    assert not tree.node_disk_usage.exists()


def test_a_source_that_fails_is_reported_once_and_the_rest_goes_on(tree, caplog):
    def fail():
        raise RuntimeError("driver gone")

    run_monitor(tree, gpu_samples=fail)
    assert [record.getMessage() for record in caplog.records] == [
        "the resource monitor cannot sample GPUs, the run goes on without: driver gone"
    ]
    assert len(read(tree.processes_resource_usage)) == 2


def test_a_folder_that_cannot_be_written_does_not_end_the_run(tmp_path, caplog):
    (tmp_path / "logs").write_text("a file where the folder should be")
    run_monitor(LogTree(tmp_path / "logs", "node-0"))
    assert "cannot sample node" in caplog.text


def test_the_process_list_is_that_of_ps_once_a_minute(tree):
    files = PerfFiles(tree)
    files.process_list(MOMENT)
    path = tree.process_list(MOMENT)
    assert path == tree.root / "perf" / "node-0" / "os" / "2020102402" / "processes_59"
    assert "PID" in path.read_text().splitlines()[0]
    path.write_text("first of the minute")
    files.process_list(MOMENT)
    assert path.read_text() == "first of the minute"


def assert_lists(text, pid):
    assert str(pid) in [line.split()[0] for line in text.splitlines()]


def test_the_process_list_has_no_values_of_variables(tree, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")  # or ps cuts its lines
    code = "import time; time.sleep(600)"
    options = ["--environment-variables", "TOKEN=s3cret word", "--environment-variables=OTHER=hidden", "--quiet"]
    with subprocess.Popen([sys.executable, "-c", code, "run", *options]) as process:
        PerfFiles(tree).process_list(MOMENT)
        process.kill()
    [line] = [
        line for line in tree.process_list(MOMENT).read_text().splitlines() if line.split()[0] == str(process.pid)
    ]
    assert line.endswith("run --environment-variables TOKEN=...")
    assert without_variables("a --environment-variables=A=b c\nd\n") == "a --environment-variables=A=...\nd\n"


def test_both_kinds_of_process_list_name_this_process(sleeper):
    assert_lists(process_list(), sleeper.pid)
    assert_lists(plain_process_list(), sleeper.pid)


@pytest.mark.parametrize("program", [None, "#!/bin/sh\nexit 1\n"])
def test_a_missing_or_odd_ps_is_replaced(tmp_path, monkeypatch, program):
    if program is not None:
        (tmp_path / "ps").write_text(program)
        (tmp_path / "ps").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert_lists(process_list(), os.getpid())
