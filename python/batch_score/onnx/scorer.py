"""An ONNX model as a scorer: what a worker initialises once and calls for each mini-batch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.errors import ScorerError
from batch_score.onnx.runtime import available_providers, open_session, providers_for
from batch_score.onnx.tensors import InputBuffer, column_values, output_columns, slices

if TYPE_CHECKING:
    import os

    from batch_score.onnx.binding import Binding

logger = logging.getLogger(__name__)

_MOST_ROWS = 8192
_FEWEST_ROWS = 1024
_SLICE_BYTES = 1 << 20
_POINTER_BYTES = 8


class OnnxScorer:
    """Scores Arrow tables with a model; one thread at a time may call `run()`.

    The session is made by `init()`, so that the object can be sent to a worker before.

    Args:
        path: The model.
        binding: Which columns feed it and which outputs are kept.
        device: `auto`, `cpu`, `cuda` or `tensorrt`.
        threads: Threads inside one operator on the CPU.
        batch_rows: Most rows given to the model at once; None for `default_batch_rows`. A model whose first
            dimension is fixed always gets that many.
        gpu: Whether this worker was given a GPU.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        binding: Binding,
        *,
        device: str = "auto",
        threads: int = 1,
        batch_rows: int | None = None,
        gpu: bool = False,
    ) -> None:
        self._path = path
        self._binding = binding
        self._device = device
        self._threads = threads
        self._batch_rows = binding.batch or batch_rows or default_batch_rows(binding)
        self._gpu = gpu
        self._session: Any = None
        self._buffers = [InputBuffer(plan) for plan in binding.inputs]

    def init(self) -> None:
        """Makes the session on the device.

        Raises:
            ScorerError: The model cannot be loaded, or the device that was asked for cannot be had.
        """
        providers = providers_for(self._device, available_providers(), gpu=self._gpu)
        self._session = open_session(self._path, providers, self._threads)
        logger.info("model %s runs on %s, at most %d rows at once", self._path, providers[0][0], self._batch_rows)

    def run(self, table: pa.Table) -> pa.Table:
        """Scores the rows of a table, in order.

        Args:
            table: Has at least the columns of the binding.

        Returns:
            As many rows as `table`, one or more columns for each output that is kept.

        Raises:
            RecordError: A value that the model's input cannot hold, such as a null for an integer.
            ScorerError: An output is not one value or row of values per row, or `init()` was not called.
        """
        if self._session is None:
            raise ScorerError(f"the model {self._path} was asked to score before init() had loaded it")
        columns = [
            [column_values(table, column, plan.dtype) for column in plan.columns] for plan in self._binding.inputs
        ]
        names = list(self._binding.outputs)
        answers: list[list[Any]] = []
        counts: list[int] = []
        for start, stop, fed in slices(table.num_rows, self._batch_rows, fixed=self._binding.batch is not None):
            feed = {
                plan.name: buffer.fill(values, start, stop, fed)
                for plan, buffer, values in zip(self._binding.inputs, self._buffers, columns, strict=True)
            }
            answers.append(self._session.run(names, feed))
            counts.append(stop - start)
        return self._as_table(names, answers, counts)

    def shutdown(self) -> None:
        """Lets go of the session and its memory."""
        self._session = None

    def _as_table(self, names: list[str], answers: list[list[Any]], counts: list[int]) -> pa.Table:
        columns: dict[str, pa.Array[Any]] = {}
        for place, name in enumerate(names):
            made = output_columns(name, [answer[place] for answer in answers], counts)
            twice = columns.keys() & made.keys()
            if twice:
                raise ScorerError(
                    f"two outputs of the model {self._path} would both be column {min(twice)!r}; keep one of them "
                    "with --outputs"
                )
            columns.update(made)
        return pa.table(columns)


def default_batch_rows(binding: Binding) -> int:
    """Rows given to the model at once unless somebody says otherwise.

    As many as fill about 1 MiB, which stays in a core's cache between filling and running, within 1024 to 8192: on a
    network of 20 inputs and 2 hidden layers 8192 rows at once ran 1.7 times as fast as a million at once.
    """
    row_bytes = sum(
        len(plan.columns) * (_POINTER_BYTES if plan.dtype == "string" else np.dtype(plan.dtype).itemsize)
        for plan in binding.inputs
    )
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _SLICE_BYTES // row_bytes))
