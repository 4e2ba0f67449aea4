"""Whom the coordinator blames for a dead worker."""

import pytest

from batch_score.engine.base import Ended
from batch_score.job.drive import blamed, spent
from batch_score.minibatch import MiniBatch, Timings
from batch_score.worker.messages import Task
from batch_score.worker.pulse import IDLE, INIT, Beat

NOTHING = Beat(IDLE, 0.0)
HELD = [Task(MiniBatch(7, "f", 0, 1, 0, 9), 0, ticket=ticket) for ticket in (3, 4, 5)]


@pytest.mark.parametrize(
    ("load", "run", "killed_at", "wanted"),
    [
        (NOTHING, Beat(4, 1.0), None, 4),  # what it was running
        (Beat(5, 1.0), Beat(4, 1.0), None, 4),
        (Beat(5, 1.0), NOTHING, None, 5),  # else what it was reading
        (NOTHING, NOTHING, None, 3),  # else the oldest
        (Beat(9, 1.0), Beat(8, 1.0), None, 3),  # what it does not hold any more is not to blame
        (Beat(5, 1.0), Beat(4, 1.0), 5, 5),  # killed for its reading
        (Beat(5, 1.0), Beat(4, 1.0), 4, 4),  # killed for its running
        (NOTHING, Beat(INIT, 1.0), None, 3),
    ],
)
def test_who_is_blamed(load, run, killed_at, wanted):
    assert blamed(HELD, Ended(0, -9, load, run), killed_at).ticket == wanted


def test_a_task_that_was_answered_before_the_kill_blames_no_other():
    assert blamed(HELD, Ended(0, -9, NOTHING, Beat(4, 1.0)), 2) is None


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
    assert spent(HELD[0], Ended(0, -9, load, run), 100.0, 1000.0) == wanted
