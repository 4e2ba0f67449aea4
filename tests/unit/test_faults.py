"""What the message of a fault tells: that memory ran out, that a GPU is lost."""

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from batch_score.faults import fault_of, is_device_absent, is_device_lost, is_memory_fault
from batch_score.minibatch import Fault

TORCH = (
    "CUDA out of memory. Tried to allocate 22.00 MiB. GPU 0 has a total capacity of 23.65 GiB of which 11.06 MiB is "
    "free. Including non-PyTorch memory, this process has 23.60 GiB memory in use."
)
ONNX = "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. Name:'c' "
ARENA = (
    "Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* onnxruntime::BFCArena::"
    "AllocateRawInternal(size_t, bool) Failed to allocate memory for requested buffer of size 643840"
)
LACKING = [
    ("MemoryError", "(no message)"),
    ("MemoryError", "std::bad_alloc: cudaErrorMemoryAllocation: out of memory"),
    ("_ArrayMemoryError", "Unable to allocate 8.00 GiB for an array with shape (1073741824,) and data type float64"),
    ("ArrowMemoryError", "realloc of size 2172846080 failed"),
    ("OutOfMemoryError", TORCH),
    ("OutOfMemoryError", "Out of memory allocating 25,600,000 bytes (allocated so far: 3,635,267,072 bytes)."),
    ("OutOfMemoryError", "out of memory to allocate 1073741824 bytes (total 12373894656 bytes)"),
    ("CUDARuntimeError", "cudaErrorMemoryAllocation: out of memory"),
    ("RuntimeError", TORCH),
    ("RuntimeError", "CUDA error: out of memory CUDA kernel errors might be asynchronously reported"),
    ("AcceleratorError", "CUDA error: out of memory"),
    ("RuntimeError", "cuda runtime error (2) : out of memory at /pytorch/aten/src/THC/generic/THCStorage.cu:58"),
    ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    ("RuntimeError", "MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB)"),
    ("RuntimeError", "HIP out of memory. Tried to allocate 20.00 MiB"),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried to"),
    ("RuntimeError", "CUDA failed with error out of memory"),
    ("RuntimeError", "parallel_for failed: out of memory"),
    ("RuntimeError", "out of memory Exception raised from allocate at x.cpp:7 (most recent call first):"),
    ("RuntimeException", ONNX + ARENA),
    ("Fail", "[ONNXRuntimeError] : 1 : FAIL : " + ARENA),
    ("RuntimeException", ONNX + "Available memory of 1024 is smaller than requested bytes of 643840"),
    ("RuntimeException", ONNX + "Status Message: std::bad_alloc"),
    ("RuntimeException", ONNX + "Status Message: CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h"),
    ("Fail", "[ONNXRuntimeError] : 1 : FAIL : CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; expr=cudaMalloc()"),
    ("EPFail", "TensorRT EP: [defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"),
    ("XlaRuntimeError", "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7406166528 bytes."),
    ("ResourceExhaustedError", "OOM when allocating tensor with shape[16,112,112,147] and type float"),
    ("CudaAPIError", "[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY"),
    ("XGBoostError", "std::bad_alloc"),
    ("OSError", "[Errno 12] Cannot allocate memory"),
    ("ScoringFailed", f"row 7 could not be scored: {TORCH}"),  # a script's own, around the library's
]
OTHER = [
    ("ValueError", "the memory column is empty"),
    ("KeyError", "'memory'"),
    ("RuntimeError", "sensor 12 is out of memory cards"),
    ("ValueError", "status 'out of memory' is unknown"),
    ("RuntimeError", "shared memory segment psm_1 does not exist"),
    ("OperationalError", "out of shared memory HINT: You might need to increase max_locks_per_transaction."),
    ("OutOfMemoryError", "command not allowed when used memory > 'maxmemory'."),  # redis-py, of its server
    ("ResourceExhausted", "429 Quota exceeded for aiplatform.googleapis.com"),
    ("RuntimeError", "CUDA error: an illegal memory access was encountered"),
    ("RuntimeError", "CUDA error: invalid device ordinal. The log says: memory is fine"),
    ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR"),
    ("OSError", "[Errno 28] No space left on device"),
    ("OSError", "[Errno 11] Resource temporarily unavailable"),
    ("WorkerDied", "the worker was killed by SIGSEGV (a crash in native code)"),
    ("InvalidArgument", "[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : not enough space: expected 270080, got 261760"),
    ("Timeout", "run() took longer than run_invocation_timeout (60 s); its worker was killed"),
]


@pytest.mark.parametrize(("error", "message"), LACKING)
def test_a_fault_for_want_of_memory(error, message):
    assert is_memory_fault(Fault(error, message))


@pytest.mark.parametrize(("error", "message"), OTHER)
def test_a_fault_for_another_reason(error, message):
    assert not is_memory_fault(Fault(error, message, traceback="MemoryError, caught and tried again"))


def too_much_of_numpy():
    np.empty(1 << 50, np.uint8)


def too_much_of_arrow():
    pa.allocate_buffer(1 << 50)


def too_much_of_python():
    bytearray(1 << 50)


def too_much_of_onnxruntime(*, arena=True):
    node = helper.make_node("ConstantOfShape", ["shape"], ["out"])
    shape = helper.make_tensor_value_info("shape", TensorProto.INT64, [1])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [None])
    model = helper.make_model(helper.make_graph([node], "g", [shape], [out]))
    model.ir_version, model.opset_import[0].version = 9, 17
    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena, options.log_severity_level = arena, 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"shape": np.array([1 << 48])})


def too_much_of_onnxruntime_without_its_arena():
    too_much_of_onnxruntime(arena=False)


@pytest.mark.parametrize(
    "ask",
    [
        too_much_of_numpy,
        too_much_of_arrow,
        too_much_of_python,
        too_much_of_onnxruntime,
        too_much_of_onnxruntime_without_its_arena,
    ],
)
def test_what_libraries_really_raise(ask):
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which class it is differs from library to library
        ask()
    assert is_memory_fault(fault_of(raised.value))


# As cudaGetErrorString() of CUDA 13.5 has them.
CUDA_TEXTS = [
    "an illegal memory access was encountered",
    "an illegal instruction was encountered",
    "the launch timed out and was terminated",
    "device-side assert triggered",
    "hardware stack error",
    "misaligned address",
    "operation not supported on global/shared address space",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ECC error encountered",
    "uncorrectable NVLink error detected during the execution",
    "Invalid access of peer GPU memory over nvlink or a hardware error",
    "tensor memory not completely freed",
    "the MPS client has been terminated by the server",
]
LOST = [
    *(f"CUDA error: {text} CUDA kernel errors might be asynchronously reported" for text in CUDA_TEXTS),
    *(f"{ONNX}Status Message: CUDA failure 700: {text} ; GPU=0 ; hostname=h" for text in CUDA_TEXTS),
    *(f"cudaErrorX: {text}" for text in CUDA_TEXTS),  # CuPy
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "[700] Call to cuMemcpyDtoH results in CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED: unspecified",
    "CUDA failure 999: unknown error ; GPU=0 ; hostname=h",
    "CUDA error: unknown error",
    "cudaErrorUnknown: unknown error",
    "CUDA_ERROR_CONTAINED",
]
NOT_LOST = [
    *(message for _, message in LACKING),
    *(message for error, message in OTHER if "illegal memory access" not in message),
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA error: invalid device ordinal",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    "Assertion failed: the device is lost",
    "unknown error",
    "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1",
]


@pytest.mark.parametrize("message", LOST)
def test_a_fault_after_which_the_gpu_needs_another_process(message):
    assert is_device_lost(Fault("RuntimeError", message))


@pytest.mark.parametrize("message", NOT_LOST)
def test_a_fault_after_which_the_gpu_can_be_used(message):
    assert not is_device_lost(Fault("RuntimeError", message))


@pytest.mark.parametrize(
    ("message", "absent"),
    [
        ("CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 ; hostname=h", True),
        ("CUDA error: CUDA-capable device(s) is/are busy or unavailable", True),
        ("CUDA failure 3: initialization error ; GPU=0", True),
        ("CUDA error: invalid device ordinal", True),
        ("CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1", False),
        ("the initialization error of my service", False),
    ],
)
def test_a_fault_of_a_device_that_cannot_be_had(message, absent):
    assert is_device_absent(Fault("Fail", message)) is absent
