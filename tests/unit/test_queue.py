"""The queue, case by case; what holds in every order of events is in tests/property/test_queue.py."""

import pytest

from batch_score.job.queue import MiniBatchQueue
from batch_score.minibatch import MiniBatch


def batch(index, affinity="", rows=2):
    return MiniBatch(index, "f", index, 1, index * 2, rows, affinity=affinity)


def queue(*batches, max_try=3, complete=True):
    made = MiniBatchQueue(max_try)
    made.add(batches)
    made.plan_complete = complete
    return made


def leased(made, worker):
    task = made.lease(worker)
    return None if task is None else task.minibatch.index


def test_an_empty_plan_is_finished_when_it_is_complete():
    made = MiniBatchQueue(3)
    assert not made.finished
    made.plan_complete = True
    assert made.finished
    assert made.lease(0) is None


def test_mini_batches_go_out_in_plan_order():
    made = queue(batch(0), batch(1), batch(2))
    assert [leased(made, 0), leased(made, 1), leased(made, 0), leased(made, 0)] == [0, 1, 2, None]


def test_what_is_counted():
    made = queue(batch(0, rows=5), batch(1, rows=7))
    assert (made.planned, made.items, made.pending, made.settled) == (2, 12, 2, 0)
    made.lease(0)
    assert (made.pending, made.settled) == (1, 0)
    assert made.settle(0, 0, 0)
    assert (made.pending, made.settled) == (1, 1)


def test_a_failed_try_comes_next_with_its_count():
    made = queue(batch(0), batch(1))
    made.lease(0)
    assert made.fail(0) is None
    task = made.lease(1)
    assert (task.minibatch.index, task.attempt) == (0, 1)


@pytest.mark.parametrize("max_try", [1, 2, 5])
def test_after_max_try_tries_it_is_failed_for_good(max_try):
    made = queue(batch(0), max_try=max_try)
    for attempt in range(max_try - 1):
        assert made.lease(0).attempt == attempt
        assert made.fail(0) is None
    task = made.lease(0)
    assert made.fail(0) is task
    assert made.finished


def test_an_outcome_counts_only_while_its_lease_stands():
    made = queue(batch(0), batch(1))
    made.lease(0)
    assert not made.settle(0, 0, 1)  # another worker's
    assert not made.settle(0, 1, 0)  # another try's
    assert not made.settle(1, 0, 0)  # nobody's
    assert made.settle(0, 0, 0)
    assert not made.settle(0, 0, 0)  # the second time
    assert made.settled == 1


def test_a_lost_workers_tasks_come_back_in_order_without_counting_a_try():
    made = queue(*(batch(index) for index in range(4)))
    for _ in range(3):
        made.lease(0)
    assert [task.minibatch.index for task in made.holds(0)] == [0, 1, 2]
    assert [task.minibatch.index for task in made.release(0)] == [0, 1, 2]
    tasks = [made.lease(1) for _ in range(4)]
    assert [(task.minibatch.index, task.attempt) for task in tasks] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert not made.settle(0, 0, 0)


def test_releasing_a_worker_that_held_nothing():
    made = queue(batch(0))
    assert made.release(9) == []
    assert leased(made, 1) == 0


def test_a_stream_stays_with_the_worker_that_took_it_up():
    made = queue(batch(0, "s"), batch(1, "s"), batch(2), batch(3, "t"), batch(4, "t"))
    assert [leased(made, worker) for worker in (7, 8, 9, 7, 8, 9)] == [0, 3, 2, 1, 4, None]


def test_a_worker_takes_up_the_next_stream_when_its_own_is_handed_out():
    made = queue(batch(0, "s"), batch(1, "t"), batch(2))
    assert [leased(made, 7) for _ in range(4)] == [0, 1, 2, None]


def test_a_stream_that_is_still_planned_is_kept():
    made = queue(batch(0, "s"), complete=False)
    assert leased(made, 7) == 0
    assert leased(made, 7) is None
    made.add([batch(1, "s")])
    assert leased(made, 8) is None
    assert leased(made, 7) == 1


def test_an_owner_without_work_in_its_stream_scores_others_meanwhile():
    made = queue(batch(0), batch(1, "s"), complete=False)
    assert [leased(made, 7), leased(made, 7)] == [1, 0]


def test_a_lost_workers_stream_goes_on_in_order_elsewhere():
    made = queue(*(batch(index, "s") for index in range(4)), max_try=9)
    assert [leased(made, 7), leased(made, 7)] == [0, 1]
    made.fail(0)  # blamed for the death
    made.release(7)
    tasks = [made.lease(8) for _ in range(4)]
    assert [(task.minibatch.index, task.attempt) for task in tasks] == [(0, 1), (1, 0), (2, 0), (3, 0)]


def test_the_stream_of_a_worker_that_died_with_nothing_in_hand_goes_on_elsewhere():
    made = queue(batch(0, "s"), batch(1, "s"))
    made.lease(7)
    made.settle(0, 0, 7)
    made.release(7)
    assert leased(made, 8) == 1


def test_an_exhausted_stream_of_a_lost_worker_hides_no_other():
    made = queue(batch(0, "s"), batch(1, "t"), batch(2, "t"))
    assert [leased(made, 7), leased(made, 8)] == [0, 1]
    made.settle(0, 0, 7)
    made.release(7)
    made.release(8)
    assert leased(made, 9) == 1


def test_a_retry_of_an_exhausted_stream_finds_a_worker():
    made = queue(batch(0, "s"))
    made.lease(7)
    assert leased(made, 7) is None
    made.fail(0)
    assert leased(made, 8) == 0
