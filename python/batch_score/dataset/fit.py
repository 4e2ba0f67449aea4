"""The last step of every reader: rows that do not fit the settled columns are set apart, the rest get their schema."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from batch_score.dataset.schema import PATH_COLUMN, unfit
from batch_score.minibatch import FailedItem, Fault, path_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.dataset.base import TableBatch
    from batch_score.minibatch import MiniBatch


def set_unfit_apart(minibatch: MiniBatch, batch: TableBatch, schema: pa.Schema) -> TableBatch:
    """The batch with exactly `schema`; rows that are empty where it has no nulls become failed items.

    Args:
        minibatch: Where the rows are from.
        batch: Rows with the names and types of `schema`, nullable or not.
        schema: The settled columns, on whose nullability the dtypes in pandas depend.
    """
    batch = set_apart(minibatch, batch, unfit(batch.table, schema))
    return replace(batch, table=pa.Table.from_arrays(batch.table.columns, schema=schema))


def set_apart(minibatch: MiniBatch, batch: TableBatch, bad: Mapping[int, str]) -> TableBatch:
    """The batch without the rows at the positions of `bad`, which become failed items with those messages."""
    if not bad:
        return batch
    faults = [(int(batch.ordinals[row]), Fault("RecordError", message)) for row, message in sorted(bad.items())]
    failed = (*batch.failed_items, *(FailedItem(minibatch.source, row, fault) for row, fault in faults))
    keep = np.ones(batch.items, dtype=bool)
    keep[list(bad)] = False
    table, ordinals = batch.table.filter(pa.array(keep)), batch.ordinals[keep]
    return replace(batch, table=table, ordinals=ordinals, failed_items=failed)


def with_path(minibatch: MiniBatch, batch: TableBatch) -> TableBatch:
    """The batch with the column `Path` after the others."""
    paths = pa.repeat(pa.scalar(path_text(minibatch.source)), batch.items)
    # A table without columns has no rows that another column could stand beside.
    table = batch.table.append_column(PATH_COLUMN, paths) if batch.table.num_columns else pa.table({PATH_COLUMN: paths})
    return replace(batch, table=table)
