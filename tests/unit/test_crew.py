"""How much a worker may hold, and when it has been at something for too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.job.crew import MOST_AHEAD, Crew, Member, at, credit, overdue
from batch_score.minibatch import Status
from batch_score.worker.pulse import IDLE, INIT, Beat

NOTHING = Beat(IDLE, 0.0)
LIMITS = {"load_limit": 5.0, "run_limit": 10.0}


@given(st.integers(0, 10**6), st.integers(0, 500))
def test_credit_is_at_least_one_and_leaves_something_for_everyone(pending, workers):
    found = credit(pending, workers)
    assert 1 <= found <= MOST_AHEAD
    assert found == 1 or found * workers <= pending


@pytest.mark.parametrize(
    ("pending", "workers", "wanted"),
    [(100, 2, 4), (8, 2, 4), (7, 2, 3), (2, 2, 1), (0, 2, 1), (1, 0, 1), (100, 0, 4), (5, 5, 1)],
)
def test_credit(pending, workers, wanted):
    assert credit(pending, workers) == wanted


@pytest.mark.parametrize(
    ("load", "run", "wanted"),
    [
        (NOTHING, NOTHING, None),
        (NOTHING, Beat(3, 90.0), None),
        (NOTHING, Beat(3, 89.9), Status.RUN_TIMEOUT),
        (Beat(4, 95.0), NOTHING, None),
        (Beat(4, 94.9), NOTHING, Status.LOAD_TIMEOUT),
        (Beat(4, 0.0), Beat(3, 0.0), Status.RUN_TIMEOUT),
        (Beat(4, 0.0), Beat(3, 99.0), Status.LOAD_TIMEOUT),
        (NOTHING, Beat(INIT, 0.0), None),  # the breakers judge init()
        (NOTHING, Beat(0, 0.0), Status.RUN_TIMEOUT),
    ],
)
def test_overdue(load, run, wanted):
    assert overdue(load, run, 100.0, **LIMITS) == wanted


class Engine:
    """Beats of workers that are only numbers."""

    def __init__(self, *runs):
        self.runs = runs

    def beats(self, worker):
        return NOTHING, self.runs[worker]


@pytest.mark.parametrize(
    ("runs", "wanted"),
    [
        ((), 0.0),
        ((Beat(INIT, 40.0),), 60.0),
        ((Beat(INIT, 40.0), Beat(INIT, 70.0)), 30.0),
        ((Beat(INIT, 40.0), NOTHING), 0.0),
        ((Beat(INIT, 40.0), Beat(2, 50.0)), 0.0),
    ],
)
def test_how_long_all_workers_have_been_inside_init(runs, wanted):
    members = {number: Member(number, number) for number in range(len(runs))}
    assert Crew(Engine(*runs), None, (), members).longest_init(100.0) == wanted


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ((), "0 workers left"),
        ((Beat(INIT, 40.0),), "1 worker inside init()"),
        ((NOTHING, Beat(3, 40.0), Beat(0, 40.0)), "2 workers inside run(), 1 starting or waiting"),
    ],
)
def test_what_the_workers_are_at_in_words(runs, words):
    members = {number: Member(number, number) for number in range(len(runs))}
    assert Crew(Engine(*runs), None, (), members).states() == words


def test_a_worker_that_reads_is_reading():
    assert at(Beat(3, 1.0), NOTHING) == "reading"


def test_a_member_is_called_as_in_the_log_tree():
    assert Member(7, 0).name == "process007"
    assert Member(1234, 0).name == "process1234"
