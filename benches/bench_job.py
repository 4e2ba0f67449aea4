"""Whole jobs: CSV files to scores to a CSV file, on 2 workers, against the model alone on data in memory."""

import time

import numpy as np
import onnxruntime
import pyarrow.csv as pacsv
import pytest
from benches.jobs import ENTRY_SCRIPTS, score

from batch_score import TabularDataset

pytestmark = pytest.mark.timeout(600)
WORKERS = 2


@pytest.fixture(scope="module")
def alone(mlp, floats):
    """The model on the whole matrix in pieces of a mini-batch: (scores [N, 2], seconds of the best of 3 passes)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = WORKERS
    session = onnxruntime.InferenceSession(str(mlp), options, providers=["CPUExecutionProvider"])
    pieces = np.array_split(floats.matrix, max(1, len(floats.matrix) // 28_000))
    passes = []
    for _ in range(3):
        begin = time.perf_counter()
        scores = [session.run(None, {"x": piece})[0] for piece in pieces]
        passes.append(time.perf_counter() - begin)
    return np.concatenate(scores), min(passes)


@pytest.mark.parametrize("scorer", ["model", "script"])
def test_csv_to_csv(measure, floats, mlp, folders, alone, scorer):
    """`model` is the ONNX file as the scorer; `script` an entry script that calls it with a DataFrame."""
    scores, seconds = alone
    entry_script = mlp if scorer == "model" else ENTRY_SCRIPTS / "model.py"
    config = {"features": tuple(f"f{number:02d}" for number in range(20))} if scorer == "model" else {}

    def job():
        return score(
            folders(),
            entry_script,
            TabularDataset.from_delimited_files(floats.paths),
            append_row_file_name="predictions.csv",
            key="id",
            mini_batch_size=min(4 << 20, floats.bytes // 32),
            process_count_per_node=WORKERS,
            environment_variables={"BENCH_MODEL": str(mlp)},
            **config,
        )

    result = measure.run(job)
    check_scores(result.output, floats.ids, scores)
    measure.note({"rows_per_s": len(floats.ids), "mb_per_s": floats.bytes / 1e6, "of_model_alone": seconds})
    measure.note(rows=len(floats.ids), model_alone_s=seconds, workers=WORKERS)


def check_scores(output, ids, scores):
    """Asserts that the output has each id exactly once, with the score of the model alone."""
    table = pacsv.read_csv(output).sort_by("id")
    assert table.column_names == ["id", "p_0", "p_1"]
    assert np.array_equal(table["id"].to_numpy(), ids)
    for column in (0, 1):
        np.testing.assert_allclose(table[f"p_{column}"].to_numpy(), scores[:, column], rtol=1e-5, atol=1e-7)
