"""Totals and thresholds: final states only, compared with `>`, each on its own."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.config import ParallelRunConfig
from batch_score.job.totals import Totals, enough, exceeded, excesses

COUNT = st.integers(0, 200)


def test_amounts_add_up():
    first = Totals().plus(mini_batches_succeeded=1, items_succeeded=5, items_failed=1, bytes_read=10)
    second = first.plus(mini_batches_failed=1, items_failed=4, bytes_written=3)
    assert (second.mini_batches, second.items) == (2, 10)
    assert (second.items_failed, second.bytes_read, second.bytes_written) == (5, 10, 3)
    assert first.items_failed == 1


def test_mini_batches_that_failed_in_part():
    assert Totals(mini_batches_failed=3, mini_batches_given_up=1).mini_batches_partly == 2


def test_an_unknown_amount_is_an_error():
    with pytest.raises(TypeError):
        Totals().plus(rows=1)


@pytest.mark.parametrize(
    ("options", "failed_items", "failed_batches", "planned", "sentence"),
    [
        ({}, 10**6, 10**6, 10**6, None),
        ({"error_threshold": 0}, 0, 0, 5, None),
        ({"error_threshold": 0}, 1, 0, 5, "failed items: 1, more than error_threshold 0 allows"),
        ({"error_threshold": 10}, 10, 9, 5, None),
        ({"error_threshold": 10}, 11, 0, None, "failed items: 11, more than error_threshold 10 allows"),
        ({"allowed_failed_count": 0}, 9, 0, 5, None),
        ({"allowed_failed_count": 0}, 0, 1, 5, "failed mini-batches: 1, more than allowed_failed_count 0 allows"),
        ({"allowed_failed_count": -1}, 9, 9, 9, None),
        ({"allowed_failed_percent": 50}, 0, 5, 10, None),
        (
            {"allowed_failed_percent": 50},
            0,
            6,
            10,
            "failed mini-batches of 10: 6, more than allowed_failed_percent 50 allows",
        ),
        ({"allowed_failed_percent": 0}, 0, 1, 10**6, "allowed_failed_percent 0"),
        ({"allowed_failed_percent": 0}, 0, 0, 10, None),
        ({"allowed_failed_percent": 100}, 10, 10, 10, None),
        ({"allowed_failed_percent": 1}, 0, 9, None, None),  # how many there will be is not known yet
        ({"allowed_failed_percent": 1}, 0, 0, 0, None),
        ({"error_threshold": 5, "allowed_failed_count": 1}, 0, 2, 9, "allowed_failed_count"),
        ({"allowed_failed_count": 99, "allowed_failed_percent": 10}, 0, 2, 10, "allowed_failed_percent"),
    ],
)
def test_each_threshold_alone_and_together(options, failed_items, failed_batches, planned, sentence):
    totals = Totals(items_failed=failed_items, mini_batches_failed=failed_batches)
    found = exceeded(totals, ParallelRunConfig(**options), planned)
    assert found is None if sentence is None else sentence in found


@given(COUNT, COUNT, st.integers(1, 200), st.integers(-1, 50), st.none() | st.integers(-1, 50), st.integers(0, 100))
def test_any_exceeded_threshold_stops_and_nothing_else(items, batches, planned, threshold, count, percent):
    config = ParallelRunConfig(error_threshold=threshold, allowed_failed_count=count, allowed_failed_percent=percent)
    too_many = [
        threshold >= 0 and items > threshold,
        count is not None and count >= 0 and batches > count,
        batches / planned > percent / 100 if batches * 100 != percent * planned else False,
    ]
    totals = Totals(items_failed=items, mini_batches_failed=batches)
    found = excesses(totals, config, planned)
    assert (exceeded(totals, config, planned) is not None) == bool(found) == any(too_many)
    higher = replace(config, **{one.option: one.enough for one in found}) if batches <= planned else config
    assert batches > planned or exceeded(totals, higher, planned) is None


def test_all_options_that_must_be_higher_are_named():
    config = ParallelRunConfig(error_threshold=0, allowed_failed_count=1, allowed_failed_percent=10)
    found = excesses(Totals(items_failed=7, mini_batches_failed=2), config, 7)
    assert enough(found) == "--error-threshold 7 --allowed-failed-count 2 --allowed-failed-percent 29"
    assert enough([]) == ""
