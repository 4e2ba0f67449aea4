"""The benchmarks run as ordinary tests, refuse what would make their figures worthless, and can be recorded."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benches import record, texts

from batch_score._native import TextPlan

ROOT = Path(__file__).resolve().parents[1]
AS_DEBUG_BUILD = (
    "import sys, pytest, batch_score._native as native; native.debug_build = True; "
    "sys.exit(pytest.main(['benches', '--collect-only', '-q']))"
)


def python(*arguments):
    """Runs this interpreter in the root of the repository."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "BATCH_SCORE_BENCH_MB": "2"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_every_benchmark_gives_right_answers():
    done = python("-m", "pytest", "benches", "--benchmark-disable", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^30 passed in", done.stdout, re.MULTILINE), done.stdout  # none skipped, none lost


def test_a_debug_build_is_refused():
    done = python("-c", AS_DEBUG_BUILD)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "debug build" in done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.json"
    python("-m", "pytest", "benches/bench_plan.py", "-k", "alone or quoted", "-q", f"--benchmark-json={path}")
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_record_can_be_compared(report, tmp_path):
    report["machine_info"]["load_average"] = [0.0, 0.0, 0.0]
    recorded = record.record(report)
    path = record.place(recorded, "some-machine", tmp_path)
    assert re.fullmatch(r"some-machine/\d{4}-\d\d-\d\d\.json", str(path.relative_to(tmp_path)))
    path.parent.mkdir()
    path.write_text(json.dumps(recorded), encoding="utf-8")
    done = python("-m", "pytest_benchmark", "compare", str(path))
    assert done.returncode == 0, done.stderr
    assert "test_reading_alone" in done.stdout
    assert report["machine_info"]["node"] not in json.dumps(recorded)
    figures = {one["name"]: one["extra_info"] for one in recorded["benchmarks"]}
    assert figures["test_delimited_text[quoted]"]["gb_per_s"] > 0


def test_a_busy_machine_is_not_recorded(report):
    report["machine_info"]["load_average"] = [1e3, 0.0, 0.0]
    with pytest.raises(record.RecordError, match="busy"):
        record.record(report)


@pytest.mark.parametrize("shift", [(0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (1, -1, 0, 0)])
def test_the_check_of_a_plan_finds_a_wrong_one(tmp_path, shift):
    block = texts.delimited(quoted=True)
    path = block.write(tmp_path / "text.csv", 3_000_000, texts.HEADER)
    where = {"header": len(texts.HEADER), "size": path.stat().st_size, "bound": 1 << 20}
    ranges = [found[1:] for found in TextPlan([str(path)], max_bytes=1 << 20).next_batch(100)]
    block.check(ranges, **where)
    ranges[1] = tuple(value + change for value, change in zip(ranges[1], shift, strict=True))
    with pytest.raises(AssertionError):
        block.check(ranges, **where)
