"""Make the three data files of the demo: `digits.csv`, `digits.onnx` and `digits.zip`.

Needs scikit-learn, onnx and Pillow:

    pip install scikit-learn onnx pillow
    python examples/train_digits.py [FOLDER]

FOLDER is python/batch_score/demo unless given. A second run on the same machine writes the same bytes.

Images with an even id are for training, those with an odd id for testing. `gamma` and `C` are chosen by
cross-validation inside the training half; the kind of model and the number of landmarks are fixed below.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
# scikit-learn and threadpoolctl ship no types

from __future__ import annotations

import argparse
import csv
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from numpy.typing import NDArray

SEED = 7
LANDMARKS = 400
PIXELS = 64
BRIGHTEST = 16
DEMO = Path(__file__).resolve().parents[1] / "python" / "batch_score" / "demo"
CREDIT = (
    "Trained on half of the test set of Optical Recognition of Handwritten Digits, E. Alpaydin and C. Kaynak "
    "(1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0."
)


def train(pixels: NDArray[np.int64], labels: NDArray[np.int64]) -> Pipeline:
    """Fit a classifier on similarity to landmark images.

    Args:
        pixels: [N, 64], each from 0 to 16.
        labels: [N], each from 0 to 9.

    Returns:
        A Nystroem map to landmarks taken from the training images, then logistic regression.
    """
    pipeline = Pipeline(
        [
            ("similarity", Nystroem(n_components=LANDMARKS, random_state=SEED)),
            ("regression", LogisticRegression(max_iter=2_000)),
        ]
    )
    grid = {
        "similarity__gamma": [g / BRIGHTEST**2 for g in (0.1, 0.15, 0.25, 0.4)],
        "regression__C": [10, 100, 1_000],
    }
    return GridSearchCV(pipeline, grid, cv=5).fit(pixels, labels).best_estimator_


def convert(pipeline: Pipeline) -> onnx.ModelProto:
    """Write the fitted pipeline as operators that ONNX Runtime has for CPUs and for GPUs alike.

    Converters emit `ai.onnx.ml` operators for scikit-learn's classifiers; those run on the CPU only.

    Args:
        pipeline: What `train` returned.

    Returns:
        A model with input `pixels` float32 [N, 64] and outputs `label` int64 [N], `probabilities` float32
        [N, 10].
    """
    similarity, regression = pipeline["similarity"], pipeline["regression"]
    landmarks = similarity.components_
    weights = {
        "landmarks": landmarks.astype(np.uint8),  # whole numbers up to 16: a quarter of the size
        "landmark_norms": (landmarks**2).sum(axis=1).astype(np.float32),
        "minus_gamma": np.float32(-similarity.gamma),
        "coefficients": (similarity.normalization_.T @ regression.coef_.T).astype(np.float32),
        "intercepts": regression.intercept_.astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["landmarks"], ["landmark_pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSumSquare", ["pixels"], ["norms"], axes=[1], keepdims=1),
        helper.make_node("Gemm", ["pixels", "landmark_pixels", "landmark_norms"], ["products"], alpha=-2.0, transB=1),
        helper.make_node("Add", ["products", "norms"], ["squared_distances"]),
        helper.make_node("Mul", ["squared_distances", "minus_gamma"], ["exponents"]),
        helper.make_node("Exp", ["exponents"], ["similarities"]),
        helper.make_node("Gemm", ["similarities", "coefficients", "intercepts"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", PIXELS])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 10]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(
        graph, producer_name="batch-score", opset_imports=[helper.make_opsetid("", 17)], doc_string=CREDIT
    )
    model.ir_version = 8  # the oldest that has opset 17, so that older runtimes load it too
    onnx.checker.check_model(model, full_check=True)
    return model


def write_table(path: Path, pixels: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Write every image as one CSV row: id, label, 64 pixels line by line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "label", *(f"pixel_{i}" for i in range(PIXELS))])
        for number, (label, row) in enumerate(zip(labels, pixels, strict=True)):
            writer.writerow([number, label, *row])


def write_images(path: Path, pixels: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
    """Write the images with an odd id as 8x8 greyscale PNG files into one ZIP file.

    Neither layer is compressed and the dates are fixed, so that the bytes do not depend on the zlib at hand.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number in range(1, len(labels), 2):
            grey = (pixels[number] * 255 // BRIGHTEST).astype(np.uint8).reshape(8, 8)
            png = io.BytesIO()
            Image.fromarray(grey).save(png, "PNG", compress_level=0)
            entry = zipfile.ZipInfo(f"digit-{number:04d}-label-{labels[number]}.png")
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, png.getvalue())


def main() -> None:
    """Write the three files and print what they hold."""
    parser = argparse.ArgumentParser(description="Make the data files of the demo.")
    parser.add_argument("folder", nargs="?", type=Path, default=DEMO)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_digits()
    pixels, labels = digits.data.astype(np.int64), digits.target.astype(np.int64)
    with threadpool_limits(1):  # one thread adds up in one order: the same weights every time
        pipeline = train(pixels[0::2], labels[0::2])
        accuracy = pipeline.score(pixels[1::2], labels[1::2])
    (folder / "digits.onnx").write_bytes(convert(pipeline).SerializeToString(deterministic=True))
    write_table(folder / "digits.csv", pixels, labels)
    write_images(folder / "digits.zip", pixels, labels)
    settings = {name: pipeline.get_params()[name] for name in ("similarity__gamma", "regression__C")}
    print(f"settings chosen on the training half: {settings}")
    print(f"accuracy on the {len(labels) // 2} test images: {accuracy:.4f}")
    for name in ("digits.csv", "digits.onnx", "digits.zip"):
        print(f"{folder / name}: {(folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
