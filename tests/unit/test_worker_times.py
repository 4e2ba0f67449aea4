"""Where the time of workers went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.job.worker_times import AllTimes
from batch_score.minibatch import Outcome, Status, Timings


def outcome(size=0, **timings):
    return Outcome(index=0, attempt=0, status=Status.RUN_DONE, total=1, timings=Timings(**timings), bytes_read=size)


def test_what_run_waited_for_is_told_apart():
    times = AllTimes()
    times.ready("process000", "GPU-1", 100.0)
    # Two seconds without a task, then one for the reading; after run() one until the encoder had room; then at once.
    times.tried("process000", outcome(10, waiting=3.0, load=1.0, run=5.0, encode=4.0), 109.0)
    times.tried("process000", outcome(20, waiting=0.0, load=1.0, run=5.0, encode=4.0), 114.0)
    assert times.as_json() == [
        {
            "process": "process000",
            "device": "GPU-1",
            "tries": 2,
            "elapsed": 14.0,
            "run": 10.0,
            "waited_for_tasks": 2.0,
            "waited_for_read": 1.0,
            "waited_for_encode": 1.0,
            "read": 2.0,
            "encode": 8.0,
            "bytes_read": 30,
        }
    ]


def test_of_a_worker_that_was_never_ready_nothing_is_known():
    times = AllTimes()
    times.tried("process000", outcome(run=1.0), 5.0)
    assert times.as_json() == []


DURATIONS = st.floats(0, 100)


@given(st.lists(st.tuples(DURATIONS, DURATIONS, DURATIONS, DURATIONS), min_size=1, max_size=8))
def test_run_and_what_it_waited_for_are_all_of_the_time(tries):
    times, now = AllTimes(), 0.0
    times.ready("process000", "", now)
    for waiting, load, run, stalled in tries:
        now += waiting + run + stalled
        times.tried("process000", outcome(waiting=waiting, load=load, run=run), now)
    one = times.workers["process000"]
    parts = (one.run, one.waited_for_tasks, one.waited_for_read, one.waited_for_encode)
    assert min(parts) >= 0
    assert sum(parts) == pytest.approx(one.elapsed, abs=1e-6)
