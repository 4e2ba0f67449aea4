"""The one module that imports ONNX Runtime: reading a model's signature, choosing providers, making sessions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import ScorerError
from batch_score.onnx.signature import ModelSignature, ValueSpec, dtype_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_TENSORRT = "TensorrtExecutionProvider"
_FATAL = 4  # ONNX Runtime's log severities: what goes wrong comes as an exception, so only a crash is left to say
_ERROR = 3
_ERROR_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")

# For each device the providers in order of preference, each with its options; the CPU always closes the list,
# because shape arithmetic runs there even in a model that is otherwise all on the GPU.
_PROVIDERS: Mapping[str, tuple[tuple[str, Mapping[str, str]], ...]] = {
    "cpu": (),
    # Searching the convolution algorithm anew for each shape costs more than the best algorithm wins.
    "cuda": ((_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}),),
    "tensorrt": ((_TENSORRT, {}), (_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"})),
}


def read_signature(path: str | os.PathLike[str]) -> ModelSignature:
    """Reads what the model at `path` needs and gives.

    Raises:
        ScorerError: The file is missing, empty or not an ONNX model, or ONNX Runtime is not installed.
    """
    runtime = _import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = _open(runtime, path, options, [(_CPU, {})])
    return ModelSignature(
        tuple(_spec(value) for value in session.get_inputs()),
        tuple(_spec(value) for value in session.get_outputs()),
    )


def available_providers() -> tuple[str, ...]:
    """The execution providers of the installed ONNX Runtime."""
    return tuple(_import_runtime().get_available_providers())


def providers_for(device: str, available: Sequence[str], *, gpu: bool) -> list[tuple[str, dict[str, str]]]:
    """The providers to ask for, best first. Pure.

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
    return [*((name, dict(options)) for name, options in chain), (_CPU, {})]


def open_session(path: str | os.PathLike[str], providers: Sequence[tuple[str, Mapping[str, str]]], threads: int) -> Any:
    """Makes an optimised session that runs on the first of `providers`.

    Args:
        path: The model.
        providers: As `providers_for` gives them.
        threads: Threads inside one operator on the CPU.

    Raises:
        ScorerError: The model cannot be loaded, or the session runs on another provider than the first.
    """
    runtime = _import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    wanted = providers[0][0]
    if wanted != _CPU:
        # Waiting threads spin by default; beside a GPU they would take the cores that read and encode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = _open(runtime, path, options, providers)
    got = session.get_providers()[0]
    if got != wanted:
        raise ScorerError(
            f"the model {path} was to run on {wanted}, but ONNX Runtime could only offer {got}; see the worker's log "
            "for the library that did not load, or choose --device cpu"
        )
    return session


def _open(
    runtime: Any, path: str | os.PathLike[str], options: Any, providers: Sequence[tuple[str, Mapping[str, str]]]
) -> Any:
    file = Path(path)
    if not file.is_file():
        raise ScorerError(f"the model {path} does not exist or is not a file")
    if file.stat().st_size == 0:
        raise ScorerError(f"the model {path} is empty")
    requested = [(name, dict(settings)) for name, settings in providers]
    try:
        # Without enable_fallback=0 a failing provider is replaced by the CPU, with a note on stdout.
        return runtime.InferenceSession(str(file), options, providers=requested, enable_fallback=0)
    except Exception as error:  # the runtime's exceptions have no base class of their own
        reason = _ERROR_PREFIX.sub("", " ".join(str(error).split())).rstrip("")
        raise ScorerError(f"the model {path} cannot be loaded by ONNX Runtime: {reason}") from error


def _spec(value: Any) -> ValueSpec:
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return ValueSpec(value.name, dtype_of(value.type), shape)


def _import_runtime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - optional, and slow to import for those who score with a script
    except ImportError as error:
        raise ScorerError(
            f'a model needs ONNX Runtime, which cannot be imported ({error}); run `pip install "batch-score[onnx]"`, '
            'or `pip install "batch-score[gpu]"` for NVIDIA GPUs'
        ) from error
    return onnxruntime
