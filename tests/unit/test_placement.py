"""Who gets which GPU, case by case."""

import json

import pytest

from batch_score import ParallelRunConfig
from batch_score.cli.gpus import gpus_json, gpus_text
from batch_score.errors import ConfigError
from batch_score.gpu.device import ComputeMode, Device, Inventory, MigSlice, RowRemap
from batch_score.gpu.placement import (
    Unit,
    chosen,
    cpu_count,
    default_workers,
    mask_warning,
    near,
    oversubscription_note,
    place,
    usable,
    warnings_of,
)
from batch_score.job.placing import placement

CUT = Device(
    1,
    "GPU-bbbb",
    "H100",
    mig_enabled=True,
    slices=(MigSlice("MIG-1", "GPU-bbbb", 100, 10, 7, 0), MigSlice("MIG-2", "GPU-bbbb", 100, 10, 8, 0)),
)
DEVICES = [Device(0, "GPU-aaaa", "H100"), CUT, Device(2, "GPU-aabb", "H100"), Device(3, "GPU-cccc", "H100")]


def names(units):
    return [unit.uuid for unit in units]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, ["GPU-aaaa", "MIG-1", "MIG-2", "GPU-aabb", "GPU-cccc"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("3,0", ["GPU-cccc", "GPU-aaaa"]),
        (" 3 , 0 ", ["GPU-cccc", "GPU-aaaa"]),
        ("0,2,-1,3", ["GPU-aaaa", "GPU-aabb"]),
        ("0,,3", ["GPU-aaaa"]),
        ("0,9,3", ["GPU-aaaa"]),
        ("0,3x,2", ["GPU-aaaa"]),
        ("\u0663", []),  # an Arabic three, which int() takes for 3
        ("GPU-cccc", ["GPU-cccc"]),
        ("GPU-c", ["GPU-cccc"]),
        ("GPU-aaa,GPU-aab", ["GPU-aaaa", "GPU-aabb"]),
        ("GPU-aa,GPU-c", []),
        ("GPU-C", []),
        ("MIG-2,0", ["MIG-2"]),
        ("MIG-GPU-bbbb/8/0", ["MIG-2"]),
        ("MIG-,0", []),
        ("1", ["MIG-1", "MIG-2"]),
        ("MIG-1,GPU-b,0", ["MIG-1"]),
        ("0,0,3", []),
    ],
)
def test_the_outer_mask_is_read_as_cuda_reads_it(mask, expected):
    assert names(usable(DEVICES, mask)) == expected


def test_a_gpu_that_admits_nobody_is_not_handed_out_and_hides_no_other():
    devices = [Device(0, "GPU-a", "H100", compute_mode=ComputeMode.PROHIBITED), Device(1, "GPU-b", "H100")]
    assert names(usable(devices, None)) == ["GPU-b"]
    assert names(usable(devices, "0,1")) == ["GPU-b"]


def test_the_slices_of_a_gpu_that_admits_nobody_are_not_handed_out():
    device = Device(
        0,
        "GPU-a",
        "H100",
        mig_enabled=True,
        slices=(MigSlice("MIG-1", "GPU-a"),),
        compute_mode=ComputeMode.PROHIBITED,
    )
    assert usable([device], "MIG-1") == usable([device], None) == []


def test_a_gpu_cut_into_no_slices_is_not_usable_whole():
    assert usable([Device(0, "GPU-a", "H100", mig_enabled=True)], None) == []


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["0"], ["GPU-aaaa"]),
        (["3", "GPU-aaaa"], ["GPU-cccc", "GPU-aaaa"]),
        (["1"], ["MIG-1", "MIG-2"]),
        (["MIG-2", "GPU-c"], ["MIG-2", "GPU-cccc"]),
        (["2", "GPU-aaa"], ["GPU-aabb", "GPU-aaaa"]),
    ],
)
def test_devices_are_chosen_in_the_order_of_the_choice(entries, expected):
    assert names(chosen(usable(DEVICES, None), entries)) == expected


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (["9"], "9 is no usable GPU; usable are 0 \\(GPU-aaaa\\), 1 \\(MIG-1\\)"),
        (["GPU-bbbb"], "is no usable GPU"),  # it is cut, so a process cannot have it
        (["GPU-aa"], "is the beginning of several"),
        (["MIG-"], "is the beginning of several"),
        (["1", "MIG-2"], "named twice"),
    ],
)
def test_a_choice_of_devices_that_means_none_or_several_is_refused(entries, words):
    with pytest.raises(ConfigError, match=words):
        chosen(usable(DEVICES, None), entries)


def test_a_worker_runs_near_its_device_where_it_may():
    unit = Unit("GPU-a", 0, cpus=(0, 1, 2, 3))
    assert near(unit, {2, 3, 4}) == (2, 3)
    assert near(unit, {0, 1}) == (), "all that it may use are near"
    assert near(unit, {8, 9}) == (), "none is"
    assert near(Unit("GPU-b", 1), {0, 1}) == near(None, {0, 1}) == ()


def test_a_worker_sees_its_own_device_only():
    [first, second] = place(usable(DEVICES, "3,0"), 2)
    assert first.environment == {
        "CUDA_VISIBLE_DEVICES": "GPU-cccc",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "AZ_BATCHAI_GPU_COUNT_FOUND": "2",
    }
    assert second.environment["CUDA_VISIBLE_DEVICES"] == "GPU-aaaa"


def test_without_a_gpu_the_mask_is_empty_and_not_unset():
    assert [assignment.environment for assignment in place([], 2)] == [
        {"CUDA_VISIBLE_DEVICES": "", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "AZ_BATCHAI_GPU_COUNT_FOUND": "0"}
    ] * 2


def test_a_device_in_words_has_index_and_uuid():
    assert [one.device for one in place([Unit("GPU-a", 3), Unit("MIG-b", 1, mig=True)], 2, names="index")] == [
        "GPU 3 (GPU-a)",
        "slice of GPU 1 (MIG-b)",
    ]
    assert place([], 1)[0].device == "no GPU"


@pytest.mark.parametrize("outer", ["0", None])
def test_a_mask_among_the_variables_of_the_workers_is_the_outer_one(outer, monkeypatch):
    if outer is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", outer)
    inventory = Inventory(devices=(DEVICES[0], DEVICES[2], DEVICES[3]))
    config = ParallelRunConfig(environment_variables={"CUDA_VISIBLE_DEVICES": "3,2"}, process_count_per_node=3)
    assignments, notes = placement(config, inventory)
    assert [one.environment["CUDA_VISIBLE_DEVICES"] for one in assignments] == ["GPU-cccc", "GPU-aabb", "GPU-cccc"]
    assert {one.environment["AZ_BATCHAI_GPU_COUNT_FOUND"] for one in assignments} == {"2"}
    assert [note for note in notes if "3 workers share 2 devices" in note] == notes


def test_names_by_index_are_for_whole_gpus():
    masks = [
        assignment.visible for assignment in place(chosen(usable(DEVICES, None), ["3", "MIG-2"]), 2, names="index")
    ]
    assert masks == ["3", "MIG-2"]


def test_by_default_each_device_has_a_worker_and_without_any_each_cpu():
    assert default_workers([Unit("GPU-a", 0), Unit("GPU-b", 1)], 64) == 2
    assert default_workers([Unit("GPU-a", 0), Unit("GPU-b", 1)], 64, per_gpu=3) == 6
    assert default_workers([], 3) == 3
    assert default_workers([], 3, per_gpu=2) == 3
    assert default_workers([], 0) == 1


def test_sharing_is_said_with_both_numbers_and_only_when_it_happens():
    units = [Unit("GPU-a", 0), Unit("GPU-b", 1)]
    assert "5 workers share 2 devices" in oversubscription_note(units, 5)
    assert "2 workers share 1 device:" in oversubscription_note(units[:1], 2)
    assert oversubscription_note(units, 2) is None
    assert oversubscription_note([], 2) is None


def test_what_may_go_wrong_is_said_of_the_devices_in_use_only():
    sick = Device(
        0,
        "GPU-a",
        "H100",
        memory_total=1000 << 20,
        memory_used=950 << 20,
        ecc_uncorrected=2,
        row_remap=RowRemap(1, 1, pending=True, failed=True),
        compute_mode=ComputeMode.EXCLUSIVE,
        throttle_reasons=("power cap",),
        processes=(17, 18),
    )
    said = warnings_of([sick, Device(1, "GPU-b", "H100")], [Unit("GPU-a", 0)], 2)
    parts = ("one process", "2 uncorrectable", "no spare", "until it is reset", "power cap", "17, 18", "50 MiB")
    assert [part for part in parts if part not in " ".join(said)] == []
    assert not any("one process" in warning for warning in warnings_of([sick], [Unit("GPU-a", 0)], 1))
    assert warnings_of([sick], [Unit("GPU-b", 1)], 2) == []


@pytest.mark.parametrize(
    ("mask", "order", "second", "warned"),
    [
        ("0", None, "T4", True),
        ("GPU-a,1", "FASTEST_FIRST", "T4", True),
        ("0", "PCI_BUS_ID", "T4", False),
        ("0", None, "H100", False),
        ("GPU-a", None, "T4", False),
        (None, None, "T4", False),
    ],
)
def test_indices_on_a_mixed_machine_may_mean_another_gpu(mask, order, second, warned):
    devices = [Device(0, "GPU-a", "H100"), Device(1, "GPU-b", second)]
    assert (mask_warning(devices, mask, order) is not None) == warned


def v1_quota(folder, microseconds):
    return {
        f"/sys/fs/cgroup/{folder}/cpu.cfs_quota_us": f"{microseconds}\n",
        f"/sys/fs/cgroup/{folder}/cpu.cfs_period_us": "100000\n",
    }


V2 = {"/proc/self/cgroup": "0::/pod/box\n"}
V1 = {"/proc/self/cgroup": "12:memory:/box\n4:cpu,cpuacct:/box\n0::/\n"}


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        (V2, 8),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "max 100000\n"}, 8),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "300000 100000\n"}, 3),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "150000 100000\n"}, 2),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "1000 100000\n"}, 1),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "9900000 100000\n"}, 8),
        (V2 | {"/sys/fs/cgroup/pod/box/cpu.max": "max 100000\n", "/sys/fs/cgroup/pod/cpu.max": "200000 100000\n"}, 2),
        ({"/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "500000 100000\n"}, 5),
        (
            V1 | {"/sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1\n", "/sys/fs/cgroup/cpu/box/cpu.cfs_period_us": "9\n"},
            8,
        ),
        (
            V1
            | {
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n",
                "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
    ],
)
def test_cpus_are_those_of_the_affinity_within_the_cgroup_quota(files, cpus):
    assert cpu_count(8, files.get) == cpus


def test_the_listing_shows_devices_workers_and_warnings():
    inventory = Inventory(tuple(DEVICES), unreadable=("GPU 4 cannot be opened: GPU is lost.",), driver="550.1")
    assignments = place(usable(DEVICES, "0,1"), 3)
    text = gpus_text(inventory, assignments, ["GPU 0 is warm."])
    assert "GPU 0  GPU-aaaa  H100" in text
    assert "  slice  MIG-1  0 of 0 MiB used" in text
    assert "worker 2  CUDA_VISIBLE_DEVICES=MIG-2" in text
    assert text.endswith("warning: GPU 4 cannot be opened: GPU is lost.\nwarning: GPU 0 is warm.")

    shown = json.loads(json.dumps(gpus_json(inventory, assignments, ["GPU 0 is warm."])))
    assert [device["uuid"] for device in shown["devices"]] == [device.uuid for device in DEVICES]
    assert shown["workers"][2]["device"] == "MIG-2"
    assert shown["warnings"] == ["GPU 4 cannot be opened: GPU is lost.", "GPU 0 is warm."]


def test_a_listing_without_gpus_says_why_and_what_happens_then():
    inventory = Inventory(reason="no NVIDIA driver was found")
    assert gpus_text(inventory, place([], 2), []) == (
        "no GPU: no NVIDIA driver was found\n\n2 workers by default, on the CPU"
    )
    assert gpus_json(inventory, place([], 2), [])["workers"][0]["device"] is None
