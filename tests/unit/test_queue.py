"""The queue, case by case; what holds in every order of events is in tests/property/test_queue.py."""

import pytest

from batch_score.job.queue import MiniBatchQueue
from batch_score.job.split import Failure
from batch_score.minibatch import FailedItem, Fault, MiniBatch

FAULT = Failure(Fault("ValueError", "no"))
UNREADABLE = Failure(Fault("RecordError", "no"), reading=True)
OUT_OF_MEMORY = Failure(Fault("MemoryError", "no"), memory=True)


def batch(index, affinity="", rows=2, **more):
    return MiniBatch(index, "f", index, 1, index * 2, rows, affinity=affinity, **more)


def queue(*batches, max_try=3, complete=True, **options):
    made = MiniBatchQueue(max_try, **options)
    made.add(batches)
    made.plan_complete = complete
    return made


def leased(made, worker):
    task = made.lease(worker)
    return None if task is None else task.minibatch.index


def parts(made, count):
    """The parts of the next tasks, all scored; None for a whole mini-batch."""
    found = []
    for _ in range(count):
        task = made.lease(0)
        made.scored(task.ticket, None)
        found.append(task.part)
    return found


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
    task = made.lease(0)
    assert (made.pending, made.settled) == (1, 0)
    settled = made.scored(task.ticket, "result")
    assert (settled.failed, [one.result for one in settled.scored], settled.bad) == (False, ["result"], ())
    assert (made.pending, made.settled) == (1, 1)


def test_what_an_earlier_session_settled_is_passed_over_but_counted():
    made = queue(complete=False)
    made.pass_over(batch(0, rows=5))
    made.add([batch(1)])
    made.plan_complete = True
    task = made.lease(0)
    assert (task.minibatch.index, task.first_item) == (1, 5)
    made.scored(task.ticket, None)
    assert made.finished


def test_a_failed_try_comes_next_with_its_count():
    made = queue(batch(0), batch(1))
    assert made.fail(made.lease(0).ticket, FAULT) is None
    task = made.lease(1)
    assert (task.minibatch.index, task.attempt, task.part) == (0, 1, None)


@pytest.mark.parametrize("max_try", [1, 2, 5])
def test_after_max_try_tries_it_is_failed_for_good_where_nothing_is_split(max_try):
    made = queue(batch(0), max_try=max_try, bisect=False)
    for attempt in range(max_try):
        task = made.lease(0)
        assert task.attempt == attempt
        assert made.fail(task.ticket, FAULT) is None
    asked = made.lease(0)
    assert asked.describe == (0, 1)
    settled = made.described(asked.ticket, [FailedItem("f", 0, FAULT.fault)])
    assert settled.failed
    assert [(bad.part.start, bad.part.stop, bad.part.tries) for bad in settled.bad] == [(0, 2, max_try)]
    assert len(settled.described) == 1
    assert made.finished


def test_a_mini_batch_that_failed_all_tries_is_halved_and_its_first_half_tried():
    made = queue(batch(0, rows=8), batch(1), max_try=2)
    for _ in range(2):
        made.fail(made.lease(0).ticket, FAULT)
    first = made.lease(0)
    assert (first.part, first.attempt) == ((0, 4), 2)
    assert leased(made, 0) == 1, "nothing is known of the second half, so it is not tried yet"
    assert made.fail(first.ticket, FAULT) is None
    assert sorted([made.lease(0).part, made.lease(0).part]) == [(0, 2), (4, 8)]


def test_a_good_first_half_tells_that_the_second_one_is_bad():
    made = queue(batch(0, rows=8), max_try=1)
    made.fail(made.lease(0).ticket, FAULT)
    assert parts(made, 3) == [(0, 4), (4, 6), (6, 7)]
    last = made.lease(0)
    assert last.part == (7, 8), "an item is bad only after it failed alone"
    assert made.fail(last.ticket, FAULT) is None
    settled = made.described(made.lease(0).ticket, [])
    assert [(bad.part.start, bad.part.stop, bad.part.tries) for bad in settled.bad] == [(7, 8, 2)]
    assert [(one.part.start, one.part.stop) for one in settled.scored] == [(0, 4), (4, 6), (6, 7)]


def test_an_item_alone_whose_worker_was_killed_by_somebody_is_tried_once_more():
    killed = Failure(Fault("WorkerDied", "no"), worker_lost=True, unexplained=True)
    made = queue(batch(0, rows=2), max_try=1)
    made.fail(made.lease(0).ticket, FAULT)
    made.fail(made.lease(0).ticket, killed)
    tasks = [made.lease(0), made.lease(0)]
    assert sorted(task.part for task in tasks) == [(0, 1), (1, 2)]
    for task in tasks:
        made.fail(task.ticket, killed)
    last = made.lease(0)
    assert last.part == (1, 2), "the other item, which was killed for the first time"
    made.fail(last.ticket, killed)
    assert made.lease(0).describe == (0, 1)


def test_a_mini_batch_of_one_item_has_its_tries_and_no_more():
    killed = Failure(Fault("WorkerDied", "no"), worker_lost=True, unexplained=True)
    made = queue(batch(0, rows=1), max_try=1)
    made.fail(made.lease(0).ticket, killed)
    assert made.lease(0).describe == (0,)


def test_what_cannot_be_read_is_not_split():
    made = queue(batch(0, rows=8), max_try=1)
    settled = made.fail(made.lease(0).ticket, UNREADABLE)
    assert [(bad.part.start, bad.part.stop) for bad in settled.bad] == [(0, 8)]


def test_a_mini_batch_that_run_must_see_whole_is_not_split():
    made = queue(batch(0, rows=8, whole=True), max_try=2)
    made.fail(made.lease(0).ticket, OUT_OF_MEMORY)
    again = made.lease(0)
    assert (again.part, again.attempt) == (None, 1)
    made.fail(again.ticket, FAULT)
    assert len(made.lease(0).describe) == 8


def test_bad_files_need_no_description():
    made = queue(MiniBatch(0, "", 0, 0, 0, 1, files=("a",)), max_try=1)
    assert made.fail(made.lease(0).ticket, FAULT).bad


def test_out_of_memory_halves_the_next_try_and_the_size_that_worked_is_remembered():
    made = queue(batch(0, rows=8), batch(1, rows=9), batch(2, rows=4))
    made.fail(made.lease(0).ticket, OUT_OF_MEMORY)
    assert parts(made, 2) == [(0, 4), (4, 8)]
    assert made.most_items == 4
    assert parts(made, 4) == [(0, 4), (4, 8), (8, 9), None]
    assert made.finished


def test_a_remainder_of_one_item_that_fits_does_not_decide_how_many_do():
    """Of 13 items 12 and then 6 are too many; the thirteenth was scored beside them."""
    made = queue(batch(0, rows=13))
    made.fail(made.lease(0).ticket, OUT_OF_MEMORY)
    first, second = made.lease(0), made.lease(1)
    assert (first.part, second.part) == ((0, 6), (6, 12))
    third = made.lease(1)
    assert third.part == (12, 13)
    made.scored(third.ticket, None, run=True)
    made.fail(first.ticket, OUT_OF_MEMORY)
    assert parts(made, 2) == [(0, 3), (3, 6)]
    made.fail(second.ticket, OUT_OF_MEMORY)
    assert parts(made, 2) == [(6, 9), (9, 12)]
    assert made.finished
    assert made.most_items == 3


def test_a_description_that_cannot_be_had_is_done_without():
    made = queue(batch(0, rows=1), max_try=1)
    made.fail(made.lease(0).ticket, FAULT)
    assert made.fail(made.lease(0).ticket, FAULT).described is None
    assert made.finished


def test_what_cost_too_many_workers_is_given_up_also_while_it_is_held():
    lost = Failure(Fault("WorkerDied", "no"), worker_lost=True)
    made = queue(batch(0, rows=8), max_try=2, patience=0, most_workers_lost=3)
    made.fail(made.lease(0).ticket, lost)
    made.fail(made.lease(0).ticket, lost)
    assert made.lease(0) is None
    assert (made.held, made.held_items) == (1, 8)
    made.add([batch(1)])
    made.scored(made.lease(0).ticket, None)
    assert made.fail(made.lease(0).ticket, lost) is None
    settled = made.described(made.lease(0).ticket, None)
    assert sum(bad.part.size for bad in settled.bad) == 8
    assert made.finished
    assert made.lease(0) is None


def test_an_answer_without_a_call_of_run_is_no_success():
    made = queue(batch(0, rows=8), batch(1), max_try=1, patience=0)
    made.fail(made.lease(0).ticket, FAULT)
    made.scored(made.lease(0).ticket, None, run=False)
    assert made.lease(0) is None
    assert made.hopeless


def test_while_nothing_succeeds_what_failed_waits():
    made = queue(batch(0, rows=1000), batch(1, rows=1000), max_try=1)
    calls = 0
    while task := made.lease(0):
        calls += 1
        made.fail(task.ticket, FAULT)
    assert calls < 50
    assert made.hopeless
    assert (made.held, made.held_items) == (2, 2000)
    made.add([batch(2)])
    made.scored(made.lease(0).ticket, None)
    assert made.held == 0
    assert made.lease(0).minibatch.index in (0, 1)


def test_while_nothing_succeeds_what_ran_out_of_memory_waits_too():
    """Also when all mini-batches were with workers before the first of them failed."""
    made = queue(*(batch(index, rows=100) for index in range(20)), max_try=3)
    tickets = [made.lease(index % 4).ticket for index in range(20)]
    memory = Failure(Fault("MemoryError", "no"), memory=True)
    calls = 0
    while tickets:
        made.fail(tickets.pop(), memory)
        if task := made.lease(calls % 4):
            tickets.append(task.ticket)
        calls += 1
    assert calls < 20 + 20 * 2  # each of them, then the parts of few
    assert made.hopeless
    assert made.held == 20


def test_what_is_given_up_ends_with_its_last_failure():
    made = queue(batch(0, rows=1000), max_try=1)
    while task := made.lease(0):
        made.fail(task.ticket, FAULT)
    assert made.give_up() == []
    settled = made.described(made.lease(0).ticket, [])
    assert sum(bad.part.size for bad in settled.bad) == 1000
    assert made.finished
    assert not made.hopeless


def test_an_answer_counts_only_while_its_lease_stands():
    made = queue(batch(0), batch(1))
    ticket = made.lease(0).ticket
    assert made.task(ticket, 1) is None  # another worker's
    assert made.task(ticket + 1, 0) is None  # nobody's
    assert made.task(ticket, 0) is not None
    made.scored(ticket, None)
    assert made.task(ticket, 0) is None  # the second time
    assert made.settled == 1


def test_a_lost_workers_tasks_come_back_in_order_without_counting_a_try():
    made = queue(*(batch(index) for index in range(4)))
    before = [made.lease(0) for _ in range(3)]
    assert [task.minibatch.index for task in made.holds(0)] == [0, 1, 2]
    assert made.release(0) == before
    tasks = [made.lease(1) for _ in range(4)]
    assert [(task.minibatch.index, task.attempt) for task in tasks] == [(0, 0), (1, 0), (2, 0), (3, 0)]
    assert all(made.task(task.ticket, 0) is None for task in before)


def test_a_lost_workers_parts_come_back_too():
    made = queue(batch(0, rows=4), max_try=1)
    made.fail(made.lease(0).ticket, FAULT)
    part = made.lease(0).part
    made.release(0)
    assert made.lease(1).part == part


def test_of_several_suspects_each_is_alone_with_its_next_worker():
    made = queue(*(batch(index) for index in range(4)))
    first, second, third = (made.lease(0) for _ in range(3))
    made.release(0, {first.ticket, second.ticket})
    alone = made.lease(1)
    assert (alone.minibatch.index, alone.attempt, alone.alone) == (0, 0, True)
    assert made.lease(1) is None, "nothing beside a suspect"
    made.lease(2)
    assert made.lease(2) is None
    other = made.lease(3)
    assert (other.minibatch.index, other.alone) == (third.minibatch.index, False)
    made.fail(alone.ticket, FAULT)
    assert made.lease(3) is None, "a suspect is not given to a worker that holds something"
    again = made.lease(1)
    assert (again.minibatch.index, again.attempt, again.alone) == (0, 1, True)


def test_a_lost_worker_that_was_describing_is_replaced():
    made = queue(batch(0, rows=1), max_try=1)
    made.fail(made.lease(0).ticket, FAULT)
    assert made.lease(0).describe == (0,)
    made.release(0)
    assert made.lease(1).describe == (0,)


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


def test_a_stream_of_which_all_so_far_was_settled_before_has_a_reader_for_the_rest():
    made = queue(complete=False)
    made.pass_over(batch(0, "s"))
    made.add([batch(1, "s")])
    assert leased(made, 7) == 1
    made.add([batch(2, "s")])
    assert leased(made, 8) is None
    assert leased(made, 7) == 2


def test_an_owner_without_work_in_its_stream_scores_others_meanwhile():
    made = queue(batch(0), batch(1, "s"), complete=False)
    assert [leased(made, 7), leased(made, 7)] == [1, 0]


def test_a_lost_workers_stream_goes_on_in_order_elsewhere():
    made = queue(*(batch(index, "s") for index in range(4)), max_try=9)
    blamed = made.lease(7)
    assert leased(made, 7) == 1
    made.fail(blamed.ticket, FAULT)
    made.release(7)
    tasks = [made.lease(8) for _ in range(4)]
    assert [(task.minibatch.index, task.attempt) for task in tasks] == [(0, 1), (1, 0), (2, 0), (3, 0)]


def test_the_parts_of_a_streams_mini_batch_are_its_readers():
    made = queue(batch(0, "s", rows=4), batch(1, "s"), batch(2), max_try=1)
    made.fail(made.lease(7).ticket, FAULT)
    assert leased(made, 8) == 2
    assert (made.lease(7).part, leased(made, 7)) == ((0, 2), 1)


def test_the_stream_of_a_worker_that_died_with_nothing_in_hand_goes_on_elsewhere():
    made = queue(batch(0, "s"), batch(1, "s"))
    made.scored(made.lease(7).ticket, None)
    made.release(7)
    assert leased(made, 8) == 1


def test_an_exhausted_stream_of_a_lost_worker_hides_no_other():
    made = queue(batch(0, "s"), batch(1, "t"), batch(2, "t"))
    first = made.lease(7)
    assert leased(made, 8) == 1
    made.scored(first.ticket, None)
    made.release(7)
    made.release(8)
    assert leased(made, 9) == 1


def test_tasks_for_anyone_are_those_without_a_reader():
    made = queue(batch(0, "s"), batch(1, "s"), batch(2, "s"), batch(3, "t"), batch(4))
    assert (made.pending, made.for_anyone) == (5, 5)
    made.lease(7)
    assert (made.pending, made.for_anyone) == (4, 2)


def test_a_reader_of_a_stream_that_has_nothing_now_takes_up_another():
    made = queue(batch(0, "s"), batch(1, "t"), complete=False)
    assert [leased(made, 7), leased(made, 8)] == [0, 1]
    made.release(7)
    assert [leased(made, 8), leased(made, 8)] == [0, None]


def test_a_retry_of_an_exhausted_stream_finds_a_worker():
    made = queue(batch(0, "s"))
    task = made.lease(7)
    assert leased(made, 7) is None
    made.fail(task.ticket, FAULT)
    assert leased(made, 8) == 0
