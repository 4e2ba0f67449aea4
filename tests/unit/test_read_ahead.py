"""When a worker adds a reading thread, and what its threads do with tasks."""

import os
import threading
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.minibatch import MiniBatch
from batch_score.worker.messages import Task
from batch_score.worker.pulse import ENCODE, MOST_READERS, RUN, Pulse, blank, loading
from batch_score.worker.read_ahead import TOO_MUCH, WINDOW_CALLS, WINDOW_S, Need, ReadAhead
from batch_score.worker.reading import Loaded

CALLS = st.lists(st.tuples(st.floats(0, 0.2), st.floats(0, 0.2)), max_size=60)


@given(CALLS)
def test_a_thread_is_added_only_after_a_window_in_which_run_waited_too_much(calls):
    need, window = Need(), []
    for waited, busy in calls:
        window.append((waited, busy))
        whole = sum(map(sum, window))
        full = len(window) >= WINDOW_CALLS and whole >= WINDOW_S
        waits = sum(waited for waited, _ in window) > TOO_MUCH * whole
        assert need.add(waited, busy, unread=True) == (full and waits)
        window = [] if full else window


@given(CALLS)
def test_no_thread_is_added_that_would_have_nothing_to_read(calls):
    need = Need()
    assert not any(need.add(waited, busy, unread=False) for waited, busy in calls)


class Reading:
    """Takes note of which one reads what, when it may and as many others read as `meet` wants."""

    def __init__(self, read, meet, may_read):
        self.read, self.meet, self.may_read = read, meet, may_read

    def load(self, task):
        self.meet.wait(10)
        self.may_read.wait(10)
        self.read.append((self, task.ticket))
        return Loaded(task, 0.0, 0.0)


def page(readers):
    with os.fdopen(os.memfd_create("pulse"), "r+b", buffering=0) as file:
        blank(file)
        return Pulse(file, readers=readers)


class Threads:
    """A ReadAhead of real threads, and what came of it."""

    def __init__(self, threads, meet=1):
        self.read, self.done, self.ended, self.may_read = [], [], threading.Event(), threading.Event()
        self.may_read.set()
        self.pulse = page(threads[1] + 1)
        self.threads = []
        self.ahead = ReadAhead(
            partial(Reading, self.read, threading.Barrier(meet), self.may_read),
            threads,
            self.pulse,
            start=self.start,
            done=self.done.append,
            end=self.ended.set,
        )

    def start(self, name, target):
        self.threads.append(threading.Thread(target=target, name=name))
        self.threads[-1].start()

    def stop(self, *, abandon=False):
        self.ahead.stop(abandon=abandon)
        assert self.ended.wait(10)
        for thread in self.threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self.threads)
        assert self.pulse.loads() == ()


def task(ticket, affinity="", **of_task):
    return Task(MiniBatch(ticket, "f", 0, 1, 0, 1, affinity=affinity), 0, ticket=ticket, **of_task)


@pytest.mark.parametrize("threads", [(1, 1), (1, 3), (4, 4)])
@pytest.mark.parametrize("count", [0, 1, 30])
def test_every_task_is_read_once_before_the_end(threads, count):
    some = Threads(threads)
    for ticket in range(count):
        some.ahead.put(task(ticket, affinity="s" if ticket % 3 else ""))
    some.stop()
    assert sorted(loaded.task.ticket for loaded in some.done) == list(range(count))


def test_as_many_tasks_are_read_at_once_as_there_are_threads():
    some = Threads((4, 4), meet=4)
    for ticket in range(8):
        some.ahead.put(task(ticket))
    some.stop()
    assert len(some.done) == 8
    assert len({reading for reading, _ in some.read}) == 4


IN_ORDER = [task(1, affinity="a.gz"), task(3, part=(0, 1)), task(5, describe=(0,)), task(7, affinity="b.gz")]


def test_what_must_be_read_in_order_is_read_so_by_one_thread():
    some = Threads((3, 3))
    for one in IN_ORDER:
        some.ahead.put(one)
        some.ahead.put(task(one.ticket + 1))
    some.stop()
    first = next(reading for reading, ticket in some.read if ticket == 1)
    assert [ticket for reading, ticket in some.read if reading is first] == [1, 3, 5, 7]


@pytest.mark.parametrize(("threads", "wanted"), [((1, 3), 4), ((2, 2), 3), ((1, 1), 1)])
def test_threads_are_added_while_run_waits_and_no_more_than_allowed(threads, wanted):
    some = Threads(threads)
    some.may_read.clear()
    for ticket in range(10):
        some.ahead.put(task(ticket))
    for _ in range(100):
        some.ahead.ran(1.0, 0.1)
    assert len(some.threads) == wanted
    some.may_read.set()
    some.stop()
    assert len(some.done) == 10


def test_what_was_not_begun_on_is_dropped_on_the_way_out():
    some = Threads((2, 2), meet=2)
    some.ahead.put(task(0))  # one alone, which waits for another: both are begun on
    some.ahead.put(task(1))
    while len(some.read) < 2:
        pass
    some.ahead.stop(abandon=True)
    some.ahead.put(task(2))
    some.stop(abandon=True)
    assert sorted(loaded.task.ticket for loaded in some.done) == [0, 1]


def test_the_pulse_has_a_slot_for_each_thread():
    pulse = page(MOST_READERS + 1)
    assert pulse.loads() == ()
    for thread in range(MOST_READERS + 1):
        pulse.busy(loading(thread), thread, 1.0)
    pulse.busy(RUN, 500, 1.0)
    pulse.busy(ENCODE, 501, 1.0)
    pulse.idle(loading(3))
    assert [beat.ticket for beat in pulse.loads()] == [thread for thread in range(MOST_READERS + 1) if thread != 3]
    assert (pulse.read(RUN).ticket, pulse.read(ENCODE).ticket) == (500, 501)
