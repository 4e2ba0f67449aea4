"""Results on their way to the encoder: in order, and few of those that may be large."""

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.worker.handover import ROOM, UNIT_S, Handover

PATIENCE_S = 0.2


@dataclass(frozen=True)
class Result:
    """As much of a result as a handover looks at."""

    number: int
    run: float


def put_all(handover, results):
    for one in results:
        handover.put(one)
    handover.end()


@given(st.lists(st.floats(0, 10 * ROOM * UNIT_S), max_size=50))
def test_results_come_out_in_order_whatever_they_took(seconds):
    handover = Handover()
    wanted = [Result(number, run) for number, run in enumerate(seconds)]
    thread = threading.Thread(target=put_all, args=(handover, wanted))
    thread.start()
    found = list(iter(handover.get, None))
    thread.join()
    assert found == wanted
    assert handover.empty


@pytest.mark.parametrize(
    ("seconds", "fit"),
    [
        ([0.0] * (ROOM + 1), ROOM),  # quick ones wait together
        ([10.0, 0.0], 1),  # a slow one waits alone
        ([0.0, 10.0], 1),
        ([ROOM / 2 * UNIT_S] * 2, 1),
        ([3.5 * UNIT_S] * 5, ROOM // 4),
    ],
)
def test_how_many_wait(seconds, fit):
    handover, entered = Handover(), threading.Semaphore(0)

    def put():
        for number, run in enumerate(seconds):
            handover.put(Result(number, run))
            entered.release()

    thread = threading.Thread(target=put)
    thread.start()
    for _ in range(fit):
        assert entered.acquire(timeout=10)
    assert not entered.acquire(timeout=PATIENCE_S)
    for number in range(len(seconds)):
        assert handover.get().number == number
    thread.join()
