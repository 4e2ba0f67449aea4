"""batch-score: score any number of table rows or files with one script or one ONNX model, exactly once.

The public names are loaded when they are first used, so that `import batch_score` and the command line's
`--help` stay quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from batch_score._native import __version__, read_journal

if TYPE_CHECKING:
    from batch_score.config import ParallelRunConfig, ReaderOptions
    from batch_score.dataset.files import FileDataset
    from batch_score.dataset.tabular import TabularDataset
    from batch_score.errors import BatchScoreError
    from batch_score.job.request import RunResult
    from batch_score.job.step import ParallelRunStep

__all__ = [
    "BatchScoreError",
    "FileDataset",
    "ParallelRunConfig",
    "ParallelRunStep",
    "ReaderOptions",
    "RunResult",
    "TabularDataset",
    "__version__",
    "read_journal",
]

_HOME = {
    "BatchScoreError": "batch_score.errors",
    "FileDataset": "batch_score.dataset.files",
    "ParallelRunConfig": "batch_score.config",
    "ParallelRunStep": "batch_score.job.step",
    "ReaderOptions": "batch_score.config",
    "RunResult": "batch_score.job.request",
    "TabularDataset": "batch_score.dataset.tabular",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
