"""Small ONNX models that tests score with; weights are whole numbers where answers must be exact."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FLOAT = TensorProto.FLOAT
FLOAT16 = TensorProto.FLOAT16
INT64 = TensorProto.INT64
UINT8 = TensorProto.UINT8
STRING = TensorProto.STRING
BOOL = TensorProto.BOOL


def value(name, kind, shape):
    """An input or output; `None` and texts in the shape are dynamic dimensions."""
    return helper.make_tensor_value_info(name, kind, shape)


def node(operator, inputs, outputs, **attributes):
    return helper.make_node(operator, inputs, outputs, **attributes)


def save(path: Path, inputs: Sequence, outputs: Sequence, nodes: Sequence, weights=None) -> Path:
    """Writes a model of these parts; `weights` maps names to arrays."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), tensors)
    operators = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=operators, ir_version=9), path)
    return path


def weighted_sum(path: Path, width: int, kind=FLOAT, *, batch="N") -> Path:
    """`x [batch, width]` to `score [batch, 1]`: the sum of column j times j + 1."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    weights = {"w": np.arange(1, width + 1).reshape(width, 1).astype(dtype)}
    x, score = value("x", kind, [batch, width]), value("score", kind, [batch, 1])
    return save(path, [x], [score], [node("MatMul", ["x", "w"], ["score"])], weights)


def mlp(path: Path, *, inputs=20, classes=2) -> Path:
    """A network with hidden layers of 64 and 32: `x [N, inputs]` to probabilities `p [N, classes]`."""
    random = np.random.default_rng(7)
    sizes = [inputs, 64, 32, classes]
    weights, nodes, last = {}, [], "x"
    for layer, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        weights[f"w{layer}"] = random.normal(0, 0.2, (rows, columns)).astype(np.float32)
        weights[f"b{layer}"] = random.normal(0, 0.2, columns).astype(np.float32)
        nodes.append(node("Gemm", [last, f"w{layer}", f"b{layer}"], [f"g{layer}"]))
        last = f"g{layer}"
        if layer < 2:
            nodes.append(node("Relu", [last], [f"r{layer}"]))
            last = f"r{layer}"
    nodes.append(node("Softmax", [last], ["p"], axis=1))
    return save(path, [value("x", FLOAT, ["N", inputs])], [value("p", FLOAT, ["N", classes])], nodes, weights)


def named_inputs(path: Path, *, batch="N") -> Path:
    """`amount [batch]`, `weight` and `place [batch, 1]` (text) to `product` and `where [batch, 1]`."""
    inputs = [value("amount", FLOAT, [batch]), value("weight", INT64, [batch, 1]), value("place", STRING, [batch, 1])]
    outputs = [value("product", FLOAT, [batch, 1]), value("where", STRING, [batch, 1])]
    nodes = [
        node("Unsqueeze", ["amount", "last"], ["column"]),
        node("Cast", ["weight"], ["factor"], to=FLOAT),
        node("Mul", ["column", "factor"], ["product"]),
        node("Identity", ["place"], ["where"]),
    ]
    return save(path, inputs, outputs, nodes, {"last": np.array([1], np.int64)})


def classifier(path: Path, classes: Sequence) -> Path:
    """`x [N, K]`, K classes, to `label [N]` and a map `scores` of x's own values, as converted classifiers end."""
    kind = "classlabels_strings" if isinstance(classes[0], str) else "classlabels_int64s"
    key = STRING if isinstance(classes[0], str) else INT64
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(key, helper.make_tensor_type_proto(FLOAT, [])))
    outputs = [value("label", INT64, ["N"]), helper.make_value_info("scores", maps)]
    nodes = [
        node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["x"], ["scores"], domain="ai.onnx.ml", **{kind: list(classes)}),
    ]
    return save(path, [value("x", FLOAT, ["N", len(classes)])], outputs, nodes)


def kinds_of_output(path: Path) -> Path:
    """`x [N, 3]` to `missing [N, 3]` (bool), `half [N]` (float16), `total []` and `cube [N, 3, 1]`."""
    outputs = [
        value("missing", BOOL, ["N", 3]),
        value("half", FLOAT16, ["N"]),
        value("total", FLOAT, []),
        value("cube", FLOAT, ["N", 3, 1]),
    ]
    nodes = [
        node("IsNaN", ["x"], ["missing"]),
        node("ReduceMax", ["x"], ["most"], axes=[1], keepdims=0),
        node("Cast", ["most"], ["half"], to=FLOAT16),
        node("ReduceSum", ["x"], ["total"], keepdims=0),
        node("Unsqueeze", ["x", "last"], ["cube"]),
    ]
    return save(path, [value("x", FLOAT, ["N", 3])], outputs, nodes, {"last": np.array([2], np.int64)})
