"""The jobs that are measured, each checked: every item once, scores as alone, the device in the records."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.csv as pacsv
from benches.gpu.data import Size, images
from benches.gpu.models import labels, resnet
from benches.peers.data import prepare
from benches.peers.measure import ROOT
from benches.peers.models import gbm, mlp
from benches.peers.score import FEATURES

from batch_score import FileDataset, ParallelRunConfig, ParallelRunStep, TabularDataset

SCRIPT = ROOT / "examples" / "entry_scripts" / "score_images.py"
MINI_BATCH_BYTES = 4 << 20
ROW_BYTES = 156
HELD = 2000  # images in memory at once, for the model alone


class WrongAnswerError(Exception):
    """A job came to something else than the model alone, or ran elsewhere than it should."""


@dataclass(frozen=True)
class Bench:
    """What all works share.

    Attributes:
        folder: For data, models and run directories.
        size: How much is scored.
        device: `cuda` or `cpu`.
        uuid: Of the GPU, empty without one.
        threads: Cores that this process may use.
    """

    folder: Path
    size: Size
    device: str
    uuid: str
    threads: int

    @property
    def mlp(self):
        """The network for tables; its weights are small enough that scores are not all 0 and 1."""
        hidden = self.size.hidden
        return mlp(self.folder / "mlp.onnx", hidden, spread=max(hidden) ** -0.5)

    def alone(self, **request):
        """What `benches.gpu.alone` says, in a process that sees the same device as the workers."""
        with tempfile.NamedTemporaryFile("w", suffix=".json", dir=self.folder, encoding="utf-8") as file:
            json.dump({"device": self.device, "threads": self.threads, **request}, file)
            file.flush()
            masked = {**os.environ, "CUDA_VISIBLE_DEVICES": self.uuid}
            command = [sys.executable, "-m", "benches.gpu.alone", file.name]
            done = subprocess.run(command, cwd=ROOT, env=masked, capture_output=True, text=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise WrongAnswerError(f"the model alone failed: {said[-1]}")
        return json.loads(done.stdout.splitlines()[-1])

    def job(self, name, scorer, datasets, arguments=(), **config):
        """Runs a job on the one device; one that does not complete is no measurement."""
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=f"{name}-") as folder:
            settings = ParallelRunConfig(
                entry_script=str(scorer),
                append_row_file_name="predictions.csv",
                process_count_per_node=1,
                device=self.device,
                gpus=(self.uuid,) if self.uuid else None,
                gpu_monitor_interval=1,
                **config,
            )
            run_dir = Path(folder, "run")
            step = ParallelRunStep("bench", settings, datasets, run_dir=run_dir, arguments=arguments, allow_reuse=False)
            result = step.run()
            if result.status != "completed" or result.totals.items_failed:
                raise WrongAnswerError(str(result))
            self._check_device(run_dir)
            return result, pacsv.read_csv(result.output).to_pandas()

    def _check_device(self, run_dir):
        """The records name the device, and no other."""
        times = json.loads((run_dir / "run.json").read_text(encoding="utf-8"))["times"]
        (report,) = run_dir.glob("logs/**/processed_mini-batches.csv")
        with report.open(newline="", encoding="utf-8") as file:
            devices = {row["Device"] for row in csv.DictReader(file)} | {one["device"] for one in times}
        if devices != {self.uuid}:
            raise WrongAnswerError(f"the records name {sorted(devices)} where the device is {self.uuid or 'none'}")


def figures(result, items, alone):
    """Rates of a job, and what part of the model alone they are."""
    (times,) = result.times
    best = alone["items"] / min(alone["seconds"])
    whole, steady = items / result.elapsed_s, items / times["elapsed"]
    return {
        "items": items,
        "job_s": result.elapsed_s,
        "alone_per_s": best,
        "job_per_s": whole,
        "job_of_alone": whole / best,
        "steady_per_s": steady,
        "steady_of_alone": steady / best,
        "times": times,
    }


def score_table(bench, reader_threads):
    """The network for tables, for each number of reading threads (None for the default)."""
    size = bench.size
    data = prepare(bench.folder, size.megabytes)
    model = bench.mlp
    rows = MINI_BATCH_BYTES // ROW_BYTES
    alone = bench.alone(what="table", model=str(model), matrix=data.matrix, rows=rows)
    found = {}
    for threads in reader_threads:
        result, output = bench.job(
            "table",
            model,
            [TabularDataset.from_delimited_files(data.plain) for _ in range(size.passes)],
            key="id",
            features=FEATURES,
            mini_batch_size=MINI_BATCH_BYTES,
            reader_threads=threads,
        )
        _check_table(output, data.rows, size.passes, alone["scores"])
        found["default" if threads is None else str(threads)] = figures(result, size.passes * data.rows, alone)
    return found


def _check_table(output, rows, passes, wanted):
    ids = np.sort(output["id"].to_numpy())
    if not np.array_equal(ids, np.repeat(np.arange(rows), passes)):
        raise WrongAnswerError("the output does not have every id once for each pass")
    first = output[output["id"] < len(wanted)].drop_duplicates("id").sort_values("id")
    if not np.allclose(first["p"], wanted, rtol=2e-3, atol=2e-3):
        raise WrongAnswerError("scores of the job differ from those of the model alone")


def score_images(bench):
    """The network for images, by the example's entry script."""
    size = bench.size
    paths = [str(path) for path in images(bench.folder, size.images, size.side)]
    shape = {"width": size.width, "blocks": size.blocks, "side": size.side}
    model = resnet(bench.folder / "resnet.onnx", **shape)
    held = paths[:HELD]
    repeats = max(1, len(paths) // len(held))
    request = {"model": str(model), "script": str(SCRIPT), "batch": size.batch}
    alone = bench.alone(what="images", paths=held, repeats=repeats, **request)
    arguments = ("--model", str(model), "--batch", str(size.batch), "--threads", str(bench.threads))
    dataset = FileDataset.from_files(paths)
    result, output = bench.job("images", SCRIPT, [dataset], arguments, mini_batch_size=16 * size.batch)
    output = output.sort_values("source")
    if output["source"].tolist() != paths:
        raise WrongAnswerError("the output does not have every image once")
    first = output["score_0"].to_numpy()[: len(held)]
    wanted = np.array(alone["scores"])
    if not np.allclose(first, wanted, rtol=0, atol=1e-2 * np.abs(wanted).max()):
        raise WrongAnswerError("scores of the job differ from those of the model alone")
    return {"default": figures(result, len(paths), alone)}


def devices_agree(bench):
    """The largest difference between scores on the device and on the CPU, on the first rows of the table.

    Of a model that the device runs alone, of one that is left to the CPU, and of one that both work on.
    """
    data = prepare(bench.folder, bench.size.megabytes)
    part = bench.folder / "first.csv"
    pd.read_csv(data.plain[0], nrows=2000).to_csv(part, index=False)
    models = [bench.mlp, gbm(bench.folder / "gbm.onnx"), labels(bench.folder / "labels.onnx", len(FEATURES))]
    return max(_apart(bench, model, part) for model in models)


def _apart(bench, model, part):
    outputs = []
    for device, uuid in ((bench.device, bench.uuid), ("cpu", "")):
        one = Bench(bench.folder, bench.size, device, uuid, bench.threads)
        dataset = TabularDataset.from_delimited_files(part)
        _, output = one.job("agree", model, [dataset], key="id", features=FEATURES)
        outputs.append(output.sort_values("id").drop(columns="id").iloc[:, 0].to_numpy())
    if outputs[0].dtype == object:  # texts, of which rounding may change a few
        apart = float((outputs[0] != outputs[1]).mean())
    else:
        apart = float(np.abs(outputs[0] - outputs[1]).max())
    if not apart <= 1e-2:
        raise WrongAnswerError(f"{model.name}: scores on {bench.device} differ from those on the CPU by {apart:.2g}")
    return apart
