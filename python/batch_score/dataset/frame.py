"""An Arrow table as the DataFrame that an entry script gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa

from batch_score.minibatch import ROW

if TYPE_CHECKING:
    import numpy as np


def frame(table: pa.Table, ordinals: np.ndarray) -> pd.DataFrame:
    """The table as a DataFrame whose index `row` holds the items' ordinals in their file.

    Column dtypes depend on the settled schema alone, never on the values of one mini-batch.
    """
    # Integers of columns have no nulls; those inside of structs must not become floats because others have.
    result: pd.DataFrame = table.to_pandas(integer_object_nulls=True)
    for column in table.schema:
        if pa.types.is_boolean(column.type) and column.nullable:
            result[column.name] = result[column.name].astype(object)
    consecutive = len(ordinals) > 0 and int(ordinals[-1]) - int(ordinals[0]) + 1 == len(ordinals)
    result.index = (
        pd.RangeIndex(int(ordinals[0]), int(ordinals[-1]) + 1, name=ROW)
        if consecutive
        else pd.Index(ordinals, name=ROW)
    )
    return result
