"""Ask where a mini-batch comes from: a `run()` with a second parameter also gets the mini-batch's context.

Run it as a program, `python with_context.py`, and it makes a CSV file in a temporary folder, has batch-score score it
with this very file as the entry script, and prints which rows each mini-batch had.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

ROWS = 2_000


class MiniBatchContext(Protocol):
    """What this script uses of the context."""

    minibatch_index: int
    global_row_index_lower_bound: int
    retry_count: int


def run(mini_batch: pd.DataFrame, context: MiniBatchContext) -> pd.DataFrame:
    """Label each row with its place in the whole input.

    Args:
        mini_batch: N rows.
        context: Says which mini-batch this is, at which row of the input it starts and how often it failed before.

    Returns:
        N rows with the index of the mini-batch.
    """
    first = int(context.global_row_index_lower_bound)
    return pd.DataFrame(
        {
            "mini_batch": str(context.minibatch_index),
            "place": np.arange(first, first + len(mini_batch)),
            "tries": context.retry_count + 1,
            "double": 2 * mini_batch["value"],
        },
        index=mini_batch.index,
    )


def main() -> None:
    """Score from the command line, in mini-batches of 4 KB, and check every row's place."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        values = "\n".join(str(number) for number in range(ROWS))
        (folder / "values.csv").write_text(f"value\n{values}\n", encoding="utf-8")
        options = ["--key", "value", "--mini-batch-size", "4KB", "--run-dir", str(folder / "run")]
        command = ["batch-score", "run", __file__, str(folder / "values.csv"), *options]
        subprocess.run(command, check=True)
        result = pd.read_csv(folder / "run" / "outputs" / "predictions.csv").sort_values("place")
        expected = np.arange(ROWS)
        if not (np.array_equal(result["place"], expected) and np.array_equal(result["value"], expected)):
            raise SystemExit("some row is missing, there twice or out of place")
        print(f"{ROWS} rows in {result['mini_batch'].nunique()} mini-batches, each row exactly once")
        print(result.groupby("mini_batch")["place"].agg(["first", "last"]).to_string())


if __name__ == "__main__":
    main()
