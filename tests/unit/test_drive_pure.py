"""What the coordinator makes of a dead worker."""

import pytest

from batch_score.engine.base import Ended
from batch_score.job.drive import leaving, lost_its_device, named, read_at_death, spent, suspected
from batch_score.minibatch import MiniBatch, Timings
from batch_score.worker.messages import DEVICE_LOST, Task
from batch_score.worker.pulse import IDLE, INIT, UNTIMED, Beat

NOTHING = Beat(IDLE, 0.0)
HELD = [Task(MiniBatch(7, "f", 0, 1, 0, 9), 0, ticket=ticket) for ticket in (3, 4, 5)]


def at(ticket):
    return Beat(ticket, 1.0)


def ended(loads, run, encode=NOTHING):
    """A worker killed while its threads were at something."""
    return Ended(0, -9, tuple(beat for beat in loads if beat != NOTHING), run, encode)


@pytest.mark.parametrize(
    ("load", "run", "encode", "killed_at", "wanted"),
    [
        (NOTHING, at(4), NOTHING, None, [4]),  # what it was at
        (at(5), NOTHING, NOTHING, None, [5]),
        (NOTHING, NOTHING, at(3), None, [3]),
        (at(5), at(4), at(3), None, [3, 4, 5]),  # it may have been any of them
        (NOTHING, NOTHING, NOTHING, None, [3, 4, 5]),  # or something between
        (at(9), at(8), NOTHING, None, [3, 4, 5]),  # what it does not hold any more is not to blame
        (at(5), at(4), NOTHING, 5, [5]),  # killed for its reading
        (at(5), at(4), NOTHING, 4, [4]),  # killed for its running
        (NOTHING, at(4), NOTHING, 2, []),  # what was answered before the kill blames no other
        (NOTHING, at(INIT), NOTHING, None, [3, 4, 5]),
    ],
)
def test_who_is_suspected(load, run, encode, killed_at, wanted):
    assert [task.ticket for task in suspected(HELD, ended([load], run, encode), killed_at)] == wanted


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (1, "mini-batch 7, try 0"),
        (2, "mini-batch 7, try 0 and mini-batch 7, try 0"),
        (4, " and ".join(["mini-batch 7, try 0"] * 4)),
        (64, " and ".join(["mini-batch 7, try 0"] * 4) + " and 60 more"),
    ],
)
def test_many_tasks_are_not_all_named(count, wanted):
    assert named([HELD[0]] * count) == wanted


@pytest.mark.parametrize(
    ("count", "wanted"), [(1, "worker0 to leave"), (5, "worker0, worker1, worker2, worker3 and 1 more to leave")]
)
def test_who_is_waited_for(count, wanted):
    assert f"at most 60 s for {wanted}" in leaving([f"worker{number}" for number in range(count)], 60.0)


@pytest.mark.parametrize(
    ("load", "run", "wanted"),
    [
        (NOTHING, Beat(3, 97.0), Timings(started=997.0, run=3.0)),
        (Beat(4, 60.0), Beat(3, 97.0), Timings(started=997.0, run=3.0)),  # not what was spent on another one
        (Beat(3, 60.0), Beat(2, 50.0), Timings(started=960.0, load=40.0)),
        (NOTHING, NOTHING, Timings(started=1000.0)),
    ],
)
def test_what_was_spent_on_the_one_to_blame(load, run, wanted):
    assert spent(HELD[0], ended([load], run), 100.0, 1000.0) == wanted


@pytest.mark.parametrize(("since", "seconds"), [(97.0, 3.0), (UNTIMED, 0.0)])
def test_what_was_spent_on_encoding(since, seconds):
    found = spent(HELD[0], ended([], NOTHING, Beat(3, since)), 100.0, 1000.0)
    assert found == Timings(started=1000.0 - seconds, encode=seconds)


def test_whatever_one_of_several_threads_was_reading_is_suspected():
    found = ended([at(5), at(9), at(3)], NOTHING)
    assert [task.ticket for task in suspected(HELD, found, None)] == [3, 5]
    assert spent(HELD[2], ended([Beat(3, 5.0), Beat(5, 60.0)], NOTHING), 100.0, 1000.0).load == 40.0


@pytest.mark.parametrize(
    ("code", "loads", "run", "encode", "wanted"),
    [
        (DEVICE_LOST, [], NOTHING, NOTHING, True),
        (DEVICE_LOST, [at(5)], NOTHING, NOTHING, True),
        (DEVICE_LOST, [], at(4), NOTHING, False),  # a script left with that code
        (DEVICE_LOST, [], NOTHING, at(4), False),
        (DEVICE_LOST, [], at(INIT), NOTHING, False),
        (DEVICE_LOST + 1, [], NOTHING, NOTHING, False),
    ],
)
def test_who_lost_its_device(code, loads, run, encode, wanted):
    assert lost_its_device(Ended(0, code, tuple(loads), run, encode)) == wanted


@pytest.mark.parametrize(
    ("loads", "run", "wanted"),
    [([at(3)], NOTHING, True), ([at(4), at(3)], at(5), True), ([at(3)], at(3), False), ([at(4)], NOTHING, False)],
)
def test_a_death_while_a_task_was_read_is_not_one_of_its_run(loads, run, wanted):
    assert read_at_death(HELD[0], ended(loads, run)) == wanted
