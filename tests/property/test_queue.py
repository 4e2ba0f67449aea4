"""The queue, in any order of planning, leasing, scoring, failing and dying: every item is settled exactly once."""

import math
from itertools import groupby
from operator import itemgetter

from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from batch_score.job.queue import PATIENCE, MiniBatchQueue
from batch_score.job.split import MOST_WORKERS_LOST, Failure
from batch_score.minibatch import FailedItem, Fault, MiniBatch

MAX_TRY = 3
WORKERS = st.integers(0, 3)
FAULT = Fault("ValueError", "no")
SIZES = st.integers(1, 9)
FLAGS = dict.fromkeys(("reading", "memory", "worker_lost", "unexplained"), st.booleans())
FAILURES = st.builds(Failure, st.just(FAULT), **FLAGS)


def batch(index, rows=1, affinity="", *, whole=False):
    return MiniBatch(index, "f", index, 1, index, rows, affinity=affinity, whole=whole)


def items_of(settled):
    """Positions that were scored, and positions that are bad, of one mini-batch."""
    scored = [p for one in settled.scored for p in one.part.positions]
    bad = [p for one in settled.bad for p in one.part.positions]
    return scored, bad


class Queue(RuleBasedStateMachine):
    """The twin keeps which items are leased to whom, and what was said of each mini-batch at its end."""

    @initialize(patience=st.integers(0, 3), lost=st.integers(1, 5))
    def begin(self, patience, lost):
        self.queue = MiniBatchQueue(MAX_TRY, patience=patience, most_workers_lost=lost)

    def __init__(self):
        super().__init__()
        self.queue = MiniBatchQueue(MAX_TRY)
        self.batches = {}  # index -> mini-batch
        self.leases = {}  # ticket -> (worker, task)
        self.scored = set()  # (index, position) of every item that was scored while its lease stood
        self.settled = {}  # index -> how it ended
        self.readers = {}  # stream -> worker that got its last task
        self.exhausted = set()  # streams that were once handed out whole: their reader may have let them go
        self.complete = False

    @precondition(lambda self: not self.complete)
    @rule(
        stream=st.sampled_from(["", "", "s", "t"]), sizes=st.lists(SIZES, min_size=1, max_size=3), whole=st.booleans()
    )
    def plan(self, stream, sizes, whole):
        """A stream is planned in one piece, as a file is."""
        first = len(self.batches)
        name = f"{stream}{first}" if stream else ""
        added = [batch(first + k, rows, name, whole=whole) for k, rows in enumerate(sizes)]
        self.queue.add(added)
        self.batches.update((one.index, one) for one in added)

    @precondition(lambda self: not self.complete)
    @rule(rows=SIZES)
    def plan_what_was_settled_before(self, rows):
        index = len(self.batches)
        self.batches[index] = batch(index, rows)
        self.queue.pass_over(self.batches[index])
        self.settled[index] = None

    @rule()
    def end_the_plan(self):
        self.complete = self.queue.plan_complete = True

    @rule(worker=WORKERS)
    def lease(self, worker):
        beside = [task for holder, task in self.leases.values() if holder == worker]
        task = self.queue.lease(worker)
        if task is None:
            return
        assert not beside or not any(other.alone for other in (*beside, task))
        assert task.ticket not in self.leases
        assert task.minibatch.index not in self.settled
        for _, other in self.leases.values():
            if other.minibatch.index == task.minibatch.index and not task.describe:
                assert other.span[1] <= task.span[0] or task.span[1] <= other.span[0], "an item is leased twice"
        whole = task.minibatch.whole or self.queue.most_items is None
        assert task.describe or whole or task.items <= self.queue.most_items or task.attempt, "too many for the memory"
        assert task.part is None or not task.minibatch.whole
        self.leases[task.ticket] = (worker, task)

    def draw_lease(self, data):
        ticket = data.draw(st.sampled_from(sorted(self.leases)))
        return ticket, *self.leases.pop(ticket)

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def score(self, data):
        ticket, worker, task = self.draw_lease(data)
        assert self.queue.task(ticket, worker) == task
        assert self.queue.task(ticket, worker + 1) is None, "only whoever has the lease may answer it"
        if task.describe:
            self.end(self.queue.described(ticket, data.draw(st.none() | st.just([FailedItem("f", 0, FAULT)]))))
        else:
            span = range(*task.span)
            self.scored.update((task.minibatch.index, position) for position in span)
            self.end(self.queue.scored(ticket, list(span), run=data.draw(st.booleans())))
        assert self.queue.task(ticket, worker) is None, "a lease is answered once"

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), failure=FAILURES)
    def fail(self, data, failure):
        ticket, _, _ = self.draw_lease(data)
        self.end(self.queue.fail(ticket, failure))

    @rule(worker=WORKERS, failure=st.none() | FAILURES, suspects=st.integers(0, 3))
    def die(self, worker, failure, suspects):
        """A worker dies: the task it was at has failed, the others come back uncounted, some as suspects."""
        held = [ticket for ticket, (holder, _) in self.leases.items() if holder == worker]
        assert [task.ticket for task in self.queue.holds(worker)] == held
        if held and failure:
            del self.leases[held[0]]
            self.end(self.queue.fail(held[0], failure))
            held = held[1:]
        assert [task.ticket for task in self.queue.release(worker, held[:suspects])] == held
        for ticket in held:
            del self.leases[ticket]

    @rule()
    def give_up_what_is_held(self):
        for settled in self.queue.give_up():
            self.end(settled)

    def end(self, settled):
        """What a mini-batch came to covers its items exactly."""
        if settled is None:
            return
        minibatch = settled.task.minibatch
        assert minibatch.index not in self.settled, "settled twice"
        assert settled.task.part is None
        scored, bad = items_of(settled)
        assert sorted(scored + bad) == list(range(minibatch.rows))
        assert [p for one in settled.scored for p in one.result] == scored == sorted(scored)
        assert all((minibatch.index, position) in self.scored for position in scored)
        assert settled.failed >= bool(bad)
        self.settled[minibatch.index] = settled

    @invariant()
    def counts_agree(self):
        assert self.queue.planned == len(self.batches)
        assert self.queue.items == sum(one.rows for one in self.batches.values())
        assert self.queue.settled == len(self.settled)
        assert self.queue.finished == (self.complete and len(self.settled) == len(self.batches))
        assert (self.queue.held > 0) == (self.queue.held_items > 0)

    def teardown(self):
        """However it went: workers that keep asking and scoring bring it to the end."""
        self.queue.plan_complete = self.complete = True
        for worker in range(4):
            self.queue.release(worker)
        while not self.queue.finished:
            tasks = [self.queue.lease(worker) for worker in (5, 6)]
            if not any(tasks):
                assert self.queue.hopeless, "nobody gets work, yet the queue is not finished"
                for settled in self.queue.give_up():
                    self.end(settled)
            for task in filter(None, tasks):
                span = range(*task.span)
                self.scored.update((task.minibatch.index, position) for position in span)
                describe = task.describe
                answer = self.queue.described(task.ticket, []) if describe else self.queue.scored(task.ticket, [*span])
                self.end(answer)
        self.counts_agree()


TestQueue = Queue.TestCase


class Script:
    """Workers that fail whenever a poisoned item is among those they get; the calls of run() are counted."""

    def __init__(self, queue, poisoned, *, memory=None):
        self.queue, self.poisoned, self.memory = queue, poisoned, memory
        self.calls, self.sizes, self.settled = 0, [], {}

    def drive(self):
        turn = 0
        while not self.queue.finished:
            turn += 1
            task = self.queue.lease(turn % 3)
            answers = [self.answer(task)] if task else self.queue.give_up()
            for settled in filter(None, answers):
                assert settled.task.minibatch.index not in self.settled
                self.settled[settled.task.minibatch.index] = settled
        return self

    def answer(self, task):
        if task.describe:
            return self.queue.described(task.ticket, [])
        self.calls += 1
        self.sizes.append(task.items)
        if self.memory is not None and task.items > self.memory:
            return self.queue.fail(task.ticket, Failure(FAULT, memory=True))
        if any((task.minibatch.index, position) in self.poisoned for position in range(*task.span)):
            return self.queue.fail(task.ticket, Failure(FAULT))
        return self.queue.scored(task.ticket, None)


def filled(sizes, max_try=MAX_TRY, **options):
    queue = MiniBatchQueue(max_try, **options)
    queue.add([batch(index, rows) for index, rows in enumerate(sizes)])
    queue.plan_complete = True
    return queue


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), data=st.data(), max_try=st.integers(1, 3))
def test_exactly_the_poisoned_items_are_bad(sizes, data, max_try):
    places = [(index, position) for index, rows in enumerate(sizes) for position in range(rows)]
    poisoned = set(data.draw(st.lists(st.sampled_from(places), unique=True)))
    assume(any(not poisoned & {(index, p) for p in range(rows)} for index, rows in enumerate(sizes)))
    script = Script(filled(sizes, max_try), poisoned).drive()
    bad = {(index, p) for index, settled in script.settled.items() for p in items_of(settled)[1]}
    assert bad == poisoned
    assert {index for index, settled in script.settled.items() if settled.failed} == {index for index, _ in poisoned}


@given(rows=st.integers(1, 5000), data=st.data(), max_try=st.integers(1, 4))
def test_one_bad_item_costs_at_most_twice_the_logarithm_in_calls(rows, data, max_try):
    poison = data.draw(st.integers(0, rows - 1))
    script = Script(filled([rows], max_try), {(0, poison)}).drive()
    assert items_of(script.settled[0])[1] == [poison]
    assert script.calls - max_try <= 2 * math.log2(rows)


@given(sizes=st.lists(st.integers(1, 3000), min_size=1, max_size=5), max_try=st.integers(1, 3))
def test_a_script_that_always_fails_is_not_tried_item_by_item(sizes, max_try):
    poisoned = {(index, position) for index, rows in enumerate(sizes) for position in range(rows)}
    script = Script(filled(sizes, max_try), poisoned).drive()
    assert len(script.settled) == len(sizes)
    assert all(not settled.scored for settled in script.settled.values())
    assert script.calls <= max_try * len(sizes) + PATIENCE


@given(sizes=st.lists(st.integers(1, 300), min_size=2, max_size=8), memory=st.integers(1, 300))
def test_the_size_that_fits_into_memory_is_remembered(sizes, memory):
    script = Script(filled(sizes), set(), memory=memory).drive()
    assert all(not settled.failed and not settled.bad for settled in script.settled.values())
    too_large = [size for size in script.sizes if size > memory]
    first = next((place for place, rows in enumerate(sizes) if rows > memory), None)
    if first is None:
        assert not too_large
        return
    assert len(too_large) <= math.ceil(math.log2(max(sizes))) + 1
    assert script.queue.most_items <= memory


@given(rows=st.integers(2, 2000), data=st.data())
def test_one_item_that_no_memory_holds_does_not_make_the_others_small(rows, data):
    queue = filled([rows, 1])
    poison = data.draw(st.integers(0, rows - 1))
    script = Script(queue, set())
    while not queue.finished:
        task = queue.lease(0)
        if task.minibatch.index == 0 and not task.describe and task.span[0] <= poison < task.span[1]:
            script.calls += 1
            settled = queue.fail(task.ticket, Failure(FAULT, memory=True))
            if settled:
                script.settled[0] = settled
        elif settled := script.answer(task):
            script.settled[settled.task.minibatch.index] = settled
    assert items_of(script.settled[0])[1] == [poison]
    assert script.calls <= 6 * math.log2(rows) + 6


@given(rows=st.integers(2, 400), data=st.data())
def test_without_bisecting_a_mini_batch_fails_as_a_whole(rows, data):
    poison = data.draw(st.integers(0, rows - 1))
    script = Script(filled([rows, 1], bisect=False), {(0, poison)}).drive()
    assert items_of(script.settled[0]) == ([], list(range(rows)))
    assert script.calls == MAX_TRY + 1


@given(rows=st.integers(2, 3000))
def test_items_that_hang_or_kill_cost_a_bounded_number_of_workers(rows):
    queue = filled([rows, 1], max_try=2)
    script = Script(queue, set())
    lost = 0
    while not queue.finished:
        task = queue.lease(0)
        if task.minibatch.index == 0 and not task.describe:
            lost += 1
            queue.fail(task.ticket, Failure(FAULT, worker_lost=True))
        else:
            script.answer(task)
    assert lost <= MOST_WORKERS_LOST + math.log2(rows) + 1


@given(
    streams=st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=8),
    workers=st.integers(1, 4),
    ahead=st.integers(1, 4),
    deaths=st.lists(st.integers(0, 40), max_size=6),
)
def test_each_stream_has_one_reader_who_reads_it_in_order(streams, workers, ahead, deaths):
    """Without failing tries, only a death moves a stream to another worker."""
    queue = MiniBatchQueue(MAX_TRY)
    index = 0
    for number, (stream, count) in enumerate(streams):
        queue.add([batch(index + k, affinity=f"s{number}" if stream else "") for k in range(count)])
        index += count
    queue.plan_complete = True
    read, turn = {}, 0
    numbers = list(range(workers))
    while not queue.finished:
        for place, worker in enumerate(numbers):
            while len(queue.holds(worker)) < ahead and (task := queue.lease(worker)):
                read.setdefault(task.minibatch.affinity, []).append((worker, task.minibatch.index))
            if turn in deaths:
                queue.release(worker)
                numbers[place] = max(numbers) + 1
            elif held := queue.holds(worker):
                assert queue.scored(held[0].ticket, None)
            turn += 1
    for stream, tasks in read.items():
        if not stream:
            continue
        turns = [(worker, [index for _, index in part]) for worker, part in groupby(tasks, key=itemgetter(0))]
        assert len({worker for worker, _ in turns}) == len(turns), "a stream came back to a worker it had left"
        for _, indices in turns:
            assert indices == list(range(indices[0], indices[-1] + 1))
