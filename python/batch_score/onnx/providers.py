"""Which of ONNX Runtime's execution providers a model runs on, and how they are set up. Pure."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from batch_score.errors import ScorerError
from batch_score.onnx.spec import FP16

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.onnx.binding import Binding

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# For each device the providers in order of preference, each with its options; the CPU always closes the list,
# because shape arithmetic runs there even in a model that is otherwise all on the GPU.
_PROVIDERS: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    "cpu": (),
    # Searching the convolution algorithm anew for each shape costs more than the best algorithm wins.
    "cuda": ((CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}),),
    "tensorrt": ((TENSORRT, {}), (CUDA, {"cudnn_conv_algo_search": "HEURISTIC"})),
}


def providers_for(device: str, available: Sequence[str], *, gpu: bool) -> list[tuple[str, dict[str, str]]]:
    """The providers to ask for, best first.

    Args:
        device: `auto`, `cpu`, `cuda` or `tensorrt`. `auto` is the GPU when this worker has one, else the CPU.
        available: The providers of the installed ONNX Runtime.
        gpu: Whether this worker was given a GPU.

    Raises:
        ScorerError: A GPU is meant, but this worker has none or the installed ONNX Runtime cannot use one.
    """
    wanted = device if device != "auto" else "cuda" if gpu else "cpu"
    chain = _PROVIDERS[wanted]
    if chain and not gpu:
        raise ScorerError(
            f"--device {device} needs a GPU, but this worker was given none; run where `batch-score gpus` lists one, "
            "or choose --device cpu"
        )
    missing = [name for name, _ in chain if name not in available]
    if missing:
        raise ScorerError(
            f"this worker was given a GPU, but the installed onnxruntime has no {missing[0]} (it has "
            f'{", ".join(available)}); install it with `pip install "batch-score[gpu]"` in place of onnxruntime, or '
            "choose --device cpu"
        )
    return [*((name, dict(options)) for name, options in chain), (CPU, {})]


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
        model: Digest of the model's content.
        facts: The GPU, the precision, the number of rows, and the versions of the libraries, by name.
    """
    told = "\n".join(f"{name}={facts[name]}" for name in sorted(facts))
    return sha256(model + told.encode()).hexdigest()[:32]
