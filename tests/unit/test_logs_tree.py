import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from batch_score.logs.tree import LogTree, node_address

ROOT = Path("logs")

LAYOUT = {
    "readme": "logs/readme.txt",
    "job_progress_overview": "logs/job_progress_overview.txt",
    "job_result": "logs/job_result.txt",
    "master_role": "logs/sys/master_role.txt",
    "processed_mini_batches": "logs/sys/job_report/processed_mini-batches.csv",
    "process_summary": "logs/sys/job_report/process_summary.csv",
    "node_summary": "logs/sys/job_report/node_summary.csv",
    "entry_script_folder": "logs/user/entry_script_log/n",
    "user_errors": "logs/user/error.txt",
    "node_disk_usage": "logs/perf/n/node_disk_usage.csv",
    "node_resource_usage": "logs/perf/n/node_resource_usage.csv",
    "processes_resource_usage": "logs/perf/n/processes_resource_usage.csv",
    "gpu_resource_usage": "logs/perf/n/gpu_resource_usage.csv",
}
PER_PROCESS = {
    "system_error": "logs/sys/error/n.process000.txt",
    "worker_log": "logs/sys/node/n/process000.txt",
    "worker_stdout": "logs/sys/node/n/process000.stdout.txt",
    "worker_stderr": "logs/sys/node/n/process000.stderr.txt",
    "entry_script_log": "logs/user/entry_script_log/n/process000.log.txt",
    "user_stdout": "logs/user/stdout/n/process000.stdout.txt",
    "user_stderr": "logs/user/stderr/n/process000.stderr.txt",
    "user_error": "logs/user/error/n/process000.txt",
}


@pytest.mark.parametrize(("name", "path"), LAYOUT.items())
def test_job_files_lie_where_the_contract_says(name, path):
    assert getattr(LogTree(ROOT, "n"), name) == Path(path)


@pytest.mark.parametrize(("name", "path"), PER_PROCESS.items())
def test_worker_files_lie_where_the_contract_says(name, path):
    assert getattr(LogTree(ROOT, "n"), name)("process000") == Path(path)


def test_process_lists_are_filed_by_hour_and_minute():
    moment = datetime(2020, 10, 24, 2, 59, 4, tzinfo=UTC)
    assert LogTree(ROOT, "n").process_list(moment) == Path("logs/perf/n/os/2020102402/processes_59")


def test_create_makes_every_folder_and_no_file_but_the_readme(tmp_path):
    tree = LogTree(tmp_path / "logs", "n")
    tree.create()
    tree.create()
    for name in LAYOUT:
        assert getattr(tree, name).parent.is_dir(), name
    for name in PER_PROCESS:
        assert getattr(tree, name)("process000").parent.is_dir(), name
    assert [path for path in tree.root.rglob("*") if path.is_file()] == [tree.readme]


def test_the_readme_names_every_file_of_the_tree(tmp_path):
    tree = LogTree(tmp_path, "<node>")
    tree.create()
    text = tree.readme.read_text()
    paths = [getattr(tree, name) for name in LAYOUT if name not in {"readme", "entry_script_folder"}]
    paths += [getattr(tree, name)("<process>") for name in PER_PROCESS if name not in {"system_error", "profile"}]
    missing = [path.name for path in paths if path.name.removeprefix("<process>") not in text]
    assert missing == []


def test_on_changes_the_node_only():
    tree = LogTree(ROOT, "n").on("m")
    assert tree == LogTree(ROOT, "m")


def test_node_address_is_an_ipv4_address():
    assert re.fullmatch(r"\d+(\.\d+){3}", node_address())
