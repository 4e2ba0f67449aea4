"""The files in which a model keeps weights outside of itself, read from the model without the `onnx` package.

ONNX Runtime opens those files, but tells nobody their names. A model is a protobuf message: fields, each behind a tag
with its number and wire type. Only the few message types on the way to a tensor are looked into; all else, the weights
inside the model among it, is stepped over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_LONGEST_NAME = 4096
_KEY, _VALUE = 1, 2
# What each message holds on the way to the entries of a tensor's external_data, by field number (onnx.proto).
_INSIDE = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
# Lists with a tag before each element, millions of them in a model of trees: what has one has nothing to look for.
_LISTS = {"attribute": {7, 8, 9}, "tensor": {6}}


def external_files(path: Path) -> list[str]:
    """The files that a model's tensors are in, as the model names them: relative to its own folder.

    Of a file that is no model, or a damaged one, whatever could be read.

    Args:
        path: The model.

    Returns:
        The names, each once, sorted.

    Raises:
        OSError: The model cannot be read.
    """
    found: set[str] = set()
    with path.open("rb") as file:
        pending = [("model", 0, os.fstat(file.fileno()).st_size)]
        while pending:
            kind, start, end = pending.pop()
            if kind == "entry":
                found.update(_location(file, start, end))
                continue
            for number, first, last in _fields(file, start, end):
                if number in _LISTS.get(kind, ()):
                    break
                if number in _INSIDE[kind]:
                    pending.append((_INSIDE[kind][number], first, last))
    return sorted(found)


def _location(file: BinaryIO, start: int, end: int) -> Iterator[str]:
    """The value of an entry of external_data, if its key is `location`."""
    texts = {}
    for number, first, last in _fields(file, start, end):
        file.seek(first)
        texts[number] = file.read(min(last - first, _LONGEST_NAME))
    if texts.get(_KEY) == b"location":
        yield os.fsdecode(texts.get(_VALUE, b""))


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields between two positions: number, first byte of the content, its end. Stops where there is none."""
    while start < end:
        file.seek(start)
        tag = _varint(file)
        if tag & 7 == _BYTES:
            length = _varint(file)
        elif tag & 7 == _VARINT:
            length = min(_varint(file), 0)
        else:
            length = _FIXED.get(tag & 7, -1)
        start = file.tell()
        if length < 0 or start + length > end:
            return
        yield tag >> 3, start, start + length
        start += length


def _varint(file: BinaryIO) -> int:
    """A number of seven bits a byte, the low ones first; -1 when there is none."""
    number = 0
    for place in range(_LONGEST_VARINT):
        byte = file.read(1)
        if not byte:
            break
        number |= (byte[0] & 0x7F) << (7 * place)
        if not byte[0] & 0x80:
            return number
    return -1
