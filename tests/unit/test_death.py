"""How a worker's death is worded, where the kernel's count of OOM kills is found, and which faults lack memory."""

import os
import signal
import subprocess
import sys

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from batch_score.job.death import OomCounter, ended_by, is_memory_fault
from batch_score.job.prepare import read_text
from batch_score.minibatch import Fault
from batch_score.worker.faults import fault_of
from batch_score.worker.messages import BROKEN, ORPHANED


@pytest.mark.parametrize(
    ("code", "oom", "words"),
    [
        (0, None, "left with exit code 0"),
        (3, True, "left with exit code 3"),
        (ORPHANED, None, f"left because its connection to the coordinator broke (exit code {ORPHANED})"),
        (BROKEN, None, f"left because one of its own threads failed, as its log tells (exit code {BROKEN})"),
        (-signal.SIGKILL, None, "was killed by SIGKILL (out of memory?)"),
        (-signal.SIGKILL, True, "was killed by SIGKILL: the kernel ran out of memory (OOM killer)"),
        (
            *(-signal.SIGKILL, False),
            "was killed by SIGKILL (from outside: kill -9, a job scheduler, a container's limit)",
        ),
        (-signal.SIGSEGV, None, "was killed by SIGSEGV (a crash in native code)"),
        (-signal.SIGSEGV, True, "was killed by SIGSEGV (a crash in native code)"),
        (-signal.SIGABRT, None, "was killed by SIGABRT (native abort)"),
        (-signal.SIGBUS, None, "was killed by SIGBUS (a mapped file was cut short, or /dev/shm is full)"),
        (-signal.SIGTERM, False, "was killed by SIGTERM"),
        (-(signal.SIGRTMIN + 3), None, f"was killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_how_a_process_ended(code, oom, words):
    assert ended_by(code, oom=oom) == words


@pytest.mark.parametrize("number", range(1, 65))
@pytest.mark.parametrize("oom", [None, False, True])
def test_every_signal_can_be_told(number, oom):
    assert ended_by(-number, oom=oom).startswith("was killed by ")


def test_the_exit_codes_of_a_worker_are_of_no_other_meaning():
    assert not {ORPHANED, BROKEN} & {value for name, value in vars(os).items() if name.startswith("EX_")}
    assert max(ORPHANED, BROKEN) < 126


EVENTS = "low 0\nhigh 7\nmax 9\noom 5\noom_kill {}\noom_group_kill 0\n"
CONTROL = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
VMSTAT = "nr_free_pages 12345\noom_kill {}\nzone_reclaim_failed 0\n"
V2 = "0::/user.slice/session.scope\n"
V1 = "9:name=systemd:/\n4:cpu,memory:/docker/0a1b\n0::/\n"
OWN_V2 = "/sys/fs/cgroup/user.slice/session.scope/memory.events"
OWN_V1 = "/sys/fs/cgroup/memory/docker/0a1b/memory.oom_control"
OLD = "oom_kill_disable 0\nunder_oom 0\n"  # before Linux 4.13


@pytest.mark.parametrize(
    ("cgroup", "counter", "text"),
    [
        (V2, OWN_V2, EVENTS),
        (V2, "/sys/fs/cgroup/user.slice/memory.events", EVENTS),  # the controller stops above
        ("0::/\n", "/sys/fs/cgroup/memory.events", EVENTS),  # a container with a namespace of its own
        (V1, OWN_V1, CONTROL),
        (V1, "/sys/fs/cgroup/memory/memory.oom_control", CONTROL),  # a container on cgroup v1
        (V2, "/proc/vmstat", VMSTAT),
        (V1, "/proc/vmstat", VMSTAT),
        (None, "/proc/vmstat", VMSTAT),
    ],
)
def test_oom_kills_are_found_where_the_kernel_counts_them(cgroup, counter, text):
    files = {"/proc/self/cgroup": cgroup, counter: text.format(2)}
    killed_since = OomCounter(files.get).killed_since
    assert killed_since() is False  # what was before the job is not its own
    files[counter] = text.format(3)
    assert killed_since() is True
    assert killed_since() is False


@pytest.mark.parametrize(("cgroup", "own", "text"), [(V2, OWN_V2, EVENTS), (V1, OWN_V1, CONTROL)])
def test_a_kill_elsewhere_on_the_machine_is_not_told(cgroup, own, text):
    files = {"/proc/self/cgroup": cgroup, own: text.format(0), "/proc/vmstat": VMSTAT.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files["/proc/vmstat"] = VMSTAT.format(1)
    assert killed_since() is False
    files[own] = text.format(1)
    assert killed_since() is True


def test_an_old_kernel_s_file_without_the_count_is_passed_over():
    files = {"/proc/self/cgroup": V1, OWN_V1: OLD, "/proc/vmstat": VMSTAT.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files["/proc/vmstat"] = VMSTAT.format(1)
    assert killed_since() is True


@pytest.mark.parametrize("files", [{}, {"/proc/self/cgroup": V1, OWN_V1: OLD, "/proc/vmstat": "nr_free_pages 1\n"}])
def test_without_a_count_nothing_is_told(files):
    assert OomCounter(files.get).killed_since() is None


def test_a_count_that_cannot_be_read_any_more_tells_nothing():
    files = {"/proc/self/cgroup": V2, OWN_V2: EVENTS.format(0)}
    killed_since = OomCounter(files.get).killed_since
    del files[OWN_V2]
    assert killed_since() is None


def test_each_kill_explains_one_death():
    """Three workers are killed at once, and their ends are seen one after the other."""
    files = {"/proc/self/cgroup": V2, OWN_V2: EVENTS.format(0)}
    killed_since = OomCounter(files.get).killed_since
    files[OWN_V2] = EVENTS.format(2)
    assert killed_since() is True
    files[OWN_V2] = EVENTS.format(3)
    assert [killed_since() for _ in range(3)] == [True, True, False]


def test_this_machine_s_count_does_not_rise_by_itself():
    """Which counter there is depends on the machine; the form of the files is the kernel's."""
    assert OomCounter(read_text).killed_since() in (False, None)


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
    ("RuntimeError", "MPS backend out of memory (MPS allocated: 5.56 GB, other allocations: 1.10 GB)"),
    ("RuntimeError", "HIP out of memory. Tried to allocate 20.00 MiB"),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
    ("RuntimeError", "[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory: you tried to"),
    ("RuntimeError", "CUDA failed with error out of memory"),
    ("RuntimeError", "parallel_for failed: out of memory"),
    ("RuntimeError", "out of memory Exception raised from allocate at x.cpp:7 (most recent call first):"),
    ("RuntimeException", ONNX + ARENA),
    ("Fail", "[ONNXRuntimeError] : 1 : FAIL : " + ARENA),
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


def test_a_real_end_in_words():
    def ended(code):
        return ended_by(subprocess.run([sys.executable, "-c", code], check=False).returncode, oom=None)

    assert ended("import os; os.kill(os.getpid(), 15)") == "was killed by SIGTERM"
    assert ended("import sys; sys.exit(4)") == "left with exit code 4"
