"""An ONNX model as a scorer: what a worker initialises once and calls for each mini-batch."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from batch_score.errors import ScorerError
from batch_score.onnx.model import LoadedModel
from batch_score.onnx.tensors import InputBuffer, column_values, output_columns, padded

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from batch_score.onnx.batch import Cut
    from batch_score.onnx.feeding import Feed
    from batch_score.onnx.spec import ModelSpec

logger = logging.getLogger(__name__)


class OnnxScorer:
    """Scores rows with a model; one thread at a time may call `run()`.

    The model is loaded by `init()`, so that the object can be sent to a worker before.

    Args:
        spec: The model.

    Attributes:
        notes: What the user should know, each a subject and a text; whoever tells them takes them out, in any thread.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._spec = spec
        self._inputs = spec.binding.inputs
        self._model: LoadedModel | None = None
        self._buffers = [InputBuffer(plan) for plan in self._inputs]
        self.notes: deque[tuple[str, str]] = deque()

    def init(self) -> None:
        """Loads the model onto its device, ready for the first rows.

        Raises:
            ScorerError: The model cannot be loaded, or the device that was asked for cannot be had.
            DeviceError: The device has no room for the model, or cannot be used.
        """
        self._model = LoadedModel(self._spec, self._note)

    def _note(self, subject: str, text: str) -> None:
        logger.info("%s", text)
        self.notes.append((subject, text))

    def run(self, items: pa.Table | Mapping[str, NDArray[Any]]) -> pa.Table:
        """Scores rows, in order. When memory runs out, the model gets fewer at once from then on.

        Args:
            items: A table with at least the columns of the binding, or for each input of the model `[rows, columns]`
                of its own type, each row in one piece.

        Returns:
            As many rows as there are items, one or more columns for each output that is kept.

        Raises:
            RecordError: A value that the model's input cannot hold, such as a null for an integer.
            ScorerError: An output is not one value or row of values per row, or `init()` was not called.
        """
        if self._model is None:
            raise ScorerError(f"the model {self._spec.path} was asked to score before init() had loaded it")
        if isinstance(items, pa.Table):
            columns = [[column_values(items, column, plan.dtype) for column in plan.columns] for plan in self._inputs]
            answers, counts = self._model.score(items.num_rows, partial(self._filled, columns))
        else:
            rows = len(next(iter(items.values())))
            answers, counts = self._model.score(rows, partial(self._viewed, items))
        return self._as_table(list(self._spec.binding.outputs), answers, counts)

    def _filled(self, columns: Sequence[Sequence[NDArray[Any]]], cuts: Sequence[Cut]) -> Iterator[Feed]:
        """Rows of columns, each piece put together in the memory of the one before."""
        for cut in cuts:
            yield {
                plan.name: buffer.fill(values, cut.start, cut.stop, cut.fed)
                for plan, buffer, values in zip(self._inputs, self._buffers, columns, strict=True)
            }

    def _viewed(self, matrices: Mapping[str, NDArray[Any]], cuts: Sequence[Cut]) -> Iterator[Feed]:
        """Rows of matrices, where they are."""
        for cut in cuts:
            pieces = ((plan, padded(matrices[plan.name][cut.start : cut.stop], cut.fed)) for plan in self._inputs)
            yield {plan.name: piece[:, 0] if plan.flat else piece for plan, piece in pieces}

    def shutdown(self) -> None:
        """Lets go of the model and its memory."""
        if self._model is not None:
            self._model.close()
            self._model = None

    def _as_table(self, names: list[str], answers: list[list[Any]], counts: list[int]) -> pa.Table:
        columns: dict[str, pa.Array[Any]] = {}
        for place, name in enumerate(names):
            made = output_columns(name, [answer[place] for answer in answers], counts)
            twice = columns.keys() & made.keys()
            if twice:
                raise ScorerError(
                    f"two outputs of the model {self._spec.path} would both be column {min(twice)!r}; keep one of them "
                    "with --outputs"
                )
            columns.update(made)
        return pa.table(columns)
