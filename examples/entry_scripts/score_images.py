"""Score images with ONNX Runtime: threads decode the next images while the model, on a GPU if there is one, has others.

Run it as a program, `python score_images.py`, and it makes 60 small PNG files and a model that tells how bright they
are, has batch-score score them with this very file as the entry script, and prints what came out. It needs
`pip install "batch-score[onnx]" onnx pillow`, and `batch-score[gpu]` instead for a GPU.

What it needs of your own model: one input `[N, 3, height, width]` of uint8 and one output with a row for each image.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

IMAGES, SIDE = 60, 32

session: Any
pool: ThreadPoolExecutor
batch: int


def init() -> None:
    """Load the model, once in each worker, onto the GPU that the worker was given."""
    global session, pool, batch  # noqa: PLW0603 - what init() loads reaches run() as globals of the script
    import onnxruntime  # noqa: PLC0415 - here, so that the process that starts the job need not have it

    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments, _ = parser.parse_known_args()  # batch-score's own arguments are on the command line too
    on_gpu = bool(os.environ.get("CUDA_VISIBLE_DEVICES"))  # batch-score names one device here, or none
    if on_gpu and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA in installed packages
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    provider = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"}) if on_gpu else "CPUExecutionProvider"
    # Without the last argument a GPU that fails would be replaced by the CPU, unasked.
    session = onnxruntime.InferenceSession(arguments.model, options, providers=[provider], enable_fallback=0)
    if on_gpu and session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("the model does not run on the GPU; is onnxruntime-gpu installed?")
    pool, batch = ThreadPoolExecutor(arguments.threads), arguments.batch


def decode(path: str) -> np.ndarray:
    """Give an image file as `[3, height, width]` uint8; `.npy` files hold just that."""
    if path.endswith(".npy"):
        return np.load(path)
    from PIL import Image  # noqa: PLC0415 - as above

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def run(mini_batch: list[str]) -> pd.DataFrame:
    """Score one mini-batch, `batch` images at a time.

    Args:
        mini_batch: Paths of N images.

    Returns:
        N rows, in the order of the paths.
    """
    name = session.get_inputs()[0].name
    decoded = pool.map(decode, mini_batch)  # begins with all of them; the model has the first ones meanwhile
    answers = []
    while images := list(islice(decoded, batch)):
        answers.append(session.run(None, {name: np.stack(images)})[0])
    scores = np.concatenate(answers)
    return pd.DataFrame({f"score_{place}": scores[:, place] for place in range(scores.shape[1])})


def shutdown() -> None:
    """Let the threads go."""
    pool.shutdown()


def make_model(path: Path) -> None:
    """Write a model from `[N, 3, H, W]` uint8 to `[N, 3]`: how bright each colour is, from 0 to 1."""
    import onnx  # noqa: PLC0415 - only to make the example's model
    from onnx import TensorProto, helper  # noqa: PLC0415 - as above

    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["values"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("Div", ["flat", "white"], ["brightness"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 3, "H", "W"])
    brightness = helper.make_tensor_value_info("brightness", TensorProto.FLOAT, ["N", 3])
    white = helper.make_tensor("white", TensorProto.FLOAT, [], [255.0])
    graph = helper.make_graph(nodes, "brightness", [image], [brightness], [white])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def main() -> None:
    """Score the images from the command line, 16 files at a time, and check that each came back once."""
    from PIL import Image  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "images"
        images.mkdir()
        for number in range(IMAGES):
            Image.new("RGB", (SIDE, SIDE), (number, 2 * number, 255)).save(images / f"image-{number:02d}.png")
        make_model(folder / "brightness.onnx")
        options = ["--mini-batch-size", "16", "--run-dir", str(folder / "run")]
        script = ["--model", str(folder / "brightness.onnx"), "--batch", "5"]
        command = ["batch-score", "run", __file__, str(images), *options, "--", *script]
        subprocess.run(command, check=True)
        result = pd.read_csv(folder / "run" / "outputs" / "predictions.csv").sort_values("source")
        wanted = [(number / 255, 2 * number / 255, 1.0) for number in range(IMAGES)]
        if len(result) != IMAGES or not np.allclose(result.filter(like="score_"), wanted, atol=1e-5):
            raise SystemExit("some image is missing, there twice, or has the scores of another")
        print(f"{IMAGES} images scored, each exactly once")


if __name__ == "__main__":
    main()
