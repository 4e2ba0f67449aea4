"""The form `.jsonl`: one JSON object a line, keys first, UTF-8 without escapes beyond the necessary ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from batch_score.output import cells
from batch_score.output.encoder import Encoded
from batch_score.output.keys import attach
from batch_score.output.tabulate import Column, tabulate

if TYPE_CHECKING:
    import pyarrow as pa

    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned


class JsonLinesEncoder:
    """Writes JSON Lines. A record names its own columns, so mini-batches may differ in theirs."""

    suffix = ".jsonl"
    separator = None
    keyed = True
    spooled = False

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:
        """Encodes the elements; see `Encoder.encode`."""
        if returned.length == 0:
            return Encoded(b"", ())
        return Encoded(records(attach(tabulate(returned), keys, positions, returned.length)), ())

    def preamble(self, columns: tuple[str, ...]) -> bytes:  # noqa: ARG002 - this form has no header
        """Writes nothing; see `Encoder.preamble`."""
        return b""


def records(table: pa.Table) -> bytes:
    """Writes the rows of a table as JSON objects.

    Args:
        table: At least one column.

    Returns:
        One line per row.
    """
    return cells.lines(table, _lines)


def _lines(batch: pa.RecordBatch) -> Column:
    pieces: list[Any] = []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        opening = "," if pieces else "{"
        pieces += [f"{opening}{json.dumps(name, ensure_ascii=False)}:", cells.json_cells(column, name)]
    return cells.joined([*pieces, "}\n"])
