"""Why ONNX Runtime did not do what it was asked, in one line for users."""

from __future__ import annotations

import ctypes
import re
from typing import TYPE_CHECKING

from batch_score.onnx.providers import CUDA, TENSORRT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
# Where in its sources an exception was thrown: file and line, the function, its template's arguments.
_PLACE = re.compile(r"/\S+\.(?:cc|cu|h):\d+ .*?\)(?: const)?(?: \[with [^\]]*\])? ")
# Behind what CUDA says come " ; GPU=", the name of the host and the place once more.
_OF_CUDA = re.compile(r"(CUDA|CUDNN|CUBLAS)( failure \d+: .*?) ; GPU=")
_LIBRARIES: Mapping[str, str] = {
    CUDA: "libonnxruntime_providers_cuda.so",
    TENSORRT: "libonnxruntime_providers_tensorrt.so",
}
_SHARED = "libonnxruntime_providers_shared.so"
_OF_DRIVER = "libcuda."
_OF_TENSORRT = ("libnvinfer", "libnvonnxparser")


def reason(text: str) -> str:
    """A message of ONNX Runtime without the places in its sources."""
    line = " ".join(text.split())
    cuda = _OF_CUDA.search(line)
    if cuda:
        return "".join(cuda.groups())
    return _PLACE.sub("", _PREFIX.sub("", line))


def unloadable(libraries: Path, provider: str) -> str | None:
    """Why the library of an execution provider could not be loaded into this process, and what helps; None if it could.

    ONNX Runtime tells that in its log alone, and goes on without the provider. To be asked after it has tried: a
    provider's library that was loaded before finds nobody to talk to, ever.

    Args:
        libraries: The folder of ONNX Runtime's libraries.
        provider: Its name.
    """
    name = _LIBRARIES.get(provider)
    if name is None:
        return None
    try:
        # The provider's own library calls functions of this one.
        ctypes.CDLL(str(libraries / _SHARED), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(libraries / name))
    except OSError as error:
        return f"{error}; {_advice(str(error))}"
    return None


def _advice(error: str) -> str:
    if error.startswith(_OF_DRIVER):
        return "it comes with the NVIDIA driver, and into a container with the driver's capability `compute`"
    if error.startswith(_OF_TENSORRT):
        return "install the version of TensorRT that this onnxruntime is built for, or choose --device cuda"
    return 'run `pip install "batch-score[gpu]"`, or choose --device cpu'
