"""Run a job from Python instead of the command line.

Run it as a program, `python python_api.py`: it makes three CSV files and an entry script in a temporary folder, has a
ParallelRunStep score them and prints what came out.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pandas as pd

from batch_score import ParallelRunConfig, ParallelRunStep, TabularDataset

ROWS = 3_000

ENTRY_SCRIPT = '''
def run(mini_batch):
    """Add up two columns; what is returned has the index of the mini-batch."""
    return (mini_batch["a"] + mini_batch["b"]).to_frame("sum")
'''


def main() -> None:
    """Score three files and check that each row came back once, with its file and its row number."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "add.py").write_text(ENTRY_SCRIPT, encoding="utf-8")
        for number in range(3):
            frame = pd.DataFrame({"a": range(ROWS), "b": number})
            frame.to_csv(folder / f"part-{number}.csv", index=False)

        step = ParallelRunStep(
            name="add-columns",
            parallel_run_config=ParallelRunConfig(
                entry_script=str(folder / "add.py"),
                mini_batch_size="8KB",
                error_threshold=10,
                append_row_file_name="predictions.csv",
            ),
            inputs=[TabularDataset.from_delimited_files(str(folder / "part-*.csv"))],
            output=str(folder / "out"),
            run_dir=str(folder / "run"),
        )
        step.run()

        result = pd.read_csv(folder / "out" / "predictions.csv")
        part = result["source"].str.extract(r"part-(\d)\.csv$", expand=False).astype(int)
        if len(result) != 3 * ROWS or result.duplicated(["source", "row"]).any():
            raise SystemExit("some row is missing or there twice")
        if not (result["sum"] == result["row"] + part).all():
            raise SystemExit("some result has the key of another row")
        print(f"{len(result)} rows scored, each exactly once; the first lines of the output are")
        print(result.head(3).to_string(index=False))


if __name__ == "__main__":
    main()
