import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from batch_score.output.align import missing_items, positions
from batch_score.output.returned import accept


def aligned(value, *, indexed=True, items=4):
    found = positions(accept(value), items, indexed=indexed)
    return None if found is None else list(found)


def given(items=4):
    """What `run()` gets."""
    return pd.DataFrame({"p": range(items)}, index=pd.RangeIndex(items, name="row"))


def frame(*labels, name="row"):
    return pd.DataFrame({"p": range(len(labels))}, index=pd.Index(labels, dtype="int64", name=name))


def test_a_frame_with_the_index_it_was_given_is_aligned_row_by_row():
    assert aligned(given()) == [0, 1, 2, 3]


def test_filtered_sorted_and_repeated_rows_keep_their_items():
    assert aligned(frame(3, 1)) == [3, 1]
    assert aligned(frame(2, 2, 0)) == [2, 2, 0]
    assert aligned(frame(2, 2, 0)["p"]) == [2, 2, 0]


KEEPING = {
    "filter": lambda rows: rows[rows["p"] > 1],
    "head": lambda rows: rows.head(2),
    "sort": lambda rows: rows.sort_values("p", ascending=False),
    "sample": lambda rows: rows.sample(3, random_state=1),
    "drop": lambda rows: rows.drop(index=1),
    "assign": lambda rows: rows.assign(q=1)[["q"]].iloc[2:],
    "explode": lambda rows: rows.assign(q=[[1, 2]] * len(rows)).explode("q"),
    "join a part": lambda rows: rows.iloc[1:].join(pd.DataFrame({"q": [1.0, 2.0]})),
    "below each other": lambda rows: pd.concat([rows.iloc[2:], rows.iloc[:1]]),
    "a new one": lambda rows: pd.DataFrame({"q": [1, 2]}, index=rows.index[[3, 1]]),
    "a column": lambda rows: rows.loc[rows["p"] > 2, "p"],
    "apply": lambda rows: rows.iloc[1:3].apply(lambda row: row["p"] + 1, axis=1),
}


@pytest.mark.parametrize("step", KEEPING)
def test_what_pandas_makes_of_the_frame_keeps_the_tie(step):
    rows = given()
    rows["item"] = rows["p"]
    made = KEEPING[step](rows)
    assert made.index.name == "row"
    assert aligned(made) == made.index.tolist()


BESIDE = {
    "join": lambda rows, scores: rows.join(pd.DataFrame({"score": scores})),
    "concat": lambda rows, scores: pd.concat([rows, pd.DataFrame({"score": scores})], axis=1),
    "assign": lambda rows, scores: rows.assign(score=pd.Series(scores)),
    "loc": lambda rows, scores: pd.DataFrame({"p": rows["p"], "score": [scores[row] for row in range(len(rows))]}),
}


@pytest.mark.parametrize("step", BESIDE)
def test_a_new_frame_or_series_can_be_put_beside_the_one_that_was_given(step):
    made = BESIDE[step](given(), [0.0, 0.1, 0.2, 0.3])
    assert made["score"].tolist() == [0.0, 0.1, 0.2, 0.3]
    assert aligned(made) == [0, 1, 2, 3]


def test_a_label_of_no_row_makes_the_index_worthless():
    assert aligned(frame(0, 4)) is None
    assert aligned(frame(-1, 0)) is None
    assert aligned(frame(10, 11, 12, 13)) == [0, 1, 2, 3]  # by position: as many rows as items


@pytest.mark.parametrize("index", [["a", "b", "c", "d"], [0.0, 1.0, 2.0, 3.0], pd.date_range("2024", periods=4)])
def test_an_index_that_is_not_integer_is_ignored(index):
    assert aligned(pd.DataFrame({"p": range(4)}, index=index)) == [0, 1, 2, 3]
    assert aligned(pd.DataFrame({"p": range(4)}, index=index).iloc[:3]) is None


@pytest.mark.parametrize("value", [["a"] * 4, ("a",) * 4, np.zeros((4, 2)), pa.table({"p": range(4)})])
def test_what_has_only_an_order_is_aligned_when_the_length_matches(value):
    assert aligned(value) == [0, 1, 2, 3]
    assert aligned(value, indexed=False) == [0, 1, 2, 3]
    assert aligned(value, items=5) is None


def test_files_have_no_labels():
    assert aligned(frame(1, 0), indexed=False) is None
    assert aligned(frame(3, 2, 1, 0), indexed=False) == [0, 1, 2, 3]


NEW = pd.DataFrame({"p": [0.5, 0.25, 0.125], "group": ["a", "b", "a"]})
UNTIED = {
    "a short one": NEW,
    "one that was filtered": NEW[NEW["group"] == "b"],
    "one that was sorted": NEW.sort_values("p"),
    "groups of a name": NEW.groupby("group")[["p"]].sum(),
    "groups of numbers": NEW.groupby(np.array([0, 1, 0]))[["p"]].sum(),
}


@pytest.mark.parametrize("case", UNTIED)
def test_a_new_frame_is_not_taken_for_rows_that_were_given(case):
    assert aligned(UNTIED[case]) is None


def test_a_new_frame_with_a_row_for_each_item_may_be_sorted():
    new = pd.DataFrame({"p": [3, 1, 2, 0]})
    assert aligned(new) == [0, 1, 2, 3]
    assert aligned(new.sort_values("p")) == [3, 1, 2, 0]


@pytest.mark.parametrize("labels", [(0, 0, 0, 0), (0, 1, 0, 1), (0, 1, 2, 0), (1, 2, 3, 4)])
def test_other_new_frames_with_as_many_rows_are_aligned_by_position(labels):
    assert aligned(frame(*labels, name=None)) == [0, 1, 2, 3]
    assert aligned(frame(*labels, name=None), items=5) is None


def test_an_empty_frame_is_aligned_with_nothing():
    assert aligned(frame()) in ([], None)


def missing(value):
    return list(missing_items(positions(accept(value), 4, indexed=True), 4))


def test_items_missing_from_an_index_are_named():
    assert missing(frame(2, 2, 0)) == [1, 3]
    assert missing(frame(2)["p"]) == [0, 1, 3]
    assert missing(given()) == []


def test_nothing_is_known_to_be_missing_without_an_index():
    assert missing(["a"] * 3) == []
    assert missing(["a"] * 4) == []
    assert missing(NEW) == []
