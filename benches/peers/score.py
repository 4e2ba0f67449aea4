"""CSV files to scores to CSV files, with each package as a user would write it.

Every function reads the files of a job, scores them with its ONNX model on the CPU, with one thread in a session and
as many processes as the job says, and writes CSV files with the columns `id` and `p` into the job's folder. Packages
are imported where they are used: a peer is measured with what itself imports.
"""
# ruff: noqa: PLC0415 - only what is measured is imported

import multiprocessing
import os
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

FEATURES = [f"f{number:02d}" for number in range(20)]
CHUNK = 50_000  # rows
ENTRY_SCRIPT = Path(__file__).with_name("entry_script.py")


def session(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def probabilities(opened, columns, rows):
    """The answers `[rows]` to columns that each give an array."""
    import numpy as np

    matrix = np.empty((rows, len(FEATURES)), np.float32)
    for number, column in enumerate(columns):
        matrix[:, number] = column
    return opened.run(None, {"x": matrix})[0][:, 0]


def file_by_file(score_file, job):
    """A pool of processes, each scoring one file after the other."""
    with multiprocessing.get_context("spawn").Pool(job.processes) as pool:
        for _ in pool.imap_unordered(partial(score_file, job), job.files):
            pass


def target(job, path):
    """Where the scores of a file go."""
    return str(Path(job.out, Path(path).name))


def with_pandas(job):
    file_by_file(pandas_file, job)


def pandas_file(job, path):
    import pandas as pd

    opened = session(job.model)
    types = dict.fromkeys(FEATURES, "float32")
    with Path(target(job, path)).open("w", encoding="utf-8") as out:
        for number, frame in enumerate(pd.read_csv(path, dtype=types, chunksize=CHUNK)):
            scores = opened.run(None, {"x": frame[FEATURES].to_numpy()})[0][:, 0]
            pd.DataFrame({"id": frame["id"], "p": scores}).to_csv(out, header=number == 0, index=False)


def with_pyarrow(job):
    file_by_file(pyarrow_file, job)


def pyarrow_file(job, path):
    import pyarrow as pa
    import pyarrow.csv as pacsv

    pa.set_cpu_count(1)
    opened = session(job.model)
    schema = pa.schema([("id", pa.int64()), ("p", pa.float32())])
    options = pacsv.ReadOptions(use_threads=False, block_size=4 << 20)
    with pacsv.CSVWriter(target(job, path), schema) as writer:
        for batch in pacsv.open_csv(path, read_options=options):
            columns = (batch[name].to_numpy() for name in FEATURES)
            scores = probabilities(opened, columns, batch.num_rows)
            writer.write_batch(pa.record_batch([batch["id"], pa.array(scores)], schema=schema))


def with_polars(job):
    os.environ["POLARS_MAX_THREADS"] = "1"  # of each process: there are as many processes as cores
    file_by_file(polars_file, job)


def polars_file(job, path):
    import polars as pl

    opened = session(job.model)
    table = pl.read_csv(path, schema_overrides=dict.fromkeys(FEATURES, pl.Float32))
    scores = opened.run(None, {"x": table.select(FEATURES).to_numpy()})[0][:, 0]
    table.select("id").with_columns(p=pl.Series(scores)).write_csv(target(job, path))


def with_daft(job):
    import daft

    @daft.cls
    class Scorer:
        def __init__(self):
            self.opened = session(job.model)

        @daft.method.batch(return_dtype=daft.DataType.float32())
        def score(self, *columns):
            arrays = (column.to_arrow().to_numpy() for column in columns)
            return probabilities(self.opened, arrays, len(columns[0]))

    scores = Scorer().score(*(daft.col(name) for name in FEATURES))
    daft.read_csv(job.files).select("id", scores.alias("p")).write_csv(job.out)


def with_ray(job):
    import logging

    import ray
    import ray.data

    class Scorer:
        def __init__(self):
            self.opened = session(job.model)

        def __call__(self, table):
            import pyarrow as pa

            columns = (table[name].to_numpy() for name in FEATURES)
            return pa.table({"id": table["id"], "p": probabilities(self.opened, columns, table.num_rows)})

    ray.init(num_cpus=job.processes, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    # Half a core for each scorer leaves the other half to reading and writing.
    scored = ray.data.read_csv(job.files).map_batches(
        Scorer, batch_format="pyarrow", batch_size=CHUNK, concurrency=job.processes, num_cpus=0.5
    )
    scored.write_csv(job.out)
    ray.shutdown()


def with_batch_score(job):
    """The ONNX file itself is the scorer."""
    _batch_score(job, job.model)


def with_entry_script(job):
    """An entry script that takes the DataFrame and calls ONNX Runtime."""
    _batch_score(job, str(ENTRY_SCRIPT), environment_variables={"BENCH_MODEL": job.model})


def _batch_score(job, scorer, **settings):
    from batch_score import ParallelRunConfig, ParallelRunStep, TabularDataset

    config = ParallelRunConfig(
        entry_script=scorer,
        append_row_file_name="predictions.csv",
        key="id",
        device="cpu",
        mini_batch_size="4MB",
        process_count_per_node=job.processes,
        **settings,
    )
    dataset = TabularDataset.from_delimited_files(job.files)
    step = ParallelRunStep(
        name="peers", parallel_run_config=config, inputs=[dataset], output=job.out, run_dir=Path(job.out, "..", "run")
    )
    result = step.run()
    if result.status != "completed":
        raise RuntimeError(str(result))


def model_alone(job):
    """No files: the model on floats in memory, on as many threads as others have processes.

    Reading the floats from disk is not in the time that the function returns.
    """
    import numpy as np

    matrix = np.load(job.matrix)
    begin = time.perf_counter()
    opened = session(job.model)
    pieces = [matrix[at : at + CHUNK // 5] for at in range(0, len(matrix), CHUNK // 5)]
    with ThreadPoolExecutor(job.processes) as pool:
        scores = list(pool.map(lambda piece: opened.run(None, {"x": piece})[0][:, 0], pieces))
    seconds = time.perf_counter() - begin
    np.save(Path(job.out, "p.npy"), np.concatenate(scores))
    return seconds
