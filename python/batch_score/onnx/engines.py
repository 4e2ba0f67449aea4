"""TensorRT: how it is set up, and where it keeps what takes it minutes to build."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from hashlib import file_digest, sha256
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.onnx.external import external_files
from batch_score.onnx.runtime import version
from batch_score.onnx.spec import FP16

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from batch_score.onnx.binding import Binding
    from batch_score.onnx.spec import ModelSpec

_TENSORRT_PACKAGES = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13")


@contextmanager
def engines(spec: ModelSpec, rows: int) -> Iterator[dict[str, str]]:
    """Options for the provider; while it builds an engine, other processes that want the same one wait.

    Args:
        spec: The model.
        rows: The largest number of rows that it will be given at once.
    """
    facts = {
        "gpu": spec.gpu,
        "onnxruntime": version(),
        "precision": spec.precision,
        "rows": str(rows),
        "tensorrt": _tensorrt_version(),
    }
    folder = Path(spec.cache, "tensorrt", engine_folder(_digest(Path(spec.path)), facts))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tensorrt_options(spec.binding, rows, precision=spec.precision, folder=str(folder))


def _digest(model: Path) -> bytes:
    """Of the model and the files in which it keeps weights."""
    together = sha256()
    for path in (model, *(model.parent / name for name in external_files(model))):
        with path.open("rb") as content:
            together.update(file_digest(content, sha256).digest())
    return together.digest()


def _tensorrt_version() -> str:
    """Of the installed package, empty if TensorRT came another way."""
    for name in _TENSORRT_PACKAGES:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def tensorrt_options(binding: Binding, rows: int, *, precision: str, folder: str) -> dict[str, str]:
    """Options that let TensorRT build one engine for all numbers of rows up to `rows`, and keep it in `folder`.

    Without the bounds it would build a new engine for each number of rows, which takes minutes; see the page on the
    TensorRT execution provider at onnxruntime.ai.
    """

    def shapes(count: int) -> str:
        rows_of = binding.batch or count
        sizes = [f"{one.name}:{rows_of}" + ("" if one.flat else f"x{len(one.columns)}") for one in binding.inputs]
        return ",".join(sizes)

    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": folder,
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": folder,
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(rows),
        "trt_profile_max_shapes": shapes(rows),
        **({"trt_fp16_enable": "1"} if precision == FP16 else {}),
    }


def engine_folder(model: bytes, facts: Mapping[str, str]) -> str:
    """Name of the folder of an engine: another one for each model and for all that an engine is built for.

    Args:
        model: Digest of the model's content, all its files.
        facts: The GPU, the precision, the number of rows, and the versions of the libraries, by name.
    """
    told = "\n".join(f"{name}={facts[name]}" for name in sorted(facts))
    return sha256(model + told.encode()).hexdigest()[:32]
