"""Salvaging: exactly the records that stand alone, in order, with few parses."""

import math

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from batch_score.dataset.salvage import salvage


class Parser:
    """Reads one integer a line; counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, data):
        self.calls += 1
        try:
            return pa.table({"n": [int(line) for line in data.split()]})
        except ValueError as error:
            raise pa.ArrowInvalid(str(error)) from error


RECORDS = st.lists(st.sampled_from([b"1", b"22", b"bad", b"1 2", b"7", b""]), max_size=40)


@given(RECORDS)
def test_the_records_that_stand_alone_are_kept(records):
    found = salvage(records, Parser())
    good = [place for place, record in enumerate(records) if record in (b"1", b"22", b"7")]
    rows = [value for table in found.tables for value in table["n"].to_pylist()]
    assert len(found.good) == len(rows)
    assert sorted([*found.good, *(place for place, _ in found.bad)]) == list(range(len(records)))
    if b"" not in records or b"1 2" not in records:  # an empty and a double one in one piece count as two
        assert found.good == good
        assert rows == [int(records[place]) for place in good]


def test_the_messages_are_the_parsers_or_say_how_many():
    found = salvage([b"1", b"bad", b"1 2"], Parser())
    assert found.bad == [
        (1, "invalid literal for int() with base 10: b'bad'"),
        (2, "the record reads as 2 records"),
    ]


def test_nothing():
    assert salvage([], Parser()).good == []


@given(RECORDS, st.integers(1, 40))
def test_a_bound_keeps_the_first_pieces(records, most):
    whole, found = salvage(records, Parser()), salvage(records, Parser(), most=most)
    assert len(found.tables) + len(found.bad) == min(most, len(whole.tables) + len(whole.bad))
    assert (found.bad, found.good) == (whole.bad[: len(found.bad)], whole.good[: len(found.good)])


@given(st.integers(1, 2000), st.data())
def test_one_bad_record_costs_few_parses(count, data):
    bad = data.draw(st.integers(0, count - 1))
    parser = Parser()
    found = salvage([b"x" if place == bad else b"5" for place in range(count)], parser)
    assert [place for place, _ in found.bad] == [bad]
    assert parser.calls <= 2 * math.ceil(math.log2(count) + 1) + 1
