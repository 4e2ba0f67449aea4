"""Score the rows of a table with PyTorch, on the GPU that the worker was given or on its share of the cores.

Run it as a program, `python score_with_torch.py`, and it makes a CSV file of 5,000 rows and a network with random
weights, has batch-score score the rows with this very file as the entry script, and checks the scores against those of
the network in this process. It needs `pip install batch-score torch`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = 5000
FEATURES = [f"f{number}" for number in range(8)]

network: Any
device: str


def init() -> None:
    """Load the network, once in each worker, onto its device.

    A worker sees one GPU, so that GPU is `cuda:0` to it, whatever its number on the machine. A GPU that cannot be used
    is an error here: the job does not fall back to the CPU in silence.
    """
    global network, device  # noqa: PLW0603 - what init() loads reaches run() as globals of the script
    import torch  # noqa: PLC0415 - here, so that the process that starts the job need not have it

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    arguments, _ = parser.parse_known_args()  # batch-score's own arguments are on the command line too
    device = "cuda:0" if os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu"
    network = make_network().to(device).eval()
    network.load_state_dict(torch.load(arguments.model, map_location=device, weights_only=True))


def run(mini_batch: pd.DataFrame) -> pd.DataFrame:
    """Score one mini-batch.

    Args:
        mini_batch: N rows.

    Returns:
        N rows with the index of the mini-batch, by which every result finds the key of its row.
    """
    import torch  # noqa: PLC0415 - as above

    values = torch.from_numpy(mini_batch[FEATURES].to_numpy(dtype=np.float32)).to(device)
    with torch.inference_mode():
        scores = network(values).squeeze(1).cpu().numpy()
    return pd.DataFrame({"score": scores}, index=mini_batch.index)


def make_network() -> Any:
    """Give the network, its weights still random."""
    from torch import nn  # noqa: PLC0415 - as above

    return nn.Sequential(nn.Linear(len(FEATURES), 64), nn.ReLU(), nn.Linear(64, 1), nn.Sigmoid())


def main() -> None:
    """Score the rows from the command line, in mini-batches of 64 KB, and check that each came back once."""
    import torch  # noqa: PLC0415 - as above

    torch.manual_seed(1)
    made = make_network()
    values = np.random.default_rng(1).normal(size=(ROWS, len(FEATURES))).round(4).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(made.state_dict(), folder / "network.pt")
        pd.DataFrame(values, columns=FEATURES).to_csv(folder / "rows.csv", index=False)
        options = ["--mini-batch-size", "64KB", "--run-dir", str(folder / "run")]
        command = ["batch-score", "run", __file__, str(folder / "rows.csv"), *options]
        subprocess.run([*command, "--", "--model", str(folder / "network.pt")], check=True)
        result = pd.read_csv(folder / "run" / "outputs" / "predictions.csv").sort_values("row")
        with torch.inference_mode():
            wanted = made(torch.from_numpy(values)).squeeze(1).numpy()
        # A GPU may add up in another order and, with TF32, in fewer digits.
        if result["row"].tolist() != list(range(ROWS)) or not np.allclose(result["score"], wanted, atol=2e-3):
            raise SystemExit("some row is missing, there twice, or has another score")
        print(f"{ROWS} rows scored, each exactly once")


if __name__ == "__main__":
    main()
