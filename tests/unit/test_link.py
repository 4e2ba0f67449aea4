"""Messages between the coordinator and a worker: whole, in order, and without waiting."""

import os
import socket
import threading
import time
from contextlib import closing, contextmanager, nullcontext

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_score.worker.link import HEAD, SHELVED, WINDOW, Inbox, Outbox
from batch_score.worker.shelf import SIZE, Shelf

# An empty message is pickled in a few bytes; around the window's length each of these ends somewhere else.
LENGTHS = st.one_of(
    st.integers(0, 100),
    st.integers(SHELVED - 1, SHELVED),
    st.integers(WINDOW - 100, WINDOW + 100),
    st.integers(0, 5 * WINDOW),
)
MESSAGES = st.lists(st.tuples(LENGTHS, LENGTHS), max_size=6)


@pytest.fixture
def ends():
    """Two ends of a stream, of which neither blocks."""
    one, other = socket.socketpair()
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        yield one, other


def heard(inbox):
    """All messages that are there."""
    found = []
    try:
        while True:
            found += inbox.receive()
    except (BlockingIOError, EOFError):
        return found


def content(length, number):
    """Bytes of that length; those of other messages differ."""
    return bytes((number + step) % 251 for step in range(min(length, 251))) * (length // 251 + 1)


def described(messages):
    return [
        (content(first, number)[:first], content(second, number + 100)[:second])
        for number, (first, second) in enumerate(messages)
    ]


@contextmanager
def maybe_shelf(wanted):
    """A shelf for rows, or none."""
    with closing(Shelf.make()) if wanted else nullcontext() as shelf:
        yield shelf


@given(MESSAGES, st.lists(st.integers(1, 2 * WINDOW), min_size=1, max_size=5), st.booleans())
@example([(0, 0)] * 6, [1], False)
@example([(WINDOW, 0), (0, WINDOW), (WINDOW, WINDOW), (0, 0)], [HEAD.size], False)
@example([(WINDOW, 0), (0, WINDOW), (WINDOW, WINDOW), (0, 0)], [HEAD.size], True)
def test_messages_come_out_as_they_went_in_whatever_the_pieces(ends, messages, pieces, shelved):
    one, other = ends
    wanted = described(messages)
    with maybe_shelf(shelved) as shelf:
        stream = written(wanted, shelf)
        assert not shelf or len(stream) < sum(length + SHELVED + 100 for length, _ in messages) + 1
        inbox, found, begin, turn = Inbox(other.fileno(), shelf), [], 0, 0
        while begin < len(stream):
            begin += one.send(stream[begin : begin + pieces[turn % len(pieces)]])
            turn += 1
            found += heard(inbox)
    assert found == wanted
    assert {type(payload) for _, payload in found} <= {bytes}


def written(messages, shelf=None):
    """The bytes that an outbox makes of them."""
    with os.fdopen(os.memfd_create("stream"), "w+b") as file:
        outbox = Outbox(file.fileno(), shelf)
        for message, payload in messages:
            outbox.put(message, payload)
        assert outbox.flush()
        file.seek(0)
        return file.read()


@given(MESSAGES, st.booleans())
def test_what_the_other_end_does_not_take_waits(ends, messages, shelved):
    check_all_arrive(ends, described(messages), shelved=shelved)


def test_rows_that_find_no_room_on_the_shelf_go_through_the_stream(ends):
    rows = [(number, bytes([number]) * (SIZE // 3)) for number in range(8)]
    check_all_arrive(ends, [*rows, (8, bytes(SIZE + 1))], shelved=True)


def check_all_arrive(ends, wanted, *, shelved):
    """Puts all messages before the other end takes the first."""
    one, other = ends
    with maybe_shelf(shelved) as shelf:
        outbox, inbox, found = Outbox(one.fileno(), shelf), Inbox(other.fileno(), shelf), []
        for message, payload in wanted:
            outbox.put(message, payload)
        assert len(outbox) > sum(len(payload) for _, payload in wanted) or not wanted
        while not outbox.flush():
            found += heard(inbox)
        assert found + heard(inbox) == wanted
        assert len(outbox) == 0


def test_a_full_stream_is_no_reason_to_wait(ends):
    one, other = ends
    outbox, inbox = Outbox(one.fileno()), Inbox(other.fileno())
    begin = time.monotonic()
    for number in range(2000):
        outbox.put(number, bytes(1000))
        outbox.flush()
    assert not outbox.flush()
    assert time.monotonic() - begin < 5
    outbox.clear()
    assert outbox.flush()
    some = heard(inbox)
    assert [number for number, _ in some] == list(range(len(some)))
    assert 0 < len(some) < 2000


def test_one_reading_takes_a_part_of_what_is_there(ends):
    one, other = ends
    outbox, inbox = Outbox(one.fileno()), Inbox(other.fileno())
    for number in range(100):
        outbox.put(number, bytes(1500))
    assert outbox.flush()
    first = inbox.receive()
    assert 0 < len(first) < 50
    assert [number for number, _ in first + heard(inbox)] == list(range(100))


@pytest.mark.parametrize("length", [10, 10 * WINDOW])
def test_a_message_that_breaks_off_is_none(length, ends):
    one, other = ends
    stream = written([("whole", b"1"), ("half", bytes(length))])
    one.sendall(stream[:-1]) if length == 10 else one.send(stream[:-1])
    one.close()
    inbox = Inbox(other.fileno())
    assert heard(inbox) == [("whole", b"1")]
    with pytest.raises(EOFError):
        inbox.receive()


def test_ends_that_block_wait_for_each_other(ends):
    """As the worker's end does: larger than what the stream holds, in both directions at once."""
    one, other = ends
    one.setblocking(True)
    other.setblocking(True)
    outbox = Outbox(one.fileno())
    sending = threading.Thread(target=lambda: [outbox.put(n, bytes(3_000_000)) or outbox.flush() for n in range(5)])
    sending.start()
    messages = Inbox(other.fileno()).messages()
    assert [next(messages) for _ in range(5)] == list(range(5))
    sending.join()


def test_who_has_left_is_not_written_to(ends):
    one, other = ends
    other.close()
    outbox = Outbox(one.fileno())
    outbox.put("to nobody")
    with pytest.raises(BrokenPipeError):
        outbox.flush()
