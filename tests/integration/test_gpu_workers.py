"""Which GPU each worker gets, seen from inside run(): a machine of eight GPUs behind a stand-in for the driver."""

import csv
import json
import os
from collections import Counter

import pytest
from tests.gpus import environment, needs_cargo
from tests.integration.running import numbers, tries

pytestmark = needs_cargo

CUT = (1, 5)
MASKED = 6
FAULTY = 3
CPUS = sorted(os.sched_getaffinity(0))


def gpu(index):
    return f"GPU-{index}0000000-0000-0000-0000-000000000000"


def mig(index, part):
    return f"MIG-{index}{part}000000-0000-0000-0000-000000000000"


def device(index):
    memory = [80 << 30, 1 << 30]
    parts = [
        {"uuid": mig(index, part), "name": "1g.10gb", "memory": [10 << 30, 0], "gpu_instance": part}
        for part in range(7)
    ]
    return {
        "uuid": gpu(index),
        "name": "H100",
        "memory": memory,
        "ecc_uncorrected": 2 if index == FAULTY else 0,
        "remapped_rows": [0, 0, index == FAULTY, False],
        "clock_events": 0,
        "processes": [],
        "utilization": 50,
        # Near one of the two nodes of memory; the last CPU stands for the second.
        "cpus": [CPUS[0] if index < 4 else CPUS[-1]],
        **({"slices": parts} if index in CUT else {}),
    }


MACHINE = {"driver": "580.1", "devices": [device(index) for index in range(8)]}
MASK = ",".join(str(index) for index in range(8) if index != MASKED)
UNITS = [
    unit
    for index in range(8)
    if index != MASKED
    for unit in ([mig(index, part) for part in range(7)] if index in CUT else [gpu(index)])
]


@pytest.fixture
def gpus(tmp_path):
    """The environment in which eight GPUs are seen, but for the one that is masked."""
    return {**environment(tmp_path / "driver", MACHINE), "CUDA_VISIBLE_DEVICES": MASK}


# No mini-batch ends before every worker has one, so that each leaves its mark. One is killed by its first.
SCRIPT = """
import json, os, signal, time
from pathlib import Path

ME = os.environ["CUDA_VISIBLE_DEVICES"]

def init():
    Path(f"begun-{ME}-{os.getpid()}").touch()

def run(rows):
    if ME == os.environ["VICTIM"] and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    Path(f"ran-{ME}").touch()
    deadline = time.monotonic() + 50
    while len(list(Path.cwd().glob("ran-*"))) < int(os.environ["WORKERS"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    told = {
        "mask": ME,
        "order": os.environ["CUDA_DEVICE_ORDER"],
        "cpus": sorted(os.sched_getaffinity(0)),
        "pid": os.getpid(),
    }
    return [json.dumps(told)] * len(rows)
"""


def told(done):
    return [json.loads(line) for line in done.output.read_text(encoding="utf-8").splitlines()]


def test_every_worker_sees_its_device_and_no_other(tmp_path, batch_score, script, gpus):
    numbers(tmp_path / "t.csv", 100)
    script(SCRIPT)
    victim = mig(5, 3)
    done = batch_score.run(
        *("score.py", "t.csv", "--mini-batch-size", 16, "--append-row-file-name", "out.txt", "--key", "none"),
        **{**gpus, "WORKERS": str(len(UNITS)), "VICTIM": victim},
    )
    assert done.code == 0, done.err
    found = told(done)
    assert {one["mask"] for one in found} == set(UNITS)
    assert {one["order"] for one in found} == {"PCI_BUS_ID"}
    near = {unit: CPUS[0] if int(unit.split("-")[1][0]) < 4 else CPUS[-1] for unit in UNITS}
    assert all(one["cpus"] == [near[one["mask"]]] for one in found)
    begun = [path.name.removeprefix("begun-").rsplit("-", 1)[0] for path in tmp_path.glob("begun-*")]
    assert sorted(begun) == sorted([*UNITS, victim]), "each device once, and that of the killed worker once more"
    assert len({one["pid"] for one in found if one["mask"] == victim}) == 1


def test_the_use_of_the_devices_is_recorded(tmp_path, batch_score, script, gpus):
    numbers(tmp_path / "t.csv", 5)
    script("def run(rows):\n    return rows\n")
    done = batch_score.run(
        *("score.py", "t.csv", "--gpus", f"2,{mig(5, 0)}", "--gpu-monitor-interval", 0.05, "--run-dir", "r"), **gpus
    )
    assert done.code == 0, done.err
    [table] = done.logs.rglob("gpu_resource_usage.csv")
    header, *rows = (line.split(",") for line in table.read_text(encoding="utf-8").splitlines())
    at = {name: place for place, name in enumerate(header)}
    assert {(row[at["Uuid"]], row[at["Process"]]) for row in rows} == {
        (gpu(2), "process000"),
        (mig(5, 0), "process001"),
    }
    assert {row[at["Gpu Percent"]] for row in rows if row[at["Uuid"]] == gpu(2)} == {"50"}
    assert "  GPU 50 %\n" in (done.logs / "sys" / "master_role.txt").read_text()
    times = json.loads((done.run_dir / "run.json").read_text(encoding="utf-8"))["times"]
    assert {(one["process"], one["device"]) for one in times} == {("process000", gpu(2)), ("process001", mig(5, 0))}
    assert sum(one["tries"] for one in times) == 1
    with (done.logs / "sys" / "job_report" / "processed_mini-batches.csv").open(encoding="utf-8") as file:
        [row] = csv.DictReader(file)
    assert row["Device"] in (gpu(2), mig(5, 0))
    assert float(row["Read Seconds"]) > 0


def plan(batch_score, gpus, *arguments):
    done = batch_score("gpus", "--json", *arguments, **gpus)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    return [worker["device"] for worker in report["workers"]], report["warnings"]


def test_what_each_worker_would_get_is_told_with_what_is_wrong(batch_score, gpus):
    devices, warnings = plan(batch_score, gpus)
    assert devices == UNITS
    assert [warning.removeprefix(f"GPU 3 ({gpu(FAULTY)}) ") for warning in warnings] == [
        "has counted 2 uncorrectable memory errors: results are in doubt",
        "uses rows of memory that are known to be faulty until it is reset: results are in doubt",
    ]


def test_gpus_can_be_chosen_and_shared(batch_score, gpus):
    assert plan(batch_score, gpus, "--gpus", "4,0")[0] == [gpu(4), gpu(0)]
    assert plan(batch_score, gpus, "--gpus", f"1,{gpu(7)[:6]}")[0] == [*(mig(1, part) for part in range(7)), gpu(7)]
    devices, warnings = plan(batch_score, gpus, "--gpus", "0,2", "--processes-per-gpu", 2)
    assert devices == [gpu(0), gpu(2), gpu(0), gpu(2)]
    assert "4 workers share 2 devices" in warnings[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpus", "6"), "gpus: 6 is no usable GPU; usable are 0 (GPU-00000000"),
        (("--gpus", "0,0"), "gpus: 0 is named twice"),
        (("--gpus", "GPU-"), "is the beginning of several"),
        (("--gpus", "0", "--device", "cpu"), "leave one of them out"),
        (("--processes-per-gpu", 2, "--process-count-per-node", 3), "give one"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line(arguments, words, tmp_path, batch_score, script, gpus):
    numbers(tmp_path / "t.csv", 5)
    done = batch_score("run", script("def run(rows):\n    return rows\n"), "t.csv", *arguments, **gpus)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert words in done.err


# What PyTorch raises. From then on nothing works in this process, as after the real error.
LOSES_ITS_GPU = """
import os
from pathlib import Path

ME = os.environ["CUDA_VISIBLE_DEVICES"]
lost = False

def init():
    Path(f"begun-{os.getpid()}").write_text(ME)

def run(rows):
    global lost
    lost = lost or (20 in rows["id"].values and not Path("lost").exists())
    if lost:
        Path("lost").touch()
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    return rows
"""


def test_a_worker_whose_gpu_is_lost_to_it_is_replaced_and_costs_one_try(tmp_path, batch_score, script, gpus):
    numbers(tmp_path / "t.csv", 60)
    script(LOSES_ITS_GPU)
    done = batch_score.run(
        *("score.py", "t.csv", "--gpus", "2", "--mini-batch-size", 64, "--run-max-try", 2, "--run-dir", "r"), **gpus
    )
    assert done.code == 0, done.err
    assert done.json["items"] == {"total": 60, "succeeded": 60, "failed": 0}
    begun = [path.read_text(encoding="utf-8") for path in tmp_path.glob("begun-*")]
    assert begun == [gpu(2)] * 2, "another process on the same device"
    statuses = Counter(row["Status"] for row in tries(done.run_dir))
    assert statuses["RUN_EXCEPTION"] == 1
    assert set(statuses) == {"RUN_DONE", "RUN_EXCEPTION"}
    log = (done.logs / "sys" / "node" / "node-0" / "process000.txt").read_text(encoding="utf-8")
    assert "the GPU cannot be used any more by this process" in log
