"""A wall clock that jumps by hours, forward and back, while the monotonic clock goes on as it should."""

import csv
from datetime import datetime

import pytest
from tests.faults.surroundings.site import compiled, needs_compiler, thorough
from tests.integration.running import tries

SCRIPT = """
    import os, time

    def run(rows):
        time.sleep(0.02)
        if rows["id"].iloc[0] == 0 and not os.path.exists("failed"):
            os.mkdir("failed")
            raise ValueError("once")
        return rows
"""
YEARS_BACK = -1_400_000_000


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return compiled("clock_shim.c", tmp_path_factory.mktemp("shim"))


@needs_compiler
@pytest.mark.parametrize("base", [pytest.param(0, marks=thorough), YEARS_BACK])
def test_a_clock_that_jumps_changes_nothing_but_the_times_in_the_logs(base, site, shim):
    """Time limits far below the jumps: they are of another clock."""
    site.script(SCRIPT)
    limits = ("--run-invocation-timeout", 20, "--task-overhead-timeout", 20, "--progress-update-timeout", 40)
    environment = {"LD_PRELOAD": str(shim), "CLOCK_JUMP_BASE": str(base)}
    done = site.run(*limits, "--resource-monitor-interval", 0.2, workers=2, environment=environment)
    site.check_complete(done)
    record, rows = site.record, tries(site.run_dir)
    assert 0 < record["elapsed_s"] < 60
    assert [row["Status"] for row in rows].count("RUN_EXCEPTION") == 1
    assert {row["Status"] for row in rows} == {"RUN_EXCEPTION", "RUN_DONE"}
    assert all(0 <= float(row["Elapsed Seconds"]) < 20 for row in rows)
    years = {datetime.fromisoformat(row["Start Time"]).year for row in rows}
    assert years == {datetime.fromisoformat(record["started"]).year}
    assert (min(years) < 1990) == (base == YEARS_BACK)
    with (site.run_dir / "logs/sys/job_report/process_summary.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert row["First Start Time"] <= row["Last Start Time"]


@needs_compiler
@thorough
@pytest.mark.parametrize("engine", ["local", "inline"])
def test_progress_is_shown_and_a_run_goes_on_in_an_earlier_year(engine, site, shim):
    site.script("""
        import pathlib

        def run(rows):
            if rows["id"].iloc[0] > 500 and not pathlib.Path("mended").exists():
                raise ValueError("not yet")
            return rows
    """)
    jumping = {"LD_PRELOAD": str(shim)}
    fixed = ("score.py", "t.csv", "--run-dir", "r", "--mini-batch-size", "1KB", "--process-count-per-node", 1)
    options = ("--run-max-try", 1, "--error-threshold", 0, "--engine", engine)
    failed = site.ended(site.start("run", *fixed, *options, environment=jumping))
    assert failed.code == 1
    assert "rows/s" in failed.err
    (site.folder / "mended").touch()
    done = site.resume("--error-threshold", -1, environment={**jumping, "CLOCK_JUMP_BASE": str(YEARS_BACK)})
    assert done.code == 0, done.err
    assert site.items["total"] == 1_000
