"""The shelf: whatever is laid there comes back as it was, and nothing lies on top of another."""

import resource
import signal
from collections import deque
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_score.worker.shelf import SIZE, Shelf, Shelving

# Lengths of things to lay down; None to take the next one.
LENGTHS = st.integers(1, 5) | st.sampled_from([SIZE // 4, SIZE // 2]) | st.integers(1, SIZE // 3)
STEPS = st.lists(st.none() | LENGTHS | st.integers(SIZE - 5, SIZE + 5), max_size=40)


@pytest.fixture
def shelf():
    with closing(Shelf.make()) as shelf:
        yield shelf


@given(STEPS)
@example([*[SIZE // 4] * 4, 3])  # it is full
@example([*[SIZE // 4] * 3, None, SIZE // 2, SIZE // 4 - 1, 2])  # what is too short at the end is room too
def test_things_come_back_in_order_and_never_lie_on_each_other(steps):
    with closing(Shelf.make()) as shelf:
        shelving, lying = Shelving(shelf), deque()
        for number, step in enumerate(steps):
            if step is not None:
                payload = bytes([number + 1]) * step
                begin = shelving.lay(payload)
                if begin is not None:
                    lying.append((begin, payload))
                    check_apart(lying)
                else:
                    assert lying or step > SIZE  # a thing that fits at all finds room when all others were taken
            elif lying:
                begin, payload = lying.popleft()
                assert shelf.take(begin, len(payload)) == payload


def check_apart(lying):
    spans = sorted((begin, begin + len(payload)) for begin, payload in lying)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert spans[-1][1] <= SIZE


def test_a_shelf_of_which_all_was_taken_is_used_from_its_beginning(shelf):
    shelving = Shelving(shelf)
    assert [shelving.lay(bytes(1000)), shelving.lay(bytes(1000))] == [0, 1000]
    shelf.take(0, 1000)
    assert shelving.lay(bytes(1000)) == 2000
    shelf.take(1000, 1000)
    shelf.take(2000, 1000)
    assert shelving.lay(bytes(1000)) == 0


def test_where_no_memory_can_be_written_nothing_is_laid(shelf):
    shelving = Shelving(shelf)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
        assert shelving.lay(bytes(3 << 19)) is None  # half of it can be written
        assert shelving.lay(bytes(1 << 20)) == 0
        assert shelving.lay(bytes(1 << 20)) is None  # nothing of it can be written
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert shelving.lay(bytes(1 << 20)) == 1 << 20


def test_no_descriptor_is_left_behind():
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    Shelf.make().close()
    assert len(list(descriptors.iterdir())) == before
