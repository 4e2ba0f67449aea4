"""The bytes of text files, and bytes in memory as a file for Arrow's readers."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, cast

import pyarrow as pa

from batch_score import _native

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SAMPLE_BYTES = 1 << 20
MARK = b"\xef\xbb\xbf"  # the byte order mark
COMPRESSED = (".gz", ".zst", ".bz2")
# utf16 and utf32 are decoded when they are read.
CODECS = {
    "utf8": "utf8",
    "utf8bom": "utf8",
    "utf16": "utf8",
    "utf32": "utf8",
    "ascii": "ascii",
    "iso88591": "latin-1",
    "latin1": "latin-1",
    "windows1252": "cp1252",
}


def first_part(
    paths: Sequence[str], scan: Callable[[Sequence[str], int], _native.TextPlan], encoding: str
) -> tuple[str, bytes] | None:
    """The first file that has records, and about its first megabyte of them; None if no file has any.

    Args:
        paths: The files, in order.
        scan: Plans files by the records of their format, at most so many bytes at a time.
        encoding: Of the files.
    """
    for path in paths:
        for _, offset, length, _, _ in scan([path], SAMPLE_BYTES).next_batch(1):
            return path, _read(path, offset, length, encoding)
    return None


def _read(path: str, offset: int, length: int, encoding: str) -> bytes:
    """A range of a file as the planner counted it: of the decoded text if the file is decoded as a stream."""
    if _native.is_stream(path, encoding):
        return _native.TextStream(path, encoding=encoding).read_range(offset, length)
    return _native.read_range(path, offset, length)


def as_file(data: bytes) -> IO[Any]:
    """A file over `data` that Arrow reads without a copy and without the interpreter; typed as its readers want it."""
    return cast("IO[Any]", pa.BufferReader(data))
