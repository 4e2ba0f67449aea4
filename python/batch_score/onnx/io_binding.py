"""Rows into a session and answers out of it through memory on its device, which is used again and again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from batch_score.onnx.binding import InputPlan
    from batch_score.onnx.feeding import Feed

# One is filled while the model runs on the other.
_PLACES = 2


class Bound:
    """Through IO binding: each number of rows has two places on the device, which are made once.

    While the model runs on one of them, a thread uploads the next feed to the other.

    Args:
        session: Of ONNX Runtime.
        value_of: `OrtValue.ortvalue_from_shape_and_type` of the runtime.
        plans: The inputs; none of text, which a binding does not take.
        devices: By input, where the session reads it: `cuda` or `cpu`.
    """

    def __init__(
        self, session: Any, value_of: Callable[..., Any], plans: Sequence[InputPlan], devices: Mapping[str, str]
    ) -> None:
        self._session, self._value_of, self._plans, self._devices = session, value_of, tuple(plans), devices
        self._places: dict[tuple[int, int], _Place] = {}
        self._uploads = ThreadPoolExecutor(1, thread_name_prefix="upload")

    def answers(self, names: Sequence[str], feeds: Iterable[Feed]) -> Iterator[list[Any]]:
        """The outputs of those names for each feed, which is taken when the one before it has been uploaded."""
        given = iter(feeds)
        upload = self._next_upload(given, 0)
        turn = 0
        while upload is not None:
            place = upload.result()
            turn = (turn + 1) % _PLACES
            upload = self._next_upload(given, turn)
            try:
                answer = place.run(names)
            finally:
                if upload is not None:
                    wait([upload])  # nothing is written to the device behind the back of whoever catches an error
            yield answer

    def close(self) -> None:
        """Lets the memory on the device go."""
        self._places.clear()
        self._uploads.shutdown()

    def _next_upload(self, given: Iterator[Feed], turn: int) -> Future[_Place] | None:
        feed = next(given, None)
        return None if feed is None else self._uploads.submit(self._upload, feed, turn)

    def _upload(self, feed: Feed, turn: int) -> _Place:
        rows = len(next(iter(feed.values())))
        if (rows, turn) not in self._places:
            self._places[rows, turn] = _Place(
                self._session, {plan.name: self._memory(plan, rows) for plan in self._plans}
            )
        place = self._places[rows, turn]
        place.fill(feed)
        return place

    def _memory(self, plan: InputPlan, rows: int) -> Any:
        """Memory for so many rows of an input, on the device that reads it."""
        shape = (rows,) if plan.flat else (rows, len(plan.columns))
        return self._value_of(shape, np.dtype(plan.dtype).type, self._devices[plan.name])


class _Place:
    """Memory for one feed, bound to the inputs of a session."""

    def __init__(self, session: Any, memory: dict[str, Any]) -> None:
        self._session, self._memory = session, memory
        self._binding = session.io_binding()
        self._names: tuple[str, ...] = ()

    def fill(self, feed: Feed) -> None:
        """Copies a feed to the device, and binds it."""
        for name, values in feed.items():
            self._memory[name].update_inplace(np.ascontiguousarray(values))
            # Each time: of an input that nodes on the CPU read, the binding takes a copy when it is bound, and would
            # go on with the first rows for ever (onnxruntime, issue 5857).
            self._binding.bind_ortvalue_input(name, self._memory[name])

    def run(self, names: Sequence[str]) -> list[Any]:
        """The outputs of those names, in the host's memory."""
        if self._names != tuple(names):
            self._names = tuple(names)
            self._binding.clear_binding_outputs()
            for name in names:
                self._binding.bind_output(name)
        self._session.run_with_iobinding(self._binding)
        return list(self._binding.copy_outputs_to_cpu())
