"""A model on its device: how many rows it gets at once, how they reach it, and what is told. All on the CPU."""

import subprocess
import sys
import textwrap
from collections import Counter
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import models

from batch_score.errors import ScorerError
from batch_score.onnx.batch import best_size, buckets, sizes_to_try, slices
from batch_score.onnx.binding import Binding, InputPlan, bind
from batch_score.onnx.engines import engine_folder, engines, tensorrt_options
from batch_score.onnx.feeding import Direct
from batch_score.onnx.half import difference
from batch_score.onnx.io_binding import Bound
from batch_score.onnx.model import LoadedModel
from batch_score.onnx.providers import CPU, CUDA, without_bounds
from batch_score.onnx.runtime import bindable, open_session, operators, read_signature
from batch_score.onnx.scorer import OnnxScorer
from batch_score.onnx.spec import ModelSpec

FEATURES = tuple(f"f{place:02}" for place in range(20))


def session(path):
    return onnxruntime.InferenceSession(path, providers=[CPU])


def bound_on_cpu(session, plans):
    """What a GPU is fed through, with memory of the CPU."""
    devices = {plan.name: "cpu" for plan in plans}
    return Bound(session, onnxruntime.OrtValue.ortvalue_from_shape_and_type, plans, devices)


# --- how many rows at once


SIZES = st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True).map(sorted)


@given(st.integers(0, 300), st.integers(1, 64), st.booleans())
def test_slices_cover_the_rows_in_order_and_are_given_allowed_numbers_only(rows, size, fixed):
    sizes = (size,) if fixed else buckets(size)
    for allowed in (sizes, ()):
        cut = list(slices(rows, size, allowed))
        assert [row for one in cut for row in range(one.start, one.stop)] == list(range(rows))
        assert all(0 <= one.rows <= size and one.rows <= one.fed for one in cut)
        assert all(one.fed in allowed if allowed else one.fed == max(one.rows, 1) for one in cut)


@given(st.integers(1, 10**6))
def test_buckets_are_few_and_less_than_half_of_what_is_fed_is_padding(most):
    sizes = buckets(most)
    assert sizes[-1] == most
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= 17
    for smaller, larger in pairwise(sizes):
        assert larger < 2 * (smaller + 1)


@given(SIZES, st.data())
def test_the_best_size_is_about_as_quick_as_any_that_was_tried(sizes, data):
    seconds = {size: data.draw(st.none() | st.floats(1e-6, 10)) for size in sizes}
    tried = []

    def seconds_of(size):
        tried.append(size)
        return seconds[size]

    found = best_size(sizes, seconds_of)
    rates = {size: size / seconds[size] for size in tried if seconds[size]}
    assert tried == sizes[: len(tried)]
    if rates:
        assert rates[found] >= 0.95 * max(rates.values())
        assert all(rate < 0.95 * max(rates.values()) for size, rate in rates.items() if size < found)
    else:
        assert found == sizes[0], "nothing fits: the smallest has the best chance"


def test_larger_sizes_are_not_tried_when_they_bring_nothing_or_do_not_fit():
    tried = []
    seconds = {1: 1.0, 2: 1.0, 4: 4.0, 8: 8.0, 16: 1.0}
    best_size(list(seconds), lambda size: tried.append(size) or seconds[size])
    assert tried == [1, 2, 4, 8]
    tried.clear()
    assert best_size([1, 2, 4], lambda size: tried.append(size) or (None if size == 2 else 1.0)) == 1
    assert tried == [1, 2]


@pytest.mark.parametrize(("columns", "largest"), [(20, 1 << 17), (200, 1 << 16), (1 << 20, 32), (1 << 26, 32)])
def test_no_size_is_tried_whose_inputs_would_be_larger_than_a_mini_batch(columns, largest):
    plan = InputPlan("x", "float32", (), flat=False)
    object.__setattr__(plan, "columns", range(columns))
    assert sizes_to_try(Binding((plan,), ("y",)))[-1] == largest


# --- how they reach it


@given(st.lists(st.sampled_from([1, 4, 32]), max_size=8), st.sampled_from([["p"], ["p", "p"]]))
def test_through_a_binding_answers_are_those_of_a_plain_run(tmp_path_factory, counts, names):
    path = models.mlp(tmp_path_factory.mktemp("m") / "m.onnx")
    random = np.random.default_rng(len(counts))
    feeds = [{"x": random.normal(size=(count, 20)).astype(np.float32)} for count in counts]
    feeding = bound_on_cpu(session(path), [InputPlan("x", "float32", FEATURES, flat=False)])
    names = list(dict.fromkeys(names))
    for _ in range(2):  # the second time through memory that holds other rows
        found = list(feeding.answers(names, iter(feeds)))
        expected = list(Direct(session(path)).answers(names, feeds))
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one[0], other[0], rtol=1e-5)
    feeding.close()


def test_a_binding_takes_flat_inputs_and_memory_that_is_filled_again(tmp_path):
    nodes = [models.node("Mul", ["amount", "weight"], ["product"])]
    inputs = [models.value("amount", models.FLOAT, ["N"]), models.value("weight", models.FLOAT, ["N"])]
    path = models.save(tmp_path / "m.onnx", inputs, [models.value("product", models.FLOAT, ["N"])], nodes)
    plans = [InputPlan(name, "float32", (name,), flat=True) for name in ("amount", "weight")]
    memory = np.empty((2, 3), np.float32)

    def feeds():
        for place in range(5):
            memory[:, 0], memory[:, 1] = place, 2
            yield {"amount": memory[:, 0], "weight": memory[:, 1]}  # not in one piece

    feeding = bound_on_cpu(session(path), plans)
    found = list(feeding.answers(["product"], feeds()))
    feeding.close()
    assert [product.tolist() for [product] in found] == [[2.0 * place] * 2 for place in range(5)]


def test_an_error_on_the_device_comes_out_and_the_next_rows_go_in(tmp_path):
    """An index that is out of range, as only running tells."""
    nodes = [models.node("Gather", ["table", "x"], ["y"])]
    x, y = models.value("x", models.INT64, ["N"]), models.value("y", models.FLOAT, ["N"])
    path = models.save(tmp_path / "m.onnx", [x], [y], nodes, {"table": np.arange(3, dtype=np.float32)})
    feeding = bound_on_cpu(session(path), [InputPlan("x", "int64", ("x",), flat=True)])
    good, bad = {"x": np.array([2, 1])}, {"x": np.array([2, 7])}
    with pytest.raises(Exception, match="indices element out of data bounds"):
        list(feeding.answers(["y"], iter([good, bad, good])))
    assert [one[0].tolist() for one in feeding.answers(["y"], iter([good, good]))] == [[2.0, 1.0]] * 2
    feeding.close()


class CopiesWhatItBinds:
    """A session that does with each input what one on a GPU does with those that nodes on the CPU read."""

    def __init__(self, path):
        self._session = session(path)
        self.run_with_iobinding = self._session.run_with_iobinding

    def io_binding(self):
        binding = self._session.io_binding()
        bind = binding.bind_ortvalue_input
        binding.bind_ortvalue_input = lambda name, value: bind(
            name, onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy().copy())
        )
        return binding


def test_inputs_that_are_copied_when_they_are_bound_are_those_of_their_own_rows(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 2)
    feeding = bound_on_cpu(CopiesWhatItBinds(path), [InputPlan("x", "float32", ("a", "b"), flat=False)])
    feeds = [{"x": np.full((3, 2), place, np.float32)} for place in range(5)]
    [name] = read_signature(path).outputs
    expected = list(Direct(session(path)).answers([name.name], feeds))
    found = list(feeding.answers([name.name], feeds))
    feeding.close()
    np.testing.assert_array_equal(found, expected)


def told(inputs, outputs, homes):
    """As much of a session as tells what it takes and gives, and where its inputs are read."""
    values = [[SimpleNamespace(name=name, type=kind) for name, kind in given.items()] for given in (inputs, outputs)]
    found = SimpleNamespace(get_inputs=lambda: values[0], get_outputs=lambda: values[1])
    if homes:
        found.get_input_memory_infos = lambda: [SimpleNamespace(name=home) for home in homes]
    return found


@pytest.mark.parametrize(
    ("inputs", "outputs", "homes", "wanted"),
    [
        ({"x": "tensor(float)"}, {"y": "tensor(float)"}, ["Cuda"], True),
        ({"x": "tensor(float)"}, {"y": "tensor(float)"}, None, True),
        ({"x": "tensor(float)"}, {"y": "tensor(float)", "other": "tensor(string)"}, ["Cuda"], True),
        ({"x": "tensor(float)"}, {"y": "tensor(string)"}, ["Cuda"], False),
        ({"x": "tensor(string)"}, {"y": "tensor(float)"}, ["Cpu"], False),
        ({"x": "tensor(float)", "k": "tensor(int64)"}, {"y": "tensor(float)"}, ["Cpu", "Cuda"], True),
        ({"x": "tensor(float)"}, {"y": "tensor(float)"}, ["Cpu"], False),
        ({"x": "tensor(float)"}, {"y": "seq(map(string,tensor(float)))"}, ["Cuda"], False),
    ],
)
def test_memory_on_the_device_is_for_numbers_that_are_read_there(inputs, outputs, homes, wanted):
    assert bindable(told(inputs, outputs, homes), ["y"]) is wanted


# --- the model as a whole


def spec_of(path, **given):
    columns = dict.fromkeys(FEATURES, pa.float32())
    binding = bind(read_signature(path), columns, features=FEATURES, keys=(), outputs=None)
    return ModelSpec(str(path), binding, device="cpu", **given)


def table(rows):
    data = np.random.default_rng(3).normal(size=(rows, 20)).astype(np.float32)
    return pa.table({name: data[:, place] for place, name in enumerate(FEATURES)}), data


def test_the_number_of_rows_can_be_measured(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    scorer = OnnxScorer(spec_of(path, batch_rows="auto"))
    scorer.init()
    rows, data = table(5000)
    [expected] = session(path).run(None, {"x": data})
    np.testing.assert_allclose(scorer.run(rows).to_pandas().to_numpy(), expected, rtol=1e-4)
    scorer.shutdown()


# 64 MiB for each row: 16 of them do not fit into what the process may have beside what it has.
HUNGRY = """
    import resource, sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    import numpy as np, pyarrow as pa
    from tests import models
    from batch_score.onnx.spec import ModelSpec
    from batch_score.onnx.binding import Binding, InputPlan
    from batch_score.onnx.scorer import OnnxScorer

    x, y = models.value("x", models.FLOAT, ["N", 1]), models.value("y", models.FLOAT, ["N"])
    largest = models.node("ReduceMax", ["large"], ["y"], axes=[1], keepdims=0)
    nodes = [models.node("Expand", ["x", "shape"], ["large"]), largest]
    path = models.save(Path({folder!r}, "m.onnx"), [x], [y], nodes, {{"shape": np.array([1, 1 << 24])}})
    binding = Binding((InputPlan("x", "float32", ("x",), flat=False),), ("y",))
    scorer = OnnxScorer(ModelSpec(str(path), binding, device="cpu", batch_rows={batch_rows}))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 30), resource.RLIM_INFINITY))
    scorer.init()
    answer = scorer.run(pa.table({{"x": np.arange(40, dtype=np.float32)}}))
    assert answer["y"].to_pylist() == list(range(40)), answer
    print(*(f"{{subject}}: {{text}}" for subject, text in scorer.notes), sep="\\n")
"""


@pytest.mark.parametrize(("batch_rows", "wanted"), [("40", "memory ran out: the model"), ("'auto'", "")])
def test_a_model_that_runs_out_of_memory_gets_fewer_rows_at_once(tmp_path, batch_rows, wanted):
    code = textwrap.dedent(HUNGRY).format(path=[p for p in sys.path if p], folder=str(tmp_path), batch_rows=batch_rows)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert wanted in done.stdout
    if wanted:
        notes = done.stdout.strip().splitlines()
        assert [int(note.split("at most ")[1].split()[0]) for note in notes] in ([20, 10], [20, 10, 5])


def test_half_precision_is_close_and_what_differs_is_told(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    scorer = OnnxScorer(spec_of(path, precision="fp16", batch_rows=100))
    scorer.init()
    rows, data = table(250)
    [expected] = session(path).run(None, {"x": data})
    found = scorer.run(rows).to_pandas().to_numpy()
    scorer.run(rows)
    assert 0 < np.abs(found - expected).max() < 0.01
    [(subject, text)] = scorer.notes
    told = float(text.split("at most ")[1].split(",")[0])
    assert subject == "precision"
    assert told == pytest.approx(np.abs(found[:100] - expected[:100]).max(), rel=0.1)


def test_a_model_that_cannot_be_converted_is_one_line(tmp_path, monkeypatch):
    path = models.mlp(tmp_path / "m.onnx")
    monkeypatch.setattr(onnx, "load", lambda _: "no model")
    with pytest.raises(ScorerError, match=r"cannot be converted to fp16.*leave --precision out"):
        OnnxScorer(spec_of(path, precision="fp16")).init()


FLOATS = st.lists(st.floats(width=32, allow_infinity=False), min_size=1, max_size=20)


@given(FLOATS)
def test_equal_answers_do_not_differ(values):
    array = np.array(values, np.float32)
    assert difference([array, ["a"]], [array.copy(), ["b"]]) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("found", "exact", "wanted"),
    [
        ([1.0, 2.0], [1.0, 1.0], (1.0, 1.0)),
        ([1.5, 100.0], [1.0, 101.0], (1.0, 0.5)),
        ([1e-9], [2e-9], (1e-9, 0.0)),  # next to nothing: no part of it means anything
        ([np.nan], [1.0], (np.inf, np.inf)),
        ([np.inf], [1.0], (np.inf, np.inf)),
        ([], [], (0.0, 0.0)),
    ],
)
def test_differences(found, exact, wanted):
    assert difference([np.array(found)], [np.array(exact)]) == pytest.approx(wanted)


# --- where its nodes run, and what TensorRT is told


def test_nodes_that_are_not_on_the_device_are_named(tmp_path):
    found = open_session(models.mlp(tmp_path / "m.onnx"), [(CPU, {})], 1)
    assert Counter(operators(found))["Gemm", True] == 3

    class Elsewhere:
        """The same session, if it were one of a GPU."""

        get_provider_graph_assignment_info = found.get_provider_graph_assignment_info

        def get_providers(self):
            return [CUDA, CPU]

    assert Counter(operators(Elsewhere()))["Gemm", False] == 3
    notes = {}
    model = LoadedModel(spec_of(tmp_path / "m.onnx"), notes.__setitem__)
    assert notes == {}
    model._operators = [("Shape", False), ("Gather", False), ("Gemm", True), ("Shape", False)]  # noqa: SLF001 - of a GPU
    model._tell_of_others()  # noqa: SLF001 - as above
    assert notes["placement"].endswith(f"m.onnx that do not run on {CPU}: Shape (2), Gather (1)")


BINDING = Binding(
    (InputPlan("x", "float32", ("a", "b"), flat=False), InputPlan("n", "float32", ("c",), flat=True)), ("y",)
)
BOUNDS = ("min", "opt", "max")


def test_tensorrt_builds_one_engine_for_all_numbers_of_rows():
    options = tensorrt_options(BINDING, 500, precision="fp32", folder="/cache")
    assert options["trt_profile_min_shapes"] == "x:1x2,n:1"
    assert options["trt_profile_max_shapes"] == options["trt_profile_opt_shapes"] == "x:500x2,n:500"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == "/cache"
    assert "trt_fp16_enable" not in options
    assert tensorrt_options(BINDING, 500, precision="fp16", folder="/cache")["trt_fp16_enable"] == "1"


def test_a_model_that_tensorrt_takes_in_parts_is_opened_without_bounds():
    options = tensorrt_options(BINDING, 500, precision="fp16", folder="/cache")
    assert options.keys() - without_bounds(options).keys() == {f"trt_profile_{which}_shapes" for which in BOUNDS}
    assert without_bounds(options).items() <= options.items()


@given(st.dictionaries(st.sampled_from(["gpu", "rows", "precision"]), st.sampled_from(["1", "2"])), st.binary())
def test_an_engine_is_kept_for_exactly_what_it_was_built_for(facts, model):
    folder = engine_folder(model, facts)
    assert folder == engine_folder(model, dict(reversed(facts.items())))
    assert folder != engine_folder(model + b"x", facts)
    for name in facts:
        assert folder != engine_folder(model, {**facts, name: "3"})


WAITS = """
    import sys, time
    from pathlib import Path
    from batch_score.onnx.spec import ModelSpec
    from batch_score.onnx.engines import engines
    from tests.unit.test_model_on_device import BINDING

    with engines(ModelSpec({model!r}, BINDING, cache={cache!r}, gpu="H200"), {rows}) as options:
        folder = Path(options["trt_engine_cache_path"])
        assert not (folder / "building").exists()
        (folder / "building").touch()
        time.sleep(0.3)
        (folder / "building").unlink()
"""


def test_one_process_builds_an_engine_while_the_others_wait(tmp_path):
    model = tmp_path / "m.onnx"
    model.write_bytes(b"a model")
    code = partial(textwrap.dedent(WAITS).format, model=str(model), cache=str(tmp_path / "cache"))
    path = ":".join(path for path in sys.path if path)
    processes = [
        subprocess.Popen([sys.executable, "-c", code(rows=rows)], env={"PYTHONPATH": path}, stderr=subprocess.PIPE)
        for rows in (10, 10, 10, 20)
    ]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert len(list((tmp_path / "cache" / "tensorrt").iterdir())) == 2


def test_an_engine_is_that_of_the_weights_beside_the_model_and_of_the_gpu(tmp_path):
    nodes = [models.node("MatMul", ["x", "w"], ["y"])]
    x, y = models.value("x", models.FLOAT, ["N", 2]), models.value("y", models.FLOAT, ["N", 1])
    path = models.save(tmp_path / "plain.onnx", [x], [y], nodes, {"w": np.ones((2, 1), np.float32)})
    model = tmp_path / "m.onnx"
    onnx.save(onnx.load(path), model, save_as_external_data=True, location="m.data", size_threshold=0)

    def folder(gpu="H200"):
        with engines(ModelSpec(str(model), BINDING, cache=str(tmp_path / "cache"), gpu=gpu), 10) as options:
            return options["trt_engine_cache_path"]

    first = folder()
    assert folder() == first
    assert folder("H200, slice of 1 bytes") != first
    (tmp_path / "m.data").write_bytes(np.full((2, 1), 2, np.float32).tobytes())
    assert folder() != first


CRAMPED = """
    import resource
    from batch_score.errors import DeviceError
    from batch_score.onnx.runtime import available_providers, open_session

    available_providers()  # the runtime itself needs room
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (30 << 20),) * 2)
    try:
        open_session({path!r}, [("CPUExecutionProvider", {{}})], 1)
    except DeviceError as error:
        print(error)
"""


def test_a_device_without_room_for_the_model_is_no_fault_of_the_model(tmp_path):
    weights = {"w": np.ones((1, 1 << 24), np.float32)}
    x, y = models.value("x", models.FLOAT, ["N", 1]), models.value("y", models.FLOAT, ["N", "M"])
    path = models.save(tmp_path / "m.onnx", [x], [y], [models.node("MatMul", ["x", "w"], ["y"])], weights)
    code = textwrap.dedent(CRAMPED).format(path=str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "cannot be loaded by ONNX Runtime" in done.stdout


def test_other_providers_have_no_engines_and_make_no_folder(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    LoadedModel(ModelSpec(str(path), BINDING, device="cpu", cache=str(tmp_path / "cache")), print).close()
    assert not (tmp_path / "cache").exists()
