"""The queue against a naive twin, in any order of planning, leasing, scoring, failing and dying."""

from itertools import groupby
from operator import itemgetter

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batch_score.job.queue import MiniBatchQueue
from batch_score.minibatch import MiniBatch

MAX_TRY = 3
WORKERS = st.integers(0, 3)


def batch(index, affinity=""):
    return MiniBatch(index, "f", index, 1, index, 1, affinity=affinity)


class Queue(RuleBasedStateMachine):
    """The twin keeps, per mini-batch, its state and its tries, and per stream who reads it."""

    def __init__(self):
        super().__init__()
        self.queue = MiniBatchQueue(MAX_TRY)
        self.streams = {}  # index -> affinity
        self.tries = {}  # index -> failed tries
        self.waiting = set()
        self.leases = {}  # index -> (worker, attempt)
        self.settled = {}  # index -> how often
        self.readers = {}  # stream -> worker that got its last task
        self.exhausted = set()  # streams that were once handed out whole: their reader may have let them go
        self.complete = False

    @precondition(lambda self: not self.complete)
    @rule(stream=st.sampled_from(["", "", "s", "t", "u"]), count=st.integers(1, 4))
    def plan(self, stream, count):
        """A stream is planned in one piece, as a file is."""
        first = len(self.tries)
        name = f"{stream}{first}" if stream else ""
        self.queue.add([batch(first + k, name) for k in range(count)])
        for index in range(first, first + count):
            self.streams[index], self.tries[index] = name, 0
            self.waiting.add(index)

    @precondition(lambda self: not self.complete and self.streams and self.streams[max(self.streams)])
    @rule()
    def plan_more_of_the_last_stream(self):
        index = len(self.tries)
        self.streams[index], self.tries[index] = self.streams[index - 1], 0
        self.queue.add([batch(index, self.streams[index])])
        self.waiting.add(index)

    @rule()
    def end_the_plan(self):
        self.complete = self.queue.plan_complete = True

    @rule(worker=WORKERS)
    def lease(self, worker):
        task = self.queue.lease(worker)
        if task is None:
            assert not any(self.free_for(index, worker) for index in self.waiting)
            return
        index = task.minibatch.index
        assert index in self.waiting
        assert task.attempt == self.tries[index]
        self.waiting.remove(index)
        stream = self.streams[index]
        if stream:
            assert index == min(other for other in self.waiting | {index} if self.streams[other] == stream)
            assert self.readers.get(stream) in (None, worker) or stream in self.exhausted
            self.readers[stream] = worker
            if not any(self.streams[other] == stream for other in self.waiting):
                self.exhausted.add(stream)
        self.leases[index] = (worker, task.attempt)

    def free_for(self, index, worker):
        """A single mini-batch is for everyone, one of a stream for its reader, or for everyone if it has none."""
        stream = self.streams[index]
        return not stream or self.readers.get(stream, worker) == worker

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def score(self, data):
        index = data.draw(st.sampled_from(sorted(self.leases)))
        worker, attempt = self.leases.pop(index)
        assert self.queue.settle(index, attempt, worker)
        self.settled[index] = self.settled.get(index, 0) + 1

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def fail(self, data):
        index = data.draw(st.sampled_from(sorted(self.leases)))
        self.count_a_failure(index)

    def count_a_failure(self, index):
        _, attempt = self.leases.pop(index)
        given_up = self.queue.fail(index)
        self.tries[index] += 1
        if self.tries[index] == MAX_TRY:
            assert given_up.minibatch.index == index
            assert given_up.attempt == attempt
            self.settled[index] = self.settled.get(index, 0) + 1
        else:
            assert given_up is None
            self.waiting.add(index)

    @rule(worker=WORKERS, blame=st.booleans())
    def die(self, worker, blame):
        """A worker dies: the mini-batch it was at has failed, the others come back uncounted."""
        held = sorted(index for index, (holder, _) in self.leases.items() if holder == worker)
        assert sorted(task.minibatch.index for task in self.queue.holds(worker)) == held
        if held and blame:
            self.count_a_failure(held[0])
            held = held[1:]
        assert sorted(task.minibatch.index for task in self.queue.release(worker)) == held
        for index in held:
            del self.leases[index]
            self.waiting.add(index)
        self.readers = {stream: reader for stream, reader in self.readers.items() if reader != worker}

    @rule(index=st.integers(0, 30), attempt=st.integers(0, 3), worker=WORKERS)
    def hear_what_has_no_lease(self, index, attempt, worker):
        if self.leases.get(index) != (worker, attempt):
            assert not self.queue.settle(index, attempt, worker)

    @invariant()
    def counts_agree(self):
        assert self.queue.planned == self.queue.items == len(self.tries)
        assert self.queue.pending == len(self.waiting)
        assert self.queue.settled == len(self.settled)
        assert all(times == 1 for times in self.settled.values())
        assert self.queue.finished == (self.complete and len(self.settled) == len(self.tries))

    def teardown(self):
        """However it went: workers that keep asking and scoring bring it to the end."""
        self.queue.plan_complete = True
        for worker in range(4):
            self.queue.release(worker)
        while not self.queue.finished:
            tasks = [(worker, self.queue.lease(worker)) for worker in (5, 6)]
            assert any(task for _, task in tasks), "nobody gets work, yet the queue is not finished"
            for worker, task in tasks:
                assert task is None or self.queue.settle(task.minibatch.index, task.attempt, worker)


TestQueue = Queue.TestCase


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
        queue.add([batch(index + k, f"s{number}" if stream else "") for k in range(count)])
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
                assert queue.settle(held[0].minibatch.index, held[0].attempt, worker)
            turn += 1
    for stream, tasks in read.items():
        if not stream:
            continue
        turns = [(worker, [index for _, index in part]) for worker, part in groupby(tasks, key=itemgetter(0))]
        assert len({worker for worker, _ in turns}) == len(turns), "a stream came back to a worker it had left"
        for _, indices in turns:
            assert indices == list(range(indices[0], indices[-1] + 1))
