"""Score the rows of a table: `run()` gets a pandas DataFrame and returns one row of results for each of its rows.

Run it as a program, `python score_table.py`, and it makes a CSV file of 10,000 loans in a temporary folder, has
batch-score score it with this very file as the entry script, and prints what came out.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

LOANS = 10_000
FEATURES = ["debt_ratio", "late_payments", "years_employed"]

weights: np.ndarray
bias: float


def init() -> None:
    """Set the model up, once in each worker; here it is three weights and one argument of the script."""
    global weights, bias  # noqa: PLW0603 - what init() loads reaches run() as a global of the script
    parser = argparse.ArgumentParser()
    parser.add_argument("--bias", type=float, default=0.0)
    arguments, _ = parser.parse_known_args()  # batch-score's own arguments are on the command line too
    weights = np.array([2.5, 0.8, -0.15])
    bias = arguments.bias


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Score one mini-batch.

    Args:
        mini_batch: N loans.

    Returns:
        N rows with the index of the mini-batch, by which every result finds the key of its row.
    """
    logits = mini_batch[FEATURES].to_numpy(dtype=float) @ weights + bias
    return pd.DataFrame({"default_probability": 1 / (1 + np.exp(-logits))}, index=mini_batch.index)


def write_loans(path: Path) -> None:
    """Write a CSV file of made-up loans."""
    dice = random.Random(1)  # noqa: S311 - made-up data, no secrets
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["loan", *FEATURES])
        for number in range(LOANS):
            writer.writerow(
                [f"L{number:05d}", round(dice.random(), 3), dice.randrange(6), round(dice.uniform(0, 30), 1)]
            )


def main() -> None:
    """Score the loans from the command line, in mini-batches of 64 KB, and check that each came back once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_loans(folder / "loans.csv")
        options = ["--key", "loan", "--mini-batch-size", "64KB", "--run-dir", str(folder / "run")]
        command = ["batch-score", "run", __file__, str(folder / "loans.csv"), *options, "--", "--bias", "-3"]
        subprocess.run(command, check=True)
        result = pd.read_csv(folder / "run" / "outputs" / "predictions.csv")
        if sorted(result["loan"]) != [f"L{number:05d}" for number in range(LOANS)]:
            raise SystemExit("some loan is missing or there twice")
        risky = int((result["default_probability"] > 0.5).sum())  # noqa: PLR2004 - more likely than not
        print(f"{len(result)} loans scored, each exactly once; {risky} will more likely default than not")
        print(result.head(3).to_string(index=False))


if __name__ == "__main__":
    main()
