"""A model on its device: loaded, given as many rows at once as suit it, and fewer when memory runs out."""

from __future__ import annotations

import logging
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from batch_score.errors import ScorerError
from batch_score.faults import fault_of, is_memory_fault
from batch_score.onnx.batch import best_size, buckets, default_batch_rows, sizes_to_try, slices
from batch_score.onnx.feeding import Direct
from batch_score.onnx.half import difference, in_half_precision
from batch_score.onnx.providers import CPU, CUDA, NEEDS_MORE_BOUNDS, TENSORRT, providers_for, without_bounds
from batch_score.onnx.runtime import available_providers, bindable, bound, open_session, operators
from batch_score.onnx.spec import FP16, MEASURED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from batch_score.onnx.batch import Cut
    from batch_score.onnx.feeding import Feed, Feeding
    from batch_score.onnx.spec import ModelSpec

    # Makes the feeds of some cuts; called again when memory ran out.
    FeedsOf: TypeAlias = Callable[[Sequence[Cut]], Iterator[Feed]]

logger = logging.getLogger(__name__)

# TensorRT builds its engine for a largest number of rows, so that it cannot be measured before.
_TENSORRT_ROWS = 4096
_TIMED_RUNS = 2
_COMPARED_ROWS = 1024


class LoadedModel:
    """A model that can be run; made in the process that runs it.

    Args:
        spec: The model.
        note: Told, by subject, what the user should know.

    Raises:
        ScorerError: The model cannot be loaded, or the device that was asked for cannot be had.
        DeviceError: The device has no room for the model, or cannot be used.
    """

    def __init__(self, spec: ModelSpec, note: Callable[[str, str], None]) -> None:
        self._spec, self._note = spec, note
        self._names = list(spec.binding.outputs)
        fixed = spec.binding.batch is not None
        self._providers = providers_for(spec.device, available_providers(), gpu=bool(spec.gpu), fixed=fixed)
        self._provider = self._providers[0][0]
        self._operators: list[tuple[str, bool]] = []  # known when it is loaded
        self._compared = spec.precision != FP16
        with self._engines() as options:
            self._providers[0] = (self._provider, {**self._providers[0][1], **options})
            self._session = self._first_open()
            self._operators = operators(self._session)
            self._rows = self._unmeasured()
            self._feeding = self._feed()
            self._measure()
            self._warm_up()
        logger.info("model %s runs on %s, at most %d rows at once", spec.path, self._provider, self._rows)
        self._tell_of_others()

    def score(self, rows: int, feeds_of: FeedsOf) -> tuple[list[list[Any]], list[int]]:
        """Runs the model on rows. When memory runs out, it gets fewer at once from then on.

        Args:
            rows: How many.
            feeds_of: Gives what the inputs get for each of some cuts of the rows.

        Returns:
            For each cut its outputs, and how many of their leading rows are answers.
        """
        while True:
            cuts = list(slices(rows, self._rows, self._sizes))
            try:
                if not self._compared:
                    self._compare(next(feeds_of(cuts[:1])), min(cuts[0].rows, _COMPARED_ROWS))
                answers = list(self._feeding.answers(self._names, feeds_of(cuts)))
                return answers, [cut.rows for cut in cuts]
            except Exception as error:
                most = max(cut.rows for cut in cuts)
                if self._spec.binding.batch or most <= 1 or not is_memory_fault(fault_of(error)):
                    raise
                self._give_fewer(most // 2)

    def close(self) -> None:
        """Lets go of the session and its memory."""
        self._feeding.close()
        self._session = None

    def _engines(self) -> AbstractContextManager[dict[str, str]]:
        """Options for the provider, held while the model is loaded: other processes may have to wait for it."""
        if self._provider != TENSORRT:
            return nullcontext({})
        from batch_score.onnx.engines import engines  # noqa: PLC0415 - few models want it, and it imports much

        return engines(self._spec, self._unmeasured())

    def _first_open(self) -> Any:
        try:
            return self._open()
        except ScorerError as error:
            if NEEDS_MORE_BOUNDS not in str(error):
                raise
        self._providers[0] = (self._provider, without_bounds(self._providers[0][1]))
        return self._open()

    def _open(self) -> Any:
        path = self._spec.path
        # TensorRT has an option for it.
        converted = self._spec.precision == FP16 and self._provider != TENSORRT
        content = in_half_precision(Path(path)) if converted else None
        return open_session(path, self._providers, self._spec.threads, content=content)

    def _feed(self) -> Feeding:
        direct = self._provider == CPU or not bindable(self._session, self._names)
        return Direct(self._session) if direct else bound(self._session, self._spec.binding.inputs)

    @property
    def _sizes(self) -> tuple[int, ...]:
        """The numbers of rows that the model is given, ascending; empty for any."""
        if self._spec.binding.batch:
            return (self._spec.binding.batch,)
        return () if self._provider == CPU else buckets(self._rows)

    def _unmeasured(self) -> int:
        """How many rows at once, as far as it is known without measuring."""
        spec = self._spec
        if spec.binding.batch:
            return spec.binding.batch
        if isinstance(spec.batch_rows, int):
            return spec.batch_rows
        if self._provider == TENSORRT:
            return _TENSORRT_ROWS
        trees = any(name.startswith("TreeEnsemble") for name, _ in self._operators)
        return default_batch_rows(spec.binding, spec.threads, trees=trees)

    def _measure(self) -> None:
        """Settles how many rows at once, if that is to be measured."""
        spec = self._spec
        wanted = spec.batch_rows == MEASURED or (spec.batch_rows is None and self._provider != CPU)
        if wanted and not spec.binding.batch and self._provider != TENSORRT:
            self._rows = best_size(sizes_to_try(spec.binding), self._seconds_of)
            self._renew()

    def _seconds_of(self, rows: int) -> float | None:
        """How long the model takes for so many rows, at best; None if they do not fit into memory."""
        best = float("inf")
        feeds = [self._blank(rows)]
        try:
            for timed in range(1 + _TIMED_RUNS):
                begin = time.perf_counter()
                list(self._feeding.answers(self._names, feeds))
                if timed:  # the first time there is more to do
                    best = min(best, time.perf_counter() - begin)
        except Exception as error:
            if not is_memory_fault(fault_of(error)):
                raise
            return None
        return best

    def _warm_up(self) -> None:
        """Lets a device meet all the numbers of rows it will be given: the first time takes long."""
        if self._provider != CPU:
            # The largest first: what it takes is room for the others, and for TensorRT a bound for them.
            list(self._feeding.answers(self._names, map(self._blank, reversed(self._sizes))))

    def _blank(self, rows: int) -> Feed:
        """Rows of zeros and empty texts."""
        feed = {}
        for plan in self._spec.binding.inputs:
            shape = (rows,) if plan.flat else (rows, len(plan.columns))
            text = plan.dtype == "string"
            feed[plan.name] = np.full(shape, "", object) if text else np.zeros(shape, plan.dtype)
        return feed

    def _renew(self) -> None:
        """Lets the memory go that was for other numbers of rows: a GPU's session keeps what it has once taken."""
        self._feeding.close()
        if self._provider != CPU:
            self._session = None
            self._session = self._open()
        self._feeding = self._feed()

    def _give_fewer(self, rows: int) -> None:
        """After memory ran out: so many rows at once from now on."""
        self._rows = rows
        self._renew()
        self._note("memory", f"memory ran out: the model {self._spec.path} gets at most {self._rows} rows at once")

    def _compare(self, feed: Feed, rows: int) -> None:
        """Tells how far half precision is from full precision on the first rows."""
        self._compared = True
        first = {name: values[: self._spec.binding.batch or rows] for name, values in feed.items()}
        try:
            exact = open_session(self._spec.path, self._exactly(), self._spec.threads).run(self._names, first)
            largest, relative = difference(self._session.run(self._names, first), exact)
        except Exception as error:
            if not is_memory_fault(fault_of(error)):
                raise
            self._note("precision", "fp16: there is no memory for the model in fp32 beside it, to compare the outputs")
            return
        self._note(
            "precision",
            f"fp16: the outputs for the first {rows} rows differ from those in fp32 by at most {largest:.2g}, "
            f"relative to the value {relative:.2g}",
        )

    def _exactly(self) -> list[tuple[str, dict[str, str]]]:
        """The providers in full precision, without the products that GPUs since 2020 round to ten bits."""
        providers = self._providers[1:] if self._provider == TENSORRT else self._providers
        return [(name, {**options, **({"use_tf32": "0"} if name == CUDA else {})}) for name, options in providers]

    def _tell_of_others(self) -> None:
        """Names the operators of nodes that did not come to the device."""
        others = Counter(name for name, there in self._operators if not there)
        if others:
            which = ", ".join(f"{name} ({count})" for name, count in others.most_common())
            self._note("placement", f"nodes of {self._spec.path} that do not run on {self._provider}: {which}")
