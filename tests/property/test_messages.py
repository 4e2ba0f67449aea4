"""What travels between coordinator and workers arrives as it was."""

import pickle
import pickletools
from dataclasses import fields, replace
from typing import get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from batch_score.minibatch import FailedItem, Fault, MiniBatch, Outcome, Timings
from batch_score.worker.messages import Task, outcome_from_wire, outcome_to_wire, tasks_from_wire, tasks_to_wire


def anything(record, **known):
    """A record of which every field may be anything of its type, those with a default too."""
    hints = get_type_hints(record)
    strategies = {field.name: st.from_type(hints[field.name]) for field in fields(record)}
    return st.builds(record, **strategies | known)


FINITE = st.floats(allow_nan=False)
KEYS = st.none() | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2)
FAULTS = anything(Fault)
TASKS = anything(Task, minibatch=anything(MiniBatch))
OUTCOMES = anything(
    Outcome,
    timings=anything(Timings, **{field.name: FINITE for field in fields(Timings)}),
    failed_items=st.lists(anything(FailedItem, fault=FAULTS, key=KEYS), max_size=2).map(tuple),
    fault=st.none() | FAULTS,
)


def travelled(wire):
    return pickle.loads(pickle.dumps(wire, pickle.HIGHEST_PROTOCOL))


@given(st.lists(TASKS, max_size=3))
def test_tasks_arrive_as_they_were(tasks):
    assert tasks_from_wire(travelled(tasks_to_wire(tasks))) == tasks


@given(OUTCOMES)
def test_an_outcome_arrives_as_it_was(outcome):
    arrived = outcome_from_wire(travelled(outcome_to_wire(outcome)))
    assert arrived == outcome
    assert [type(getattr(arrived, field.name)) for field in fields(Outcome)] == [
        type(getattr(outcome, field.name)) for field in fields(Outcome)
    ]


@given(TASKS, OUTCOMES.filter(lambda outcome: outcome.fault is None and not outcome.failed_items))
def test_what_travels_most_is_pickled_without_any_class(task, outcome):
    # Of mini-batches with keys there are few, as they hold whole files.
    task = replace(task, minibatch=replace(task.minibatch, ranges=(), partition=()))
    for wire in (tasks_to_wire([task]), outcome_to_wire(outcome)):
        names = {code.name for code, _, _ in pickletools.genops(pickle.dumps(wire, pickle.HIGHEST_PROTOCOL))}
        assert not names & {"GLOBAL", "STACK_GLOBAL"}
