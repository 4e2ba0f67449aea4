"""The one module that imports ONNX Runtime: reading a model's signature, making sessions."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import DeviceError, ScorerError
from batch_score.faults import fault_of, is_device_absent, is_device_lost, is_memory_fault
from batch_score.onnx.providers import CPU, TENSORRT
from batch_score.onnx.reason import reason, unloadable
from batch_score.onnx.signature import ModelSignature, ValueSpec, dtype_of

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from batch_score.minibatch import Fault
    from batch_score.onnx.binding import InputPlan
    from batch_score.onnx.feeding import Feeding

_FATAL = 4  # ONNX Runtime's log severities: what goes wrong comes as an exception, so only a crash is left to say
_ERROR = 3
# Makes a session tell later which provider each node went to.
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"


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
    session = _open(runtime, path, options, [(CPU, {})])
    return ModelSignature(
        tuple(_spec(value) for value in session.get_inputs()),
        tuple(_spec(value) for value in session.get_outputs()),
    )


def available_providers() -> tuple[str, ...]:
    """The execution providers of the installed ONNX Runtime."""
    return tuple(_import_runtime().get_available_providers())


def open_session(
    path: str | os.PathLike[str],
    providers: Sequence[tuple[str, Mapping[str, str]]],
    threads: int,
    *,
    content: bytes | None = None,
) -> Any:
    """Makes an optimised session that runs on the first of `providers`.

    Args:
        path: The model.
        providers: As `providers_for` gives them.
        threads: Threads inside one operator on the CPU.
        content: The model itself where it is not the file's.

    Raises:
        ScorerError: The model cannot be loaded, or the library of the first provider.
        DeviceError: The device has no room for the model, or cannot be used.
    """
    runtime = _import_runtime()
    options = runtime.SessionOptions()
    options.log_severity_level = _ERROR
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    wanted = providers[0][0]
    if wanted != CPU:
        _load_packaged_libraries(runtime, wanted)
        # Waiting threads spin by default; beside a GPU they would take the cores that read and encode.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(_RECORD_ASSIGNMENT, "1")
    session = _open(runtime, path, options, providers, content)
    got = session.get_providers()[0]
    if got != wanted:
        why = unloadable(_libraries(runtime), wanted)
        said = f"the model {path} was to run on {wanted}, but ONNX Runtime could only offer {got}"
        if why:
            raise ScorerError(f"{said}: {why}")
        raise DeviceError(f"{said}; see the worker's log for the reason, or choose --device cpu")
    return session


def operators(session: Any) -> list[tuple[str, bool]]:
    """The operator of each of a session's nodes, and whether it runs on the first provider.

    Empty for versions of ONNX Runtime that do not tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return []
    first = session.get_providers()[0]
    parts = session.get_provider_graph_assignment_info()
    return [(node.op_type, part.ep_name == first) for part in parts for node in part.get_nodes()]


def bindable(session: Any, outputs: Sequence[str]) -> bool:
    """Whether a session is better fed through memory on its device.

    Not if text goes in, which cannot be bound, or comes out, of which the process dies (1.20 to 1.31), and not if
    nothing on the device reads an input.
    """
    kinds = [value.type for value in session.get_inputs()]
    kinds += [value.type for value in session.get_outputs() if value.name in outputs]
    return not any("string" in kind for kind in kinds) and "cuda" in _readers(session).values()


def bound(session: Any, plans: Sequence[InputPlan]) -> Feeding:
    """Feeds a session through memory on its device."""
    from batch_score.onnx.io_binding import Bound  # noqa: PLC0415 - on the CPU nobody needs it

    return Bound(session, _import_runtime().OrtValue.ortvalue_from_shape_and_type, plans, _readers(session))


def _readers(session: Any) -> dict[str, str]:
    """By input, the device of the nodes that read it; the GPU for versions of ONNX Runtime that do not tell."""
    names = [value.name for value in session.get_inputs()]
    if not hasattr(session, "get_input_memory_infos"):
        return dict.fromkeys(names, "cuda")
    infos = session.get_input_memory_infos()
    return {name: "cpu" if info.name == "Cpu" else "cuda" for name, info in zip(names, infos, strict=True)}


def version() -> str:
    """Of ONNX Runtime."""
    return str(_import_runtime().__version__)


def _open(
    runtime: Any,
    path: str | os.PathLike[str],
    options: Any,
    providers: Sequence[tuple[str, Mapping[str, str]]],
    content: bytes | None = None,
) -> Any:
    file = Path(path)
    if not file.is_file():
        raise ScorerError(f"the model {path} does not exist or is not a file")
    if file.stat().st_size == 0:
        raise ScorerError(f"the model {path} is empty")
    requested = [(name, dict(settings)) for name, settings in providers]
    try:
        # Without enable_fallback=0 a failing provider is replaced by the CPU, with a note on stdout.
        return runtime.InferenceSession(content or str(file), options, providers=requested, enable_fallback=0)
    except Exception as error:  # the runtime's exceptions have no base class of their own
        why = unloadable(_libraries(runtime), providers[0][0]) or reason(str(error))
        kind = DeviceError if _concerns_device(fault_of(error)) else ScorerError
        raise kind(f"the model {path} cannot be loaded by ONNX Runtime: {why}") from error


def _concerns_device(fault: Fault) -> bool:
    return is_memory_fault(fault) or is_device_lost(fault) or is_device_absent(fault)


def _load_packaged_libraries(runtime: Any, provider: str) -> None:
    """Loads what a provider needs from where packages bring it, and the loader does not look."""
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    if provider == TENSORRT:
        with suppress(ImportError):
            import_module("tensorrt_libs")


def _libraries(runtime: Any) -> Path:
    return Path(runtime.__file__).parent / "capi"


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
