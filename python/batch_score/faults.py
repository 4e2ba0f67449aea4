"""An exception as the record of a fault, and what its message tells: that memory ran out, that a GPU is lost."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from batch_score.minibatch import Fault

PACKAGE = str(Path(__file__).parent)

# Classes that mean nothing else. NumPy shows its own (_ArrayMemoryError) under the name of the built-in one.
MEMORY_ERRORS = {"MemoryError", "_ArrayMemoryError", "ArrowMemoryError"}
# Classes whose messages come from CUDA, onnxruntime, PyTorch, CuPy or XLA, where "out of memory" says enough. The
# OutOfMemoryError of redis-py, about its server, has another message.
NATIVE_ERRORS = {
    *("RuntimeError", "OutOfMemoryError", "AcceleratorError", "CUDARuntimeError", "CudaAPIError"),
    *("RuntimeException", "Fail", "EPFail", "EngineError", "XlaRuntimeError", "JaxRuntimeError"),
    *("XGBoostError", "LightGBMError"),
}
# Not "out of memory cards": what follows is no word, begins a sentence, or says what for, where or when.
OUT_OF_MEMORY = re.compile(
    r"\b[Oo]ut of memory\b(?! (?!(?:allocating|at|error|in|on|to allocate|trying|when|while)\b)[a-z])"
)
# What libraries say in exceptions of any class, and the issues where each can be read.
ALLOCATION_FAILED = (
    # "CUDA out of memory. Tried": pytorch/pytorch#16417; "CUDA error: out of memory": Comfy-Org/ComfyUI#13210; "CUDA
    # failure 2: out of memory", from onnxruntime: triton-inference-server/server#5014; "CUDA failed with error out of
    # memory": OpenNMT/CTranslate2#1458; "Cuda Runtime (out of memory)": NVIDIA/TensorRT#4258; MPS: pytorch#130112
    r"\b(?:CUDA|HIP|MPS|XPU)\b[^.]{0,60}\bout of memory\b",
    "CUDA_ERROR_OUT_OF_MEMORY",  # the driver's name for it: rapidsai/dask-cuda#225
    "cudaErrorMemoryAllocation",  # the runtime's name for it: cupy/cupy#314, dmlc/xgboost#7140
    "CUBLAS_STATUS_ALLOC_FAILED",  # QwenLM/Qwen3#873 from PyTorch, hacksider/Deep-Live-Cam#645 from onnxruntime
    "CUDNN_STATUS_ALLOC_FAILED",  # pytorch/pytorch#20123
    "CUDNN_STATUS_INTERNAL_ERROR_(?:DEVICE|HOST)_ALLOCATION_FAILED",  # its name since cuDNN 9
    "Failed to allocate memory for requested buffer",  # bfc_arena.cc: microsoft/onnxruntime#16307, #20038, #22702
    r"Available memory of \d+ is smaller than requested bytes of \d+",  # the same, at its limit
    r"Requested amount of GPU memory \(.*could not be allocated",  # NVIDIA/TensorRT#4258
    "DefaultCPUAllocator: (?:can't allocate|not enough) memory",  # pytorch/pytorch#20618
    "RESOURCE_EXHAUSTED: Out of memory",  # XLA: jax-ml/jax#13428
    "OOM when allocating tensor",  # tensorflow/tensorflow#17669
    r"\bstd::bad_alloc\b",  # C++: dmlc/xgboost#1032, and onnxruntime without its arena
    r"\[Errno 12\] Cannot allocate memory",  # fork() and mmap(): facebookresearch/maskrcnn-benchmark#599
)
SAID = re.compile("|".join(ALLOCATION_FAILED), re.IGNORECASE)
# What CUDA says when only another process can go on with the device: the texts of cudaError 214, 220, 226, 700, 702,
# 710, 714 to 719, 721, 810 and, as "unknown error" may be anybody's, 999 with its number or name (CUDA Runtime 13).
DEVICE_LOST = (
    "illegal memory access was encountered",
    "illegal instruction was encountered",
    "launch timed out and was terminated",
    "device-side assert triggered",
    "hardware stack error",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected",
    "Invalid access of peer GPU memory over nvlink or a hardware error",
    "tensor memory not completely freed",
    "MPS client has been terminated",
    r"CUDA (?:failure 999|error): unknown error|cudaErrorUnknown\b",
    # The names that the driver has for the same: Numba and PyCUDA show them.
    r"CUDA_ERROR_(?:ILLEGAL_ADDRESS|ILLEGAL_INSTRUCTION|LAUNCH_TIMEOUT|ASSERT|HARDWARE_STACK_ERROR)",
    r"CUDA_ERROR_(?:MISALIGNED_ADDRESS|INVALID_ADDRESS_SPACE|INVALID_PC|LAUNCH_FAILED|ECC_UNCORRECTABLE)",
    r"CUDA_ERROR_(?:NVLINK_UNCORRECTABLE|CONTAINED|TENSOR_MEMORY_LEAK|MPS_CLIENT_TERMINATED|UNKNOWN)\b",
)
# What CUDA says when this process cannot begin to use its device (cudaError 3, 46, 100, 101): it is taken, in a mode
# that admits one process, or has fallen off the bus.
DEVICE_ABSENT = (
    "busy or unavailable",
    "no CUDA-capable device is detected",
    "invalid device ordinal",
    r"CUDA (?:failure 3|error): initialization error",
)
SAID_OF_A_LOST_DEVICE = re.compile("|".join(DEVICE_LOST))
SAID_OF_AN_ABSENT_DEVICE = re.compile("|".join(DEVICE_ABSENT))


def fault_of(error: BaseException) -> Fault:
    """An exception as a record; its traceback begins where the script's own code does, if it got that far."""
    begin = error.__traceback__
    while begin is not None and begin.tb_frame.f_code.co_filename.startswith(PACKAGE):
        begin = begin.tb_next
    text = "".join(traceback.format_exception(type(error), error, begin or error.__traceback__))
    return Fault(type(error).__name__, _message(error), text)


def _message(error: BaseException) -> str:
    try:
        return str(error).strip().replace("\n", " ") or "(no message)"
    except Exception as why:  # noqa: BLE001 - the script's exceptions may have a `__str__` of its own
        return f"(its message cannot be shown: {type(why).__name__})"


def is_memory_fault(fault: Fault) -> bool:
    """Whether a try failed for want of memory, of the machine or of its device; fewer items at once may then do."""
    if fault.error in MEMORY_ERRORS or SAID.search(fault.message):
        return True
    return fault.error in NATIVE_ERRORS and OUT_OF_MEMORY.search(fault.message) is not None


def is_device_lost(fault: Fault) -> bool:
    """Whether a try failed in a way after which this process cannot use its GPU any more, but another one can."""
    return SAID_OF_A_LOST_DEVICE.search(fault.message) is not None


def is_device_absent(fault: Fault) -> bool:
    """Whether this process could not begin to use its GPU, which is the device's trouble and not the scorer's."""
    return SAID_OF_AN_ABSENT_DEVICE.search(fault.message) is not None
