import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.output.align import missing_items, positions
from batch_score.output.returned import accept

ORDINALS = np.array([10, 11, 13, 14])  # row 12 could not be read


def aligned(value, ordinals=ORDINALS, items=4):
    found = positions(accept(value), items, ordinals)
    return None if found is None else list(found)


def frame(*labels):
    return pd.DataFrame({"p": range(len(labels))}, index=list(labels))


def test_a_frame_with_the_index_it_was_given_is_aligned_row_by_row():
    assert aligned(pd.DataFrame({"p": np.zeros(4)}, index=ORDINALS)) == [0, 1, 2, 3]


def test_filtered_sorted_and_repeated_rows_keep_their_items():
    assert aligned(frame(14, 11)) == [3, 1]
    assert aligned(frame(13, 13, 10)) == [2, 2, 0]
    assert aligned(frame(13, 13, 10)["p"]) == [2, 2, 0]


def test_a_label_that_is_no_ordinal_makes_the_index_worthless():
    assert aligned(frame(10, 12)) is None
    assert aligned(frame(0, 1, 2, 3)) == [0, 1, 2, 3]  # by position: as many rows as items


@pytest.mark.parametrize("index", [["a", "b", "c", "d"], [10.0, 11.0, 13.0, 14.0], pd.date_range("2024", periods=4)])
def test_an_index_that_is_not_integer_is_ignored(index):
    assert aligned(pd.DataFrame({"p": range(4)}, index=index)) == [0, 1, 2, 3]
    assert aligned(pd.DataFrame({"p": range(4)}, index=index).iloc[:3]) is None


@pytest.mark.parametrize("value", [["a"] * 4, ("a",) * 4, np.zeros((4, 2)), pa.table({"p": range(4)})])
def test_what_has_only_an_order_is_aligned_when_the_length_matches(value):
    assert aligned(value) == [0, 1, 2, 3]
    assert aligned(value, ordinals=None) == [0, 1, 2, 3]
    assert aligned(value, items=5, ordinals=np.arange(5)) is None


def test_a_short_frame_with_a_new_index_is_not_taken_for_the_first_rows():
    fresh = pd.DataFrame({"p": [0.5, 0.25]})
    groups = pd.DataFrame({"p": [0.5, 0.25]}, index=pd.Index([0, 3], name="cluster"))
    assert aligned(fresh, ordinals=np.arange(4)) is None
    assert aligned(groups, ordinals=np.arange(4)) is None


def test_the_first_rows_of_the_frame_that_was_given_are_believed():
    given = pd.DataFrame({"p": range(4)}, index=pd.RangeIndex(4, name="row"))
    assert aligned(given.head(2), ordinals=np.arange(4)) == [0, 1]
    assert aligned(given[given["p"] < 2], ordinals=np.arange(4)) == [0, 1]
    assert aligned(frame(0, 1), ordinals=np.arange(4)) == [0, 1]  # labels that someone chose


def test_an_empty_frame_is_aligned_with_nothing():
    assert aligned(frame()) in ([], None)


def missing(value):
    return list(missing_items(positions(accept(value), 4, ORDINALS), 4))


def test_items_missing_from_an_index_are_named():
    assert missing(frame(13, 13, 10)) == [1, 3]
    assert missing(frame(13)["p"]) == [0, 1, 3]
    assert missing(frame(*ORDINALS)) == []


def test_nothing_is_known_to_be_missing_without_an_index():
    assert missing(["a"] * 3) == []
    assert missing(["a"] * 4) == []
    assert missing(frame(1, 2)) == []


@pytest.mark.parametrize("labels", [(0, 0, 0, 0), (0, 1, 0, 1), (0, 1, 2, 0)])
def test_new_frames_below_each_other_are_aligned_by_position(labels):
    """Their labels are ordinals of the first mini-batch of a file only."""
    assert aligned(frame(*labels), ordinals=np.arange(4)) == [0, 1, 2, 3]
    assert aligned(frame(*labels), ordinals=np.arange(4, 8)) == [0, 1, 2, 3]
    assert aligned(frame(*labels), items=5, ordinals=np.arange(5)) is None


def test_repeated_labels_that_are_not_of_new_frames_are_believed():
    assert aligned(frame(0, 0, 1, 1), ordinals=np.arange(4)) == [0, 0, 1, 1]
    assert aligned(frame(0, 0, 2, 3), ordinals=np.arange(4)) == [0, 0, 2, 3]
