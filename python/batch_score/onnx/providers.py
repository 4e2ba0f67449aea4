"""Which of ONNX Runtime's execution providers a model runs on, and how they are set up. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_score.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

# For each device the providers in order of preference; the CPU always closes the list, because shape arithmetic runs
# there even in a model that is otherwise all on the GPU.
_PROVIDERS: Mapping[str, tuple[str, ...]] = {"cpu": (), "cuda": (CUDA,), "tensorrt": (TENSORRT, CUDA)}
_ALGORITHM = "cudnn_conv_algo_search"
_GROWTH = "arena_extend_strategy"


# What TensorRT's provider says of a model that it takes in several parts: it would need bounds for what goes from one
# to the other too, which only it knows (onnxruntime, issue 17434).
NEEDS_MORE_BOUNDS = "dynamic shape inputs with associated profiles"


def without_bounds(options: Mapping[str, str]) -> dict[str, str]:
    """TensorRT's options with the bounds left to what it meets: a new engine for each larger number of rows."""
    return {name: value for name, value in options.items() if not name.startswith("trt_profile_")}


def providers_for(
    device: str, available: Sequence[str], *, gpu: bool, fixed: bool = False
) -> list[tuple[str, dict[str, str]]]:
    """The providers to ask for, best first, each with its options.

    The algorithm of a convolution is searched for exhaustively only in a model that is `fixed`: it meets one shape. For
    others each new shape would be searched for again, which costs more than the best algorithm wins. Memory is taken as
    it is needed and not in powers of two: there are few shapes, and others may share the GPU.

    Args:
        device: `auto`, `cpu`, `cuda` or `tensorrt`. `auto` is the GPU when this worker has one, else the CPU.
        available: The providers of the installed ONNX Runtime.
        gpu: Whether this worker was given a GPU.
        fixed: Whether the model itself says how many rows it gets at once.

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
    missing = [name for name in chain if name not in available]
    if missing:
        raise ScorerError(
            f"this worker was given a GPU, but the installed onnxruntime has no {missing[0]} (it has "
            f'{", ".join(available)}); install it with `pip install "batch-score[gpu]"` in place of onnxruntime, or '
            "choose --device cpu"
        )
    options = {CUDA: {_ALGORITHM: "EXHAUSTIVE" if fixed else "HEURISTIC", _GROWTH: "kSameAsRequested"}}
    return [(name, options.get(name, {})) for name in (*chain, CPU)]
