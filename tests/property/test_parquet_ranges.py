"""The laws of cutting Parquet row groups into row ranges, against a twin that goes row by row."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from batch_score.dataset.parquet import RowGroup, RowRange, row_ranges

GROUPS = st.lists(st.builds(RowGroup, st.integers(0, 12), st.integers(0, 60), st.just(0)), max_size=6)
BOUND = st.integers(1, 80)
HARD = [RowGroup(1, 100, 0), RowGroup(10, 10, 0)]


def cost(groups, first, end):
    """Bytes of the rows from `first` to `end`: of each group its share, rounded up."""
    total = start = 0
    for group in groups:
        rows = min(end, start + group.rows) - max(first, start)
        if rows > 0:
            total += -(-Fraction(rows * group.size, group.rows) // 1)
        start += group.rows
    return total


def naive(groups, bound):
    """Takes one row after the other while the bound allows."""
    rows, first = sum(group.rows for group in groups), 0
    while first < rows:
        end = first + 1
        while end < rows and cost(groups, first, end + 1) <= bound:
            end += 1
        yield first, end
        first = end


@given(GROUPS, BOUND)
@example(HARD, 50)
@example([RowGroup(1, 100, 0), RowGroup(3, 0, 0)], 50)
@example([RowGroup(0, 0, 0), RowGroup(2, 0, 0)], 1)
@example([RowGroup(3, 50, 0), RowGroup(1, 0, 0), RowGroup(1, 1, 0)], 50)
def test_they_tile_the_file(groups, bound):
    row = 0
    for part in row_ranges(groups, bound):
        assert part.first_row == row
        assert part.rows > 0
        row += part.rows
    assert row == sum(group.rows for group in groups)


@given(GROUPS, BOUND)
@example(HARD, 50)
@example([RowGroup(1, 100, 0), RowGroup(3, 0, 0)], 50)
def test_none_is_larger_than_the_bound_unless_it_is_a_single_row(groups, bound):
    for part in row_ranges(groups, bound):
        assert part.size == cost(groups, part.first_row, part.first_row + part.rows)
        assert part.size <= bound or part.rows == 1


@given(GROUPS, BOUND)
@example(HARD, 50)
def test_they_are_as_few_as_the_naive_twins(groups, bound):
    found = [(part.first_row, part.first_row + part.rows) for part in row_ranges(groups, bound)]
    assert found == list(naive(groups, bound))


@given(GROUPS, BOUND)
def test_the_group_is_that_of_the_first_row(groups, bound):
    owner = [number for number, group in enumerate(groups) for _ in range(group.rows)]
    for part in row_ranges(groups, bound):
        assert part.group == owner[part.first_row]


def test_a_group_is_cut_inside():
    assert list(row_ranges([RowGroup(10, 100, 0)], 35)) == [
        RowRange(0, 3, 30, 0),
        RowRange(3, 3, 30, 0),
        RowRange(6, 3, 30, 0),
        RowRange(9, 1, 10, 0),
    ]


def test_small_groups_are_joined():
    assert list(row_ranges([RowGroup(2, 10, 0)] * 5, 30)) == [RowRange(0, 6, 30, 0), RowRange(6, 4, 20, 3)]
