"""What a model says of its inputs and outputs, as plain records."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ELEMENT_TYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
    "string": "string",
}
_TENSOR = re.compile(r"tensor\((\w+)\)")
_CLASS_MAPS = re.compile(r"seq\(map\((?:int64|string),\s*tensor\(float\)\)\)")


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """One input or output of a model.

    Attributes:
        name: As the model spells it.
        dtype: A numpy word (`float32`, `int64`, `bool`, ...) or `string` for a tensor of a kind that a table can
            hold; for everything else the runtime's own type, such as `seq(map(int64,tensor(float)))`.
        shape: One entry per dimension, None for a dynamic one; empty when the rank is unknown, for a scalar and
            for what is not a tensor.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @property
    def is_tensor(self) -> bool:
        """Whether it is a tensor of a kind that a table can hold."""
        return self.dtype in _ELEMENT_TYPES.values()

    @property
    def is_class_maps(self) -> bool:
        """Whether it is what a ZipMap node makes: for each row a map from class to score."""
        return _CLASS_MAPS.fullmatch(self.dtype) is not None

    def __str__(self) -> str:
        dimensions = ", ".join("N" if d is None else str(d) for d in self.shape)
        return f"{self.name!r} {self.dtype} [{dimensions}]"


@dataclass(frozen=True, slots=True)
class ModelSignature:
    """The inputs a model must be fed and the outputs it gives, each in the model's order."""

    inputs: tuple[ValueSpec, ...]
    outputs: tuple[ValueSpec, ...]


def dtype_of(runtime_type: str) -> str:
    """The dtype word of a `ValueSpec` for a type as ONNX Runtime spells it, such as `tensor(float)`."""
    tensor = _TENSOR.fullmatch(runtime_type)
    return _ELEMENT_TYPES.get(tensor[1], runtime_type) if tensor else runtime_type
