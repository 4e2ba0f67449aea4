"""The circuit breakers for `init()`: 3 x P at any time, 2 x N x P after two minutes, 3 x T + 30 inside init()."""

import pytest

from batch_score.job.breaker import InitBreaker


def broken(failures, workers=4):
    breaker = InitBreaker(workers, 60.0)
    for number in range(failures):
        breaker.failed(number % workers)
    return breaker


@pytest.mark.parametrize(
    ("failures", "elapsed", "opens"),
    [(0, 9e9, False), (11, 1, False), (12, 1, True), (7, 121, False), (8, 120, False), (8, 120.1, True), (8, 1, False)],
)
def test_how_many_failures_end_it(failures, elapsed, opens):
    reason = broken(failures).open(elapsed)
    assert (reason is not None) == opens
    assert reason is None or f"failed {failures} times" in reason


@pytest.mark.parametrize("elapsed", [1, 9e9])
def test_a_worker_that_has_not_failed_yet_keeps_it_closed(elapsed):
    breaker = InitBreaker(2, 60.0)
    for _ in range(100):
        breaker.failed(0)
    assert breaker.open(elapsed) is None
    breaker.failed(1)
    assert breaker.open(elapsed) is not None


def test_one_worker_that_is_ready_keeps_it_closed():
    breaker = broken(100)
    breaker.succeeded()
    assert breaker.open(9e9) is None


def test_no_time_alone_opens_it():
    assert InitBreaker(1, 1.0).open(1e9) is None


@pytest.mark.parametrize(("seconds", "stuck"), [(0, False), (210, False), (210.1, True)])
def test_all_workers_inside_init_for_too_long(seconds, stuck):
    reason = broken(0).stuck(seconds)
    assert (reason is not None) == stuck
    assert reason is None or "210 s" in reason
