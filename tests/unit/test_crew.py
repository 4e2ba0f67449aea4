"""How much a worker may hold, and when it has been at something for too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.job.crew import (
    BYTES_AHEAD,
    FEW,
    MOST_AHEAD,
    TAIL,
    Crew,
    Member,
    Pace,
    at,
    credit,
    due,
    overdue,
)
from batch_score.minibatch import Status, Timings
from batch_score.worker.pulse import IDLE, INIT, UNTIMED, Beat

NOTHING = Beat(IDLE, 0.0)
LIMITS = {"overhead_limit": 5.0, "run_limit": 10.0}


SECONDS = st.floats(0, 1e5)
PACES = st.builds(
    Pace,
    whole=st.sampled_from([0.0, 0.0001, 0.01, 1.0]),
    slowest=st.sampled_from([0.0, 0.00005, 0.005, 0.5]),
    size=st.sampled_from([0, 10**6, 10**9]),
    readers=st.integers(1, 40),
)
LEAST_AHEAD = 2  # with one thread that reads


def needing(ahead, readers=1):
    """A pace at which a worker needs so many tasks."""
    pace = Pace(whole=(ahead - 1) * 1.0, slowest=1.0, readers=readers) if ahead < 30 else Pace(1.0, 0.001, 0, readers)
    assert pace.ahead == ahead
    return pace


@given(st.integers(0, 10**6), st.integers(0, 500), PACES)
def test_credit_is_at_least_one_and_leaves_something_for_everyone(pending, workers, pace):
    found = credit(pending, workers, pace)
    assert 1 <= found <= pace.ahead
    assert found == 1 or found * workers <= pending
    assert workers == 1 or found <= max(FEW, pace.readers) or found * workers * TAIL <= pending


@given(st.integers(0, 5000), st.integers(2, 20), st.lists(PACES, min_size=20, max_size=20))
def test_the_last_tasks_are_shared_out(pending, workers, paces):
    """While all are equally quick, nobody holds more than a few when there is nothing left for the others."""
    held = [0] * workers
    while pending:
        for worker in range(workers):
            allowed = credit(pending, workers, paces[worker])
            if due(held[worker], allowed, paces[worker].together):
                taken = min(allowed - held[worker], pending)
                held[worker] += taken
                pending -= taken
        if pending:
            held = [max(0, one - 1) for one in held]
    assert max(held) <= max(FEW, *(pace.readers for pace in paces))


@pytest.mark.parametrize(
    ("pending", "workers", "ahead", "wanted"),
    [
        (100, 2, 4, 4),
        (8, 2, 4, 4),
        (7, 2, 4, 3),
        (2, 2, 4, 1),
        (0, 2, 4, 1),
        (1, 0, 4, 1),
        (100, 0, 4, 4),
        (5, 5, 4, 1),
        (8, 2, 2, 2),
        (10_000, 2, 32, 32),
        (256, 2, 32, 32),
        (100, 2, 32, 12),
        (8, 2, 32, 4),
        (6, 2, 32, 3),
        (40, 1, 32, 32),  # there is nobody to share with
        (5, 1, 32, 5),
    ],
)
def test_credit(pending, workers, ahead, wanted):
    assert credit(pending, workers, needing(ahead)) == wanted


@pytest.mark.parametrize(("pending", "workers", "wanted"), [(100, 2, 12), (40, 2, 10), (40, 1, 20), (12, 2, 6)])
def test_each_reading_thread_is_given_something_also_of_the_last_tasks(pending, workers, wanted):
    assert credit(pending, workers, needing(20, readers=10)) == wanted


@pytest.mark.parametrize(
    ("held", "allowed", "together", "wanted"),
    [
        (0, 1, 99, True),
        (1, 1, 99, False),
        (3, 4, 99, True),
        (4, 4, 99, False),
        (17, 32, 99, False),
        (16, 32, 99, True),
        (2, 5, 99, True),
        (31, 32, 1, True),  # a slow one is worth a message of its own
        (32, 32, 1, False),
        (28, 32, 5, False),
        (27, 32, 5, True),
    ],
)
def test_many_quick_tasks_are_sent_together(held, allowed, together, wanted):
    assert due(held, allowed, together) == wanted


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS, st.integers(0, 10**12)), max_size=5), st.integers(1, 31))
def test_how_far_ahead_is_bounded_in_number_and_in_bytes(tries, readers):
    pace = Pace(readers=readers)
    for load, run, encode, size in tries:
        pace.add(Timings(load=load, run=run, encode=encode), size)
    assert readers + 1 <= pace.ahead <= MOST_AHEAD
    largest = max((size for *_, size in tries[-1:]), default=0)
    assert pace.ahead == readers + 1 or pace.ahead * largest <= readers * BYTES_AHEAD


@pytest.mark.parametrize(
    ("load", "run", "encode", "size", "wanted"),
    [
        (0.00001, 0.00001, 0.00001, 0, MOST_AHEAD),
        (0.001, 0.020, 0.001, 0, 4),
        (0.010, 0.010, 0.010, 0, 9),
        (0.1, 10.0, 0.1, 0, 2),
        (10.0, 0.1, 0.1, 0, 2),
        (0.001, 0.001, 0.001, 10_000_000, 3),
        (0.001, 0.001, 0.001, 100_000_000, 2),
    ],
)
def test_how_far_ahead(load, run, encode, size, wanted):
    pace = Pace()
    pace.add(Timings(load=load, run=run, encode=encode), size)
    assert pace.ahead == wanted


def test_a_worker_whose_reading_takes_longest_gets_enough_for_all_its_reading_threads():
    pace = Pace(readers=8)
    pace.add(Timings(load=0.8, run=0.05, encode=0.01), 1_000_000)
    assert pace.ahead == 10  # a try takes 0.86 s, and one must end every 0.1 s
    assert pace.together == 1


def test_a_slow_try_counts_at_once_and_is_forgotten_in_time():
    pace, quick = Pace(), Timings(run=0.0001)
    for _ in range(5):
        pace.add(quick, 0)
    assert pace.ahead == MOST_AHEAD
    pace.add(Timings(run=1.0), 0)
    assert pace.ahead == LEAST_AHEAD
    for _ in range(50):
        pace.add(quick, 0)
    assert pace.ahead == MOST_AHEAD


@pytest.mark.parametrize(
    ("load", "run", "encode", "wanted"),
    [
        (NOTHING, NOTHING, NOTHING, None),
        (NOTHING, Beat(3, 90.0), NOTHING, None),
        (NOTHING, Beat(3, 89.9), NOTHING, (Status.RUN_TIMEOUT, 3)),
        (Beat(4, 95.0), NOTHING, NOTHING, None),
        (Beat(4, 94.9), NOTHING, NOTHING, (Status.LOAD_TIMEOUT, 4)),
        (Beat(4, 0.0), Beat(3, 0.0), NOTHING, (Status.RUN_TIMEOUT, 3)),
        (Beat(4, 0.0), Beat(3, 99.0), NOTHING, (Status.LOAD_TIMEOUT, 4)),
        (NOTHING, Beat(INIT, 0.0), NOTHING, None),  # the breakers judge init()
        (NOTHING, Beat(0, 0.0), NOTHING, (Status.RUN_TIMEOUT, 0)),
        (NOTHING, NOTHING, Beat(2, 95.0), None),
        (NOTHING, Beat(3, 99.0), Beat(2, 94.9), (Status.ENCODE_TIMEOUT, 2)),
        (Beat(4, 0.0), NOTHING, Beat(2, UNTIMED), (Status.LOAD_TIMEOUT, 4)),  # it waits for the coordinator
    ],
)
def test_overdue(load, run, encode, wanted):
    assert overdue((load, run, encode), 100.0, **LIMITS) == wanted


class Engine:
    """Beats of workers that are only numbers."""

    def __init__(self, *runs):
        self.runs = runs

    def beats(self, worker):
        return NOTHING, self.runs[worker], NOTHING


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


@pytest.mark.parametrize(
    ("load", "encode", "words"),
    [
        (Beat(3, 1.0), NOTHING, "reading"),
        (Beat(3, 1.0), Beat(2, 1.0), "encoding"),
        (NOTHING, Beat(2, UNTIMED), "sending"),
    ],
)
def test_a_worker_that_reads_or_encodes_is_said_to(load, encode, words):
    assert at(load, NOTHING, encode) == words


def test_a_member_is_called_as_in_the_log_tree():
    assert Member(7, 0).name == "process007"
    assert Member(1234, 0).name == "process1234"
