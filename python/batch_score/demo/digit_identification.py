"""Entry script of the demo: reads PNG files of handwritten digits and says which digit each one shows.

    batch-score run digit_identification.py png/ -- --model digits.onnx

Without `--model` the model is `digits.onnx` in the folder AZUREML_MODEL_DIR, or else beside this file.
Needs onnxruntime, numpy, pandas and Pillow.
"""

import argparse
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pandas as pd
from PIL import Image

BRIGHTEST = 16  # the model was trained on pixels from 0 to 16, a PNG file has them from 0 to 255

session: ort.InferenceSession


def init() -> None:
    """Load the model, once in each worker."""
    global session  # noqa: PLW0603 - what init() loads reaches run() as a global of the script
    parser = argparse.ArgumentParser()
    folder = Path(os.environ.get("AZUREML_MODEL_DIR") or Path(__file__).resolve().parent)
    parser.add_argument("--model", type=Path, default=folder / "digits.onnx")
    arguments, _ = parser.parse_known_args()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # there is a worker for every core already
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])


def run(mini_batch: list[str]) -> pd.DataFrame:
    """Identify the digits of one mini-batch.

    Args:
        mini_batch: Paths of N image files, each 8x8 pixels, greyscale.

    Returns:
        N rows in the order of the paths: `digit`, 0 to 9, and the `probability` that the model gives it.
    """
    images = np.stack([pixels(path) for path in mini_batch])
    labels, probabilities = session.run(["label", "probabilities"], {"pixels": images})
    return pd.DataFrame({"digit": labels, "probability": probabilities.max(axis=1)})


def pixels(path: str) -> np.ndarray:
    """Read one image as 64 float32 pixels from 0 to 16."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"), dtype=np.float32)
    return (grey.reshape(-1) * (BRIGHTEST / 255)).round()


def shutdown() -> None:
    """Let go of the model, once when the worker ends."""
    global session  # noqa: PLW0603 - as in init()
    del session
