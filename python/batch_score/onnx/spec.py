"""A model as the scorer of a job: what a worker must know to load and feed it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.onnx.binding import Binding

FP32, FP16 = "fp32", "fp16"
MEASURED = "auto"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """An ONNX model, what feeds it and where it runs.

    Attributes:
        path: The model file.
        binding: Which columns feed which inputs, which outputs are written.
        device: auto, cpu, cuda or tensorrt.
        threads: Threads inside one operator on the CPU.
        gpus: What each GPU or slice that a worker was given is, by the value of its `CUDA_VISIBLE_DEVICES`.
        gpu: What this worker's is, empty if it was given none.
        batch_rows: Most rows given to the model at once; `auto` to measure it at the start, None for what suits the
            device. A model whose first dimension is fixed always gets that many.
        precision: fp32 to compute as the model says, fp16 to compute in half precision.
        cache: Folder for what is expensive to make and worth keeping, such as TensorRT's engines.
    """

    path: str
    binding: Binding
    device: str = "auto"
    threads: int = 1
    gpus: Mapping[str, str] = field(default_factory=dict)
    gpu: str = ""
    batch_rows: int | str | None = None
    precision: str = FP32
    cache: str = ""

    def on(self, visible: str) -> ModelSpec:
        """The same for the worker that has this value of `CUDA_VISIBLE_DEVICES`."""
        return replace(self, gpu=self.gpus.get(visible, ""))
