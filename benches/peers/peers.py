"""Who is measured at which work."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benches.peers import count, score

if TYPE_CHECKING:
    from collections.abc import Callable

    from benches.peers.data import Data

OURS = "batch-score"
QUOTED = "rows-quoted"
SCRIPT = "batch-score-script"
ALONE = "model-alone"


@dataclass(frozen=True)
class Job:
    """What one peer is asked to do.

    Attributes:
        work: Name of the work.
        peer: Name of the peer.
        files: CSV files to read.
        quoted: They have line breaks inside quotes.
        model: ONNX model; empty where records are only counted.
        matrix: The floats of the files as a .npy file.
        processes: Processes to use, where a peer lets the user choose.
        out: Folder for the scores, there and empty.
    """

    work: str
    peer: str
    files: list[str]
    quoted: bool
    model: str
    matrix: str
    processes: int
    out: str


@dataclass(frozen=True)
class Peer:
    """A package, or ours, at one kind of work.

    Attributes:
        name: As the table shows it.
        needs: Packages that must be installed.
        function: Takes a job; returns the number of records, or None or its own seconds where scores are written.
        imports: Modules that its first process needs; imported before the clock inside the job starts.
    """

    name: str
    needs: tuple[str, ...]
    function: Callable[[Job], int | float | None]
    imports: tuple[str, ...] = ()

    @property
    def absent(self) -> list[str]:
        """The packages that are not installed."""
        return [module for module in self.needs if importlib.util.find_spec(module) is None]


@dataclass(frozen=True)
class Work:
    """One thing to do for several peers.

    Attributes:
        name: For the command line.
        title: For the table.
        peers: Who does it.
        model: `mlp` or `gbm`; empty where records are counted.
        repeats: How often a process does it; the fastest time counts.
        lines: Of which peers the answer is lines instead of records.
    """

    name: str
    title: str
    peers: tuple[Peer, ...]
    model: str = ""
    repeats: int = 1
    lines: tuple[str, ...] = ()

    def job(self, peer: Peer, data: Data, processes: int, out: str) -> Job:
        """What `peer` is asked to do with `data`."""
        quoted = self.name == QUOTED
        files = data.quoted if quoted else data.plain
        model = data.model(self.model) if self.model else ""
        return Job(self.name, peer.name, files, quoted, model, data.matrix, processes, out)


COUNTING = (
    Peer(OURS, ("batch_score",), count.with_batch_score, ("batch_score._native",)),
    Peer("polars", ("polars",), count.with_polars, ("polars",)),
    Peer("duckdb", ("duckdb",), count.with_duckdb, ("duckdb",)),
    Peer("pyarrow", ("pyarrow",), count.with_pyarrow, ("pyarrow.csv", "pyarrow.dataset")),
    Peer("wc", (), count.with_wc),
)
RUNTIME = ("numpy", "onnxruntime")
JOB = ("batch_score.dataset.tabular", "batch_score.job.step")
MODEL = Peer(OURS, ("batch_score", "onnxruntime"), score.with_batch_score, JOB)
POLARS = Peer("polars", ("polars", *RUNTIME), score.with_polars)
PYARROW = Peer("pyarrow", ("pyarrow", *RUNTIME), score.with_pyarrow)
IDEAL = Peer(ALONE, RUNTIME, score.model_alone, RUNTIME)
MLP = (
    MODEL,
    Peer(SCRIPT, ("batch_score", "pandas", "onnxruntime"), score.with_entry_script, JOB),
    POLARS,
    Peer("daft", ("daft", *RUNTIME), score.with_daft, ("daft",)),
    PYARROW,
    Peer("pandas", ("pandas", *RUNTIME), score.with_pandas),
    Peer("ray", ("ray", "pyarrow", *RUNTIME), score.with_ray, ("ray.data",)),
    IDEAL,
)
WORKS = (
    Work("rows", "number of records, unquoted", COUNTING, repeats=3, lines=("wc",)),
    Work(QUOTED, "number of records, quoted", COUNTING, repeats=3, lines=("wc",)),
    Work("mlp", "CSV to scores to CSV, small network", MLP, "mlp"),
    Work("gbm", "CSV to scores to CSV, 100 trees", (MODEL, POLARS, PYARROW, IDEAL), "gbm"),
)


def work_named(name: str) -> Work:
    """One of WORKS."""
    return next(work for work in WORKS if work.name == name)
