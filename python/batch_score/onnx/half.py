"""Half precision: a model converted to it, and how far its answers are from those of the model as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from batch_score.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_TINY = 1e-6


def in_half_precision(path: Path) -> bytes:
    """The model with float32 tensors made float16, except its inputs and outputs.

    Raises:
        ScorerError: The model cannot be converted, or the `onnx` package is missing.
    """
    try:
        import onnx  # noqa: PLC0415 - optional, and only this needs it
        from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415 - as above
    except ImportError as error:
        raise ScorerError(
            f"--precision fp16 converts the model with the onnx package, which cannot be imported ({error}); run "
            "`pip install onnx`, or leave --precision out"
        ) from error
    try:
        model: Any = convert_float_to_float16(onnx.load(path), keep_io_types=True)
        return bytes(model.SerializeToString())
    except Exception as error:  # its exceptions have no base class of their own
        raise ScorerError(f"the model {path} cannot be converted to fp16: {error}; leave --precision out") from error


def difference(answers: Sequence[Any], exact: Sequence[Any]) -> tuple[float, float]:
    """The largest absolute and relative difference between two lists of outputs; of what is no float there is none.

    Relative differences are told of values of at least 1e-6. NaN in both places is no difference, in one it is
    infinite.
    """
    largest = relative = 0.0
    for one, other in zip(answers, exact, strict=True):
        found, wanted = np.asarray(one), np.asarray(other)
        if found.dtype.kind != "f" or not found.size:
            continue
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
        same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
        with np.errstate(invalid="ignore"):
            apart = np.where(same, 0.0, np.abs(found - wanted))
        apart[np.isnan(apart)] = np.inf
        largest = max(largest, float(apart.max()))
        told = np.abs(wanted) >= _TINY
        if told.any():
            relative = max(relative, float((apart[told] / np.abs(wanted[told])).max()))
    return largest, relative
