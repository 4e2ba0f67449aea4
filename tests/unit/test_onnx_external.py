"""The files that a model keeps weights in: read without the onnx package what that package writes."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests import models

from batch_score.onnx.external import external_files

BODY = [helper.make_node("Identity", ["w"], ["y"])]


def outside(name, location):
    """A tensor whose content is in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("offset", "0"), ("location", location), ("length", "8")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def graph(nodes=(), tensors=(), sparse=()):
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])
    return helper.make_graph(list(nodes), "g", [], [output], list(tensors), sparse_initializer=list(sparse))


def written(path, body, **parts):
    path.write_bytes(helper.make_model(body, **parts).SerializeToString())
    return external_files(path)


def test_a_model_that_holds_all_its_weights(tmp_path):
    assert external_files(models.mlp(tmp_path / "m.onnx")) == []
    assert external_files(models.classifier(tmp_path / "c.onnx", ["a", "b"])) == []


@pytest.mark.parametrize("together", [True, False])
def test_a_model_that_was_saved_with_external_data(together, tmp_path):
    model = onnx.load(models.mlp(tmp_path / "m.onnx"))
    how = {"all_tensors_to_one_file": together, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, tmp_path / "e.onnx", save_as_external_data=True, **how)
    found = external_files(tmp_path / "e.onnx")
    assert found == (["weights.bin"] if together else ["b0", "b1", "b2", "w0", "w1", "w2"])
    assert all((tmp_path / name).is_file() for name in found)


def in_attribute(tensor):
    return [helper.make_node("Constant", [], ["y"], value=tensor)]


def in_subgraph(tensor):
    branch = graph([helper.make_node("Identity", [tensor.name], ["y"])], [tensor])
    return [helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=graph(in_attribute(tensor)))]


def sparse(tensor):
    indices = numpy_helper.from_array(np.array([1, 2]), "indices")
    return [onnx.SparseTensorProto(values=tensor, indices=indices, dims=[9])]


PLACES = {
    "weights": lambda tensor: graph(BODY, [tensor]),
    "sparse weights": lambda tensor: graph(BODY, sparse=sparse(tensor)),
    "an attribute": lambda tensor: graph(in_attribute(tensor)),
    "a subgraph": lambda tensor: graph(in_subgraph(tensor)),
    "a subgraph of a subgraph": lambda tensor: graph(
        [helper.make_node("If", ["c"], ["y"], then_branch=graph(in_subgraph(tensor)), else_branch=graph())]
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_may_be_anywhere_in_the_model(place, tmp_path):
    before = numpy_helper.from_array(np.arange(1000, dtype=np.float32), "before")
    body = PLACES[place](outside("w", "déjà/w.bin"))
    body.initializer.insert(0, before)
    assert written(tmp_path / "m.onnx", body) == ["déjà/w.bin"]


def test_a_tensor_may_be_in_a_function(tmp_path):
    function = helper.make_function("d", "f", [], ["y"], in_attribute(outside("w", "f.bin")), [])
    assert written(tmp_path / "m.onnx", graph(BODY), functions=[function]) == ["f.bin"]


def test_each_file_is_named_once(tmp_path):
    tensors = [outside(f"w{number}", f"{number % 3}.bin") for number in range(100)]
    assert written(tmp_path / "m.onnx", graph(BODY, tensors)) == ["0.bin", "1.bin", "2.bin"]


def test_a_model_of_trees_takes_no_longer_for_its_long_lists(tmp_path):
    """Each number stands behind a tag of its own there; a list of texts, too."""
    lists = {"floats": np.ones(1_000_000).tolist(), "texts": ["a"] * 1_000_000}
    nodes = [helper.make_node("Trees", ["x"], ["y"], **lists), *in_attribute(outside("w", "w.bin"))]
    texts = TensorProto(name="t", data_type=TensorProto.STRING, dims=[1_000_000], string_data=[b"a"] * 1_000_000)
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph(nodes, [texts])).SerializeToString())
    begin = time.process_time()
    assert external_files(path) == ["w.bin"]
    assert time.process_time() - begin < 0.5


@given(data=st.data())
def test_a_damaged_model_is_no_error(data, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    content = bytearray(helper.make_model(graph(in_subgraph(outside("w", "w.bin")))).SerializeToString())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    assert len(external_files(path)) <= 4


@given(content=st.binary(max_size=400))
def test_garbage_is_no_error(content, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "garbage.onnx"
    path.write_bytes(content)
    assert isinstance(external_files(path), list)


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError):
        external_files(Path("no.onnx"))
