"""Laws of placement, and the outer mask against a twin that spells every name out."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from batch_score.gpu.device import Device, MigSlice
from batch_score.gpu.placement import place, usable


@st.composite
def machines(draw):
    """Up to five GPUs, some cut; their UUIDs are short, so that beginnings collide."""
    uuids = draw(st.lists(st.text("ab", min_size=3, max_size=3), max_size=5, unique=True))
    devices = []
    for index, name in enumerate(uuids):
        uuid = f"GPU-{name}"
        parts = draw(st.none() | st.integers(0, 3))
        slices = tuple(MigSlice(f"MIG-{index}{part}", uuid, 1, 0, part, 0) for part in range(parts or 0))
        devices.append(Device(index, uuid, "H100", mig_enabled=parts is not None, slices=slices))
    return devices


entries = st.one_of(
    st.integers(-1, 6).map(str),
    st.text("ab", max_size=3).map("GPU-{}".format),
    st.tuples(st.integers(0, 5), st.integers(0, 3)).map(lambda place: f"MIG-{place[0]}{place[1]}"),
    st.sampled_from(["", "none", "0x1", "1.0"]),
)
masks = st.none() | st.lists(entries, max_size=5).map(",".join)


def whole(device):
    return [part.uuid for part in device.slices] if device.mig_enabled else [device.uuid]


def meanings(devices):
    """Every entry that means something, with the units it names: the twin's dictionary."""
    known = {str(device.index): whole(device) for device in devices}
    for device in devices:
        known |= {part.uuid: [part.uuid] for part in device.slices}
    beginnings = Counter(device.uuid[:end] for device in devices for end in range(4, len(device.uuid) + 1))
    for device in devices:
        for end in range(4, len(device.uuid) + 1):
            if beginnings[device.uuid[:end]] == 1:
                known[device.uuid[:end]] = whole(device)
    return known


def twin(devices, mask):
    """The usable units by definition: all, or what the entries name up to the first of another kind or of nothing."""
    if mask is None:
        return [uuid for device in devices for uuid in whole(device)]
    known, seen = meanings(devices), []
    for entry in mask.split(","):
        named = known.get(entry)
        kinds = {text[:4] if text[:4] in ("GPU-", "MIG-") else "" for text in (entry, mask)}
        if named is None or len(kinds) == 2:
            return seen
        if set(named) & set(seen):
            return []
        seen += named
    return seen


@given(machines(), masks)
def test_the_usable_units_are_those_of_the_twin(devices, mask):
    assert [unit.uuid for unit in usable(devices, mask)] == twin(devices, mask)


@given(machines(), masks, st.integers(0, 20), st.sampled_from(["uuid", "index"]))
def test_no_worker_sees_a_device_outside_the_mask(devices, mask, workers, names):
    allowed = twin(devices, mask)
    indices = {str(device.index): device.uuid for device in devices}
    for assignment in place(usable(devices, mask), workers, names=names):
        visible = assignment.environment["CUDA_VISIBLE_DEVICES"]
        assert indices.get(visible, visible) in allowed or (visible == "" and not allowed)


@given(machines(), masks, st.integers(0, 20))
def test_every_worker_has_exactly_one_device_dealt_in_turn(devices, mask, workers):
    units = usable(devices, mask)
    assignments = place(units, workers)
    assert [assignment.worker for assignment in assignments] == list(range(workers))
    assert all("," not in assignment.environment["CUDA_VISIBLE_DEVICES"] for assignment in assignments)
    if units:
        assert [assignment.unit for assignment in assignments] == [units[k % len(units)] for k in range(workers)]
        loads = Counter(assignment.visible for assignment in assignments)
        assert len(loads) == min(workers, len(units))
        assert max(loads.values(), default=0) - min(loads.values(), default=0) <= 1
        assert {assignment.environment["AZ_BATCHAI_GPU_COUNT_FOUND"] for assignment in assignments} <= {str(len(units))}
    else:
        assert all(assignment.environment["CUDA_VISIBLE_DEVICES"] == "" for assignment in assignments)


@given(machines(), masks)
def test_a_mask_never_widens_what_there_is(devices, mask):
    everything = {unit.uuid for unit in usable(devices, None)}
    masked = [unit.uuid for unit in usable(devices, mask)]
    assert set(masked) <= everything
    assert len(masked) == len(set(masked))
