"""The models fed from memory, in this process, on the device that it sees: what no job can beat.

Run as `python -m benches.gpu.alone REQUEST.json`; prints one JSON object with seconds and, for a table, scores of the
first rows.
"""

import importlib.util
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from batch_score.onnx.binding import bind
from batch_score.onnx.runtime import read_signature
from batch_score.onnx.scorer import OnnxScorer
from batch_score.onnx.spec import ModelSpec

ROUNDS = 3
CHECKED = 2000


def table(request):
    """The network for tables on the whole matrix, in mini-batches as large as a job's."""
    matrix = np.load(request["matrix"])
    features = [f"f{place:02d}" for place in range(matrix.shape[1])]
    columns = dict.fromkeys(features, pa.float32())
    binding = bind(read_signature(request["model"]), columns, features=features, keys=(), outputs=None)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    spec = ModelSpec(request["model"], binding, device=request["device"], gpu=gpu, threads=request["threads"])
    scorer = OnnxScorer(spec)
    scorer.init()
    name, rows = binding.inputs[0].name, request["rows"]
    pieces = [{name: matrix[start : start + rows]} for start in range(0, len(matrix), rows)]
    answers = [scorer.run(piece) for piece in pieces]
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for piece in pieces:
            scorer.run(piece)
        seconds.append(time.perf_counter() - begin)
    scores = pa.concat_tables(answers)["p"].to_numpy()[:CHECKED]
    return {"items": len(matrix), "seconds": seconds, "scores": scores.tolist()}


def images(request):
    """The example's session on images in memory, in the same batches."""
    spec = importlib.util.spec_from_file_location("score_images", request["script"])
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    sys.argv = ["score_images", f"--model={request['model']}", f"--batch={request['batch']}"]
    script.init()
    held = np.stack([script.decode(path) for path in request["paths"]])
    name, batch = script.session.get_inputs()[0].name, request["batch"]
    pieces = [held[start : start + batch] for start in range(0, len(held), batch)]
    scores = [script.session.run(None, {name: piece})[0] for piece in pieces]
    seconds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(request["repeats"]):
            for piece in pieces:
                script.session.run(None, {name: piece})
        seconds.append(time.perf_counter() - begin)
    first = np.concatenate(scores)[:, 0].tolist()
    return {"items": request["repeats"] * len(held), "seconds": seconds, "scores": first}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(json.dumps({"table": table, "images": images}[asked["what"]](asked)) + "\n")
