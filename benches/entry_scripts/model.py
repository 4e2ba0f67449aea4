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
    """Probabilities of the two classes, aligned with the rows."""
    matrix = mini_batch.drop(columns="id").to_numpy("float32")
    scores = session.run(None, {"x": matrix})[0]
    return pd.DataFrame(scores, columns=["p_0", "p_1"], index=mini_batch.index)
