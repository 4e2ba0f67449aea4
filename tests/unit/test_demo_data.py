"""The data that the package ships for the demo: complete, balanced, consistent, and worth the accuracy it claims."""

import csv
import io
import re
import zipfile
from importlib import resources

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

DEMO = resources.files("batch_score.demo")


@pytest.fixture(scope="module")
def digits():
    """The table: ids [1797], labels [1797], pixels [1797, 64]."""
    rows = list(csv.reader(io.StringIO(DEMO.joinpath("digits.csv").read_text(encoding="utf-8"))))
    assert rows[0] == ["id", "label", *(f"pixel_{i}" for i in range(64))]
    values = np.array(rows[1:], dtype=np.int64)
    return values[:, 0], values[:, 1], values[:, 2:]


@pytest.fixture(scope="module")
def images():
    """Name and pixels [8, 8] of every PNG file."""
    with zipfile.ZipFile(io.BytesIO(DEMO.joinpath("digits.zip").read_bytes())) as archive:
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


@pytest.fixture(scope="module")
def model():
    return ort.InferenceSession(DEMO.joinpath("digits.onnx").read_bytes(), providers=["CPUExecutionProvider"])


def test_the_table_has_every_image_once(digits):
    ids, labels, pixels = digits
    assert ids.tolist() == list(range(1797))
    assert pixels.shape == (1797, 64)
    assert pixels.min() == 0
    assert pixels.max() == 16
    assert set(labels) == set(range(10))


@pytest.mark.parametrize("half", [0, 1])
def test_both_halves_hold_every_digit_about_equally_often(digits, half):
    counts = np.bincount(digits[1][half::2], minlength=10)
    assert counts.min() >= 80
    assert counts.max() <= 100


def test_the_model_is_right_for_97_percent_of_the_images_it_has_not_seen(digits, model):
    ids, labels, pixels = digits
    unseen = ids % 2 == 1
    (predicted,) = model.run(["label"], {"pixels": pixels[unseen].astype(np.float32)})
    assert (predicted == labels[unseen]).mean() >= 0.97


def test_the_model_has_the_inputs_and_outputs_it_is_described_with(digits, model):
    (pixels,) = model.get_inputs()
    assert (pixels.name, pixels.type, pixels.shape) == ("pixels", "tensor(float)", ["N", 64])
    assert [output.name for output in model.get_outputs()] == ["label", "probabilities"]
    label, probabilities = model.run(None, {"pixels": digits[2][:5].astype(np.float32)})
    assert (label.dtype, label.shape) == (np.int64, (5,))
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (5, 10))
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(5))
    assert probabilities.argmax(axis=1).tolist() == label.tolist()


def test_the_model_gives_a_row_the_same_answer_alone_and_among_others(digits, model):
    pixels = digits[2][1:101].astype(np.float32)
    (together,) = model.run(["label"], {"pixels": pixels})
    alone = [int(model.run(["label"], {"pixels": row[None]})[0][0]) for row in pixels]
    assert together.tolist() == alone


def test_the_png_files_are_exactly_the_test_half_of_the_table(digits, images):
    ids, labels, _ = digits
    expected = [f"digit-{n:04d}-label-{label}.png" for n, label in zip(ids, labels, strict=True) if n % 2 == 1]
    assert list(images) == expected


def test_the_png_files_show_the_pixels_of_the_table(digits, images):
    for name, image in images.items():
        number = int(re.fullmatch(r"digit-(\d{4})-label-\d\.png", name)[1])
        grey = np.asarray(image)
        assert (image.mode, grey.shape) == ("L", (8, 8))
        assert (grey.reshape(64) == digits[2][number] * 255 // 16).all()
        assert (np.rint(grey.reshape(64) * (16 / 255)) == digits[2][number]).all()


def test_the_package_data_stays_small():
    sizes = [entry.stat().st_size for entry in DEMO.iterdir() if entry.is_file()]
    assert sum(sizes) < 600_000


def test_the_readme_credits_the_creators_and_names_the_licence():
    text = DEMO.joinpath("README.md").read_text(encoding="utf-8")
    for fact in ("Alpaydin", "Kaynak", "10.24432/C50P49", "creativecommons.org/licenses/by/4.0", "What was changed"):
        assert fact in text
