"""What users read when ONNX Runtime refuses: the reason and what helps, without places in its sources."""

import shutil
import subprocess
from pathlib import Path

import onnxruntime
import pytest

from batch_score.onnx.providers import CPU, CUDA, TENSORRT
from batch_score.onnx.reason import reason, unloadable

LIBRARIES = Path(onnxruntime.__file__).parent / "capi"

# From onnxruntime-gpu 1.31.1 with the CUDA 13 libraries, on a driver of version 550 and with wrong options.
OLD_DRIVER = """\
/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void, onnxruntime::common::\
Status> onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE\
 = cudaError; bool THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = void] CUDA \
failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ; \
file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider.cc ; line=355 ; \
expr=cudaSetDevice(info_.device_id);

"""
WRONG_OPTION = """\
/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_execution_provider_info.cc:63 static onnxruntime::\
CUDAExecutionProviderInfo onnxruntime::CUDAExecutionProviderInfo::FromProviderOptions(const onnxruntime::\
ProviderOptions&) [ONNXRuntimeError] : 1 : FAIL : provider_options_utils.h:182 Parse \
Unknown provider option: "nonsense".
"""
NO_TENSORRT = """\
/onnxruntime_src/onnxruntime/python/onnxruntime_pybind_state.cc:729 void onnxruntime::python::\
RegisterTensorRTPluginsAsCustomOps(PySessionOptions&, const onnxruntime::ProviderOptions&) Please install TensorRT \
libraries as mentioned in the GPU requirements page.
"""
NO_MODEL = "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from m.onnx failed:Protobuf parsing failed."


@pytest.mark.parametrize(
    ("told", "left"),
    [
        (OLD_DRIVER, "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version"),
        (WRONG_OPTION, 'provider_options_utils.h:182 Parse Unknown provider option: "nonsense".'),
        (NO_TENSORRT, "Please install TensorRT libraries as mentioned in the GPU requirements page."),
        (NO_MODEL, "Load model from m.onnx failed:Protobuf parsing failed."),
        ("plain (as it is) /and/so", "plain (as it is) /and/so"),
    ],
)
def test_a_reason_is_told_without_the_places_it_passed(told, left):
    assert reason(told) == left


@pytest.mark.parametrize("provider", [CUDA, TENSORRT])
def test_the_library_that_does_not_load_is_named(provider):
    # The runtime for the CPU, which the tests have, brings none of these libraries.
    told = unloadable(LIBRARIES, provider)
    assert "libonnxruntime_providers_" in told
    assert "No such file or directory; run `pip install" in told


def test_where_a_library_loads_there_is_no_reason():
    assert unloadable(LIBRARIES, CPU) is None


def make_library(path, *needed):
    """An empty library that needs others."""
    command = ["cc", "-shared", "-x", "c", "/dev/null", "-o", path, f"-Wl,-soname,{path.name}", "-Wl,--no-as-needed"]
    subprocess.run([*command, "-x", "none", *needed], check=True)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(
    ("lacking", "advice"),
    [
        ("libcuda.so.1", "with the NVIDIA driver"),
        ("libnvinfer.so.10", "the version of TensorRT"),
        ("libcublasLt.so.13", "batch-score[gpu]"),
    ],
)
def test_what_helps_depends_on_what_is_lacking(tmp_path, lacking, advice):
    shared = LIBRARIES / "libonnxruntime_providers_shared.so"
    (tmp_path / shared.name).symlink_to(shared)
    make_library(tmp_path / lacking)
    make_library(tmp_path / "libonnxruntime_providers_cuda.so", tmp_path / lacking)
    (tmp_path / lacking).unlink()
    told = unloadable(tmp_path, CUDA)
    assert told.startswith(f"{lacking}: cannot open shared object file")
    assert advice in told
