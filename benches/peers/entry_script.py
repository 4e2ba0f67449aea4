"""Scores the DataFrame of a mini-batch with the ONNX model that BENCH_MODEL names, on one thread."""

import os

import onnxruntime
import pandas as pd

session: onnxruntime.InferenceSession


def init():
    """Loads the model."""
    global session  # noqa: PLW0603 - an entry script keeps what init() made in its module
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"])


def run(mini_batch):
    """A probability per row."""
    scores = session.run(None, {"x": mini_batch.drop(columns="id").to_numpy("float32")})[0]
    return pd.DataFrame({"p": scores[:, 0]}, index=mini_batch.index)
