"""Reading GPUs: here without a driver, and through a stand-in for the driver's library."""

import json
import subprocess
import sys

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gpus import environment, needs_cargo

from batch_score.gpu.nvml import cpus_of, gpu_sampler, read_devices, throttle_reasons

# Idle and held down by the power cap; idle alone.
CAPPED, IDLE = 0x5, 0x1
SLICES = [
    {"uuid": uuid, "name": "slice", "memory": [1000, used], "gpu_instance": instance, "compute_instance": 0}
    for uuid, used, instance in (("MIG-cccc", 103, 13), ("MIG-dddd", 104, 14))
]
MACHINE = {
    "driver": "550.1",
    "devices": [
        {
            "uuid": "GPU-aaaa",
            "name": "Stand-in 0",
            "lost_after": 1,
            "memory": [1000, 100],
            "compute_capability": [9, 0],
            "compute_mode": 3,
            "ecc_uncorrected": 5,
            "remapped_rows": [2, 1, True, False],
            "throttle_reasons": CAPPED,
            "processes": [[4000000, 77], [None, None]],
            "cpus": [0, 2],
            "utilization": 42,
            "power_mw": 12500,
            "clocks": [1980, 3201],
        },
        {
            "uuid": "GPU-bbbb",
            "name": "Stand-in 1",
            "clock_events": IDLE,
            "processes": [],
            "slices": [None, SLICES[0], None, SLICES[1]],
        },
        {"lost": True},
        {"uuid": "GPU-dddd", "name": "Seen from a sandbox", "unsaid": 999},
    ],
}
READ = """
import json, os
from dataclasses import asdict
from batch_score.gpu.nvml import gpu_sampler, read_devices
with gpu_sampler() as sampler:
    samples = [[asdict(sample) for sample in sampler.samples()] for _ in range(3)]
print(json.dumps({"inventory": asdict(read_devices()), "samples": samples, "pid": os.getpid()}))
"""


def driver_present():
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return False
    pynvml.nvmlShutdown()
    return True


without_driver = pytest.mark.skipif(driver_present(), reason="this machine has an NVIDIA driver")


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """What a process reads of the machine above, and what it logs."""
    folder = tmp_path_factory.mktemp("nvml")
    done = subprocess.run(
        [sys.executable, "-c", READ],
        env={**environment(folder, MACHINE), "PYTHONPATH": ":".join(sys.path)},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout) | {"log": done.stderr}


@without_driver
def test_a_machine_without_a_driver_has_no_devices_and_says_why():
    inventory = read_devices()
    assert inventory.devices == ()
    assert "no NVIDIA driver was found" in inventory.reason


@without_driver
def test_sampling_without_a_driver_gives_nothing_and_says_why():
    with gpu_sampler() as sampler:
        assert sampler.samples() == []
        assert "no NVIDIA driver was found" in sampler.reason


@pytest.mark.gpu
@pytest.mark.skipif(not driver_present(), reason="needs an NVIDIA GPU")
def test_a_real_gpu_is_read_and_sampled():
    inventory = read_devices()
    assert inventory.reason == ""
    assert inventory.devices
    assert all(device.uuid.startswith("GPU-") for device in inventory.devices)
    with gpu_sampler() as sampler:
        assert {sample.index for sample in sampler.samples()} == {device.index for device in inventory.devices}


@needs_cargo
def test_a_whole_gpu_is_read(read):
    assert read["inventory"]["devices"][0] == {
        "index": 0,
        "uuid": "GPU-aaaa",
        "name": "Stand-in 0",
        "memory_total": 1000,
        "memory_used": 100,
        "compute_capability": [9, 0],
        "mig_enabled": False,
        "slices": [],
        "ecc_uncorrected": 5,
        "row_remap": {"corrected": 2, "uncorrected": 1, "pending": True, "failed": False},
        "compute_mode": "exclusive-process",
        "throttle_reasons": ["power cap"],
        "processes": [4000000],
        "cpu_affinity": [0, 2],
    }


@needs_cargo
def test_a_cut_gpu_has_its_slices_and_none_for_what_the_driver_does_not_say(read):
    device = read["inventory"]["devices"][1]
    assert device["mig_enabled"]
    assert (device["memory_total"], device["ecc_uncorrected"], device["row_remap"]) == (None, None, None)
    assert device["throttle_reasons"] == []
    assert device["slices"] == [
        {
            "uuid": uuid,
            "parent": "GPU-bbbb",
            "memory_total": 1000,
            "memory_used": used,
            "gpu_instance": instance,
            "compute_instance": 0,
        }
        for uuid, used, instance in (("MIG-cccc", 103, 13), ("MIG-dddd", 104, 14))
    ]


@needs_cargo
def test_a_lost_gpu_is_reported_and_hides_no_other(read):
    inventory = read["inventory"]
    assert [device["index"] for device in inventory["devices"]] == [0, 1, 3]
    assert inventory["unreadable"] == ["GPU 2 cannot be opened: GPU is lost"]
    assert (inventory["driver"], inventory["reason"]) == ("550.1", "")


@needs_cargo
def test_a_gpu_that_answers_nothing_but_unknown_errors_can_be_used_all_the_same(read):
    device = read["inventory"]["devices"][2]
    assert (device["uuid"], device["memory_total"], device["processes"]) == ("GPU-dddd", None, [])
    assert all(samples[-1]["uuid"] == "GPU-dddd" for samples in read["samples"])


@needs_cargo
def test_a_sample_holds_use_power_and_processes_and_a_slice_its_memory(read):
    whole, *slices, _ = read["samples"][0]
    assert whole == {
        "index": 0,
        "uuid": "GPU-aaaa",
        "gpu_percent": 42,
        "memory_total": 1000,
        "memory_used": 100,
        "power_w": 12.5,
        "temperature_c": None,
        "sm_clock_mhz": 1980,
        "memory_clock_mhz": 3201,
        "throttle_reasons": ["power cap"],
        "processes": {"4000000": 77, str(read["pid"]): None},
    }
    assert [(part["uuid"], part["memory_used"], part["gpu_percent"]) for part in slices] == [
        ("MIG-cccc", 103, None),
        ("MIG-dddd", 104, None),
    ]


@needs_cargo
def test_a_gpu_lost_while_sampling_is_logged_once_and_left_out(read):
    left = ["MIG-cccc", "MIG-dddd", "GPU-dddd"]
    assert [[sample["uuid"] for sample in taken] for taken in read["samples"][1:]] == [left] * 2
    assert read["log"].count("GPU 0 is no longer sampled, because it stopped answering: GPU is lost") == 1


@given(st.sets(st.integers(0, 255)))
def test_an_affinity_mask_lists_the_cpus_whose_bits_are_set(cpus):
    words = [sum(1 << cpu % 64 for cpu in cpus if cpu // 64 == word) for word in range(4)]
    assert cpus_of(words) == tuple(sorted(cpus))


def test_idle_and_chosen_clocks_are_no_throttling():
    idle, chosen, boost, display = 0x1, 0x2, 0x10, 0x100
    assert throttle_reasons(idle | chosen | boost | display) == ()
    assert throttle_reasons(0x40 | idle) == ("temperature (hardware)",)
