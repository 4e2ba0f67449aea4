"""The GPU bench: its parts work, which the CPU can show, and without a GPU it says so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from benches.gpu import models
from benches.gpu.data import SMALL
from benches.gpu.works import Bench, WrongAnswerError, _check_table, figures

ROOT = Path(__file__).resolve().parents[1]


def bench_gpu(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "benches.gpu", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_without_a_gpu_it_says_so_and_ends_well(tmp_path):
    done = bench_gpu("--results", tmp_path / "results", "--data", tmp_path / "data", CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 0
    assert done.stderr.startswith("bench-gpu: skipped, because no GPU is usable: ")
    assert list(tmp_path.iterdir()) == []


def test_on_the_cpu_all_of_it_runs_and_is_recorded(tmp_path):
    done = bench_gpu(
        *("--device", "cpu", "--small", "--sweep", "2"), "--results", tmp_path / "results", "--data", tmp_path / "data"
    )
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "results").glob("*/gpu/*.json")
    works = json.loads(path.read_text(encoding="utf-8"))["works"]
    assert works["images"]["default"]["items"] == SMALL.images
    assert set(works["table"]) == {"default", "2"}
    for one in [*works["images"].values(), *works["table"].values()]:
        assert 0 < one["job_of_alone"] < one["steady_of_alone"]


def test_the_network_for_images_has_the_shape_it_is_named_after(tmp_path):
    path = models.resnet(tmp_path / "m.onnx", width=8, side=32)
    nodes = onnx.load(path).graph.node
    assert sum(node.op_type in ("Conv", "MatMul") for node in nodes) == 50 + 4  # four shortcuts have one too
    image = np.zeros((2, 3, 32, 32), np.uint8)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"image": image})[0].shape == (2, 1000)


@pytest.mark.parametrize("wrong", ["a row is missing", "a row is there twice", "a score"])
def test_a_wrong_answer_is_no_measurement(wrong):
    import pandas as pd  # noqa: PLC0415 - only here

    output = pd.DataFrame({"id": [0, 1, 2, 0, 1, 2], "p": [0.1, 0.2, 0.3] * 2})
    _check_table(output, 3, 2, [0.1, 0.2])
    output = {
        "a row is missing": output[1:],
        "a row is there twice": pd.concat([output, output[:1]]),
        "a score": output.assign(p=output["p"] + 0.1),
    }[wrong]
    with pytest.raises(WrongAnswerError):
        _check_table(output, 3, 2, [0.1, 0.2])


def test_figures_compare_with_the_best_round_alone():
    class Result:
        elapsed_s = 4.0
        times = ({"elapsed": 2.0},)

    found = figures(Result(), 100, {"items": 50, "seconds": [1.0, 0.5]})
    assert found["alone_per_s"] == 100
    assert found["job_of_alone"] == 0.25
    assert found["steady_of_alone"] == 0.5
    assert Bench(Path(), SMALL, "cpu", "", 1).size is SMALL
