"""Where TensorRT keeps what takes it minutes to build."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.onnx.providers import TENSORRT, engine_folder, tensorrt_options
from batch_score.onnx.runtime import version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batch_score.onnx.spec import ModelSpec

_TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")


@contextmanager
def engines(spec: ModelSpec, provider: str, rows: int) -> Iterator[dict[str, str]]:
    """Options for the provider; while TensorRT builds an engine, other processes that want the same one wait.

    Args:
        spec: The model.
        provider: On which it runs; others than TensorRT have no options here and wait for nobody.
        rows: The largest number of rows that it will be given at once.
    """
    if provider != TENSORRT:
        yield {}
        return
    with Path(spec.path).open("rb") as model:
        digest = sha256(model.read()).digest()
    facts = {
        "gpu": spec.gpu,
        "onnxruntime": version(),
        "precision": spec.precision,
        "rows": str(rows),
        "tensorrt": _tensorrt_version(),
    }
    folder = Path(spec.cache, "tensorrt", engine_folder(digest, facts))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tensorrt_options(spec.binding, rows, precision=spec.precision, folder=str(folder))


def _tensorrt_version() -> str:
    """Of the installed package, empty if TensorRT came another way."""
    for name in _TENSORRT_PACKAGES:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""
