"""Which columns of the data feed which input of the model, and which outputs are kept. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_score.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from batch_score.onnx.signature import ModelSignature, ValueSpec

_NAMES_SHOWN = 40
_ID_LIKE = re.compile(r"(.*_)?(id|key|index|idx|row|number)|.*[a-z](Id|ID|Key)", re.ASCII)
_MATRIX_RANK = 2


@dataclass(frozen=True, slots=True)
class InputPlan:
    """How one input of the model is filled.

    Attributes:
        name: Of the input.
        dtype: A numpy word, or `string`.
        columns: The columns of the data, in the order of the input's second dimension.
        flat: Whether the input is `[N]` instead of `[N, K]`.
    """

    name: str
    dtype: str
    columns: tuple[str, ...]
    flat: bool


@dataclass(frozen=True, slots=True)
class Binding:
    """A model bound to the columns of a dataset.

    Attributes:
        inputs: How each input is filled.
        outputs: Names of the outputs that are kept, in order.
        batch: The first dimension of the inputs when the model fixes it, else None.
    """

    inputs: tuple[InputPlan, ...]
    outputs: tuple[str, ...]
    batch: int | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns the model needs, each once: all that has to be read beside the keys."""
        return tuple(dict.fromkeys(column for plan in self.inputs for column in plan.columns))

    @property
    def column_types(self) -> dict[str, pa.DataType]:
        """The type in which each needed column serves the model without a conversion."""
        return {column: arrow_type(plan.dtype) for plan in self.inputs for column in plan.columns}


def bind(
    signature: ModelSignature,
    columns: Mapping[str, pa.DataType],
    *,
    features: Sequence[str] | None,
    keys: Sequence[str],
    outputs: Sequence[str] | None,
) -> Binding:
    """Decides which columns feed the model.

    `features` fill a single input `[N, K]`. Without them, inputs named like columns, `[N]` or `[N, 1]` each, take
    those columns, and a single input `[N, K]` takes every column that can feed it and is no key, if these are
    exactly K (any number when K is dynamic).

    Args:
        signature: What the model needs and gives.
        columns: The columns of the data and their types, in the data's order.
        features: Columns for a single matrix input, in its order; None to choose by the rules above.
        keys: Columns that tie a record to its row; never chosen as a feature unless named as one.
        outputs: Outputs to keep, in order; None for all.

    Raises:
        ScorerError: The columns do not fit the model, or an output is unknown or not one value or row per item.
    """
    for spec in signature.inputs:
        _check_input(spec)
    chosen = _choose_columns(signature, columns, features, keys)
    plans = tuple(
        InputPlan(spec.name, spec.dtype, names, flat=len(spec.shape) == 1)
        for spec, names in zip(signature.inputs, chosen, strict=True)
    )
    for plan in plans:
        _check_columns(plan, columns)
    return Binding(plans, _choose_outputs(signature, outputs), _fixed_batch(signature))


def feeds(column: pa.DataType, dtype: str) -> bool:
    """Whether a column of this Arrow type can fill an input of this dtype without changing its values' meaning.

    A column of nulls only fits every numeric input: floats take it as NaN, and for the others the null is
    reported when it is met.
    """
    if pa.types.is_dictionary(column):
        return feeds(column.value_type, dtype)
    if dtype == "string":
        return _is_text(column)
    if dtype == "bool":
        return pa.types.is_boolean(column) or pa.types.is_null(column)
    whole = pa.types.is_integer(column) or pa.types.is_boolean(column) or pa.types.is_null(column)
    return whole or (dtype.startswith("float") and _is_fractional(column))


def arrow_type(dtype: str) -> pa.DataType:
    """The Arrow type that holds an input's values as they are."""
    return pa.string() if dtype == "string" else pa.from_numpy_dtype(np.dtype(dtype))


def _is_text(column: pa.DataType) -> bool:
    return pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_string_view(column)


def _is_fractional(column: pa.DataType) -> bool:
    return pa.types.is_floating(column) or pa.types.is_decimal(column)


def _offers_itself(column: pa.DataType, dtype: str) -> bool:
    """Narrower than `feeds`: flags and empty columns are features only when somebody says so."""
    if dtype != "bool" and (pa.types.is_boolean(column) or pa.types.is_null(column)):
        return False
    return feeds(column, dtype)


def _choose_columns(
    signature: ModelSignature,
    columns: Mapping[str, pa.DataType],
    features: Sequence[str] | None,
    keys: Sequence[str],
) -> list[tuple[str, ...]]:
    inputs = signature.inputs
    if features is not None:
        return [_named_features(inputs, tuple(features), columns)]
    if all(spec.name in columns and _takes_one_column(spec, alone=len(inputs) == 1) for spec in inputs):
        return [(spec.name,) for spec in inputs]
    if len(inputs) == 1 and len(inputs[0].shape) != 1:
        return [_offered_features(inputs[0], columns, keys)]
    missing = [spec for spec in inputs if spec.name not in columns]
    wide = [spec for spec in inputs if spec.name in columns and not _takes_one_column(spec, alone=False)]
    what = f"no column is named like {_list(map(str, missing))}" if missing else f"{_list(map(str, wide))} is no column"
    raise ScorerError(
        f"the model's inputs cannot be fed from columns of their names, because {what}; the data has the columns "
        f"{_list(columns)}; rename the columns or write an entry script"
    )


def _takes_one_column(spec: ValueSpec, *, alone: bool) -> bool:
    """Whether an input stands for one column; a lone input of dynamic width is a matrix instead."""
    if len(spec.shape) == 1:
        return True
    return len(spec.shape) == _MATRIX_RANK and spec.shape[1] in ((1,) if alone else (1, None))


def _named_features(
    inputs: Sequence[ValueSpec], features: tuple[str, ...], columns: Mapping[str, pa.DataType]
) -> tuple[str, ...]:
    if len(inputs) != 1:
        raise ScorerError(
            f"--features fills a single input, but the model has {len(inputs)} ({_list(map(str, inputs))}); leave "
            "--features out and name the columns like the inputs"
        )
    unknown = [name for name in features if name not in columns]
    if unknown:
        raise ScorerError(
            f"--features names {_list(unknown)}, which the data does not have; its columns are {_list(columns)}"
        )
    repeated = sorted({name for name in features if features.count(name) > 1})
    if repeated:
        raise ScorerError(f"--features names {_list(repeated)} more than once; name each column once")
    width = _width(inputs[0])
    if not features or (width is not None and len(features) != width):
        raise ScorerError(
            f"the model's input {inputs[0]} takes {_count(width)}, but --features names {len(features)}: "
            f"{_list(features)}"
        )
    return features


def _offered_features(spec: ValueSpec, columns: Mapping[str, pa.DataType], keys: Sequence[str]) -> tuple[str, ...]:
    offered = tuple(name for name, kind in columns.items() if name not in keys and _offers_itself(kind, spec.dtype))
    width = _width(spec)
    if offered and width in (None, len(offered)):
        return offered
    kind = "text" if spec.dtype == "string" else "true/false" if spec.dtype == "bool" else "numeric"
    held = f"{len(offered)} that are {kind} and no keys: {_list(offered)}" if offered else f"none that are {kind}"
    others = [name for name in columns if name not in offered]
    rest = f" (not counted: {_list(others)})" if others else ""
    raise ScorerError(
        f"the model's input {spec} takes {_count(width)}, but of the data's columns there are {held}{rest}; "
        f"{_advice(offered, width)}"
    )


def _advice(offered: Sequence[str], width: int | None) -> str:
    id_like = [name for name in offered if _ID_LIKE.fullmatch(name)]
    if width is not None and len(offered) == width + 1 and id_like:
        return f"name the features with --features, or carry {id_like[0]!r} over as the key with --key {id_like[0]}"
    return "name the features, in the model's order, with --features"


def _width(spec: ValueSpec) -> int | None:
    """How many columns an input takes, None for any number."""
    if len(spec.shape) == _MATRIX_RANK:
        return spec.shape[1]
    return 1 if len(spec.shape) == 1 else None


def _count(width: int | None) -> str:
    return "one column or more" if width is None else "1 column" if width == 1 else f"{width} columns"


def _check_input(spec: ValueSpec) -> None:
    if not spec.is_tensor or len(spec.shape) > _MATRIX_RANK:
        raise ScorerError(
            f"the model's input {spec} cannot be fed from table columns, which fill [N], [N, 1] or [N, K] of "
            "numbers, true/false or text; write an entry script that prepares it"
        )


def _check_columns(plan: InputPlan, columns: Mapping[str, pa.DataType]) -> None:
    unfit = [f"{name} ({columns[name]})" for name in plan.columns if not feeds(columns[name], plan.dtype)]
    if unfit:
        raise ScorerError(
            f"the model's input {plan.name!r} takes {plan.dtype} values, which these columns do not hold: "
            f"{_list(unfit)}; leave them out, convert them in the data, or write an entry script"
        )


def _choose_outputs(signature: ModelSignature, outputs: Sequence[str] | None) -> tuple[str, ...]:
    specs = {spec.name: spec for spec in signature.outputs}
    chosen = tuple(specs) if outputs is None else tuple(dict.fromkeys(outputs))
    unknown = [name for name in chosen if name not in specs]
    if unknown or not chosen:
        named = _list(unknown) if unknown else "none"
        raise ScorerError(f"--outputs must name outputs of the model ({_list(specs)}), but names {named}")
    unfit = [spec for name in chosen if not _fits_rows(spec := specs[name])]
    if unfit:
        raise ScorerError(
            f"the model's output {_list(map(str, unfit))} does not become columns, as only [N], [N, K] and maps of "
            f"class scores do; keep others of {_list(specs)} with --outputs, or write an entry script"
        )
    return chosen


def _fits_rows(spec: ValueSpec) -> bool:
    return spec.is_class_maps or (spec.is_tensor and len(spec.shape) <= _MATRIX_RANK)


def _fixed_batch(signature: ModelSignature) -> int | None:
    sizes = {spec.shape[0] for spec in signature.inputs if spec.shape and spec.shape[0] is not None}
    if len(sizes) > 1:
        raise ScorerError(
            f"the model's inputs fix different numbers of rows ({_list(map(str, signature.inputs))}), so rows of a "
            "table cannot fill them together; write an entry script"
        )
    return sizes.pop() if sizes else None


def _list(names: Iterable[str]) -> str:
    shown = list(names)
    more = len(shown) - _NAMES_SHOWN
    return ", ".join(shown[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
