"""ONNX models as scorers: real models, real sessions."""

import pickle
import subprocess
import sys
from decimal import Decimal

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
from benches.peers.models import gbm, mlp
from hypothesis import given
from hypothesis import strategies as st
from tests import models

from batch_score.errors import RecordError, ScorerError
from batch_score.onnx.batch import default_batch_rows
from batch_score.onnx.binding import Binding, InputPlan, bind
from batch_score.onnx.providers import providers_for
from batch_score.onnx.runtime import open_session, read_signature
from batch_score.onnx.scorer import OnnxScorer
from batch_score.onnx.signature import ModelSignature, ValueSpec
from batch_score.onnx.spec import ModelSpec
from batch_score.onnx.tensors import InputBuffer, output_columns

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def bound(path, table, *, features=None, keys=(), outputs=None):
    columns = dict(zip(table.schema.names, table.schema.types, strict=True))
    return bind(read_signature(path), columns, features=features, keys=keys, outputs=outputs)


def on_cpu(path, binding, **spec):
    return ModelSpec(str(path), binding, device="cpu", **spec)


def scored(path, table, *, batch_rows=None, **binding):
    scorer = OnnxScorer(on_cpu(path, bound(path, table, **binding), batch_rows=batch_rows))
    scorer.init()
    try:
        return scorer.run(table)
    finally:
        scorer.shutdown()


def numbers(count, rows=3):
    return pa.table({f"f{place}": pa.array(np.arange(rows) + place, pa.float32()) for place in range(count)})


# --- what the model says


def test_a_signature_tells_names_dtypes_and_dynamic_dimensions(tmp_path):
    assert read_signature(models.named_inputs(tmp_path / "m.onnx")) == ModelSignature(
        inputs=(
            ValueSpec("amount", "float32", (None,)),
            ValueSpec("weight", "int64", (None, 1)),
            ValueSpec("place", "string", (None, 1)),
        ),
        outputs=(ValueSpec("product", "float32", (None, 1)), ValueSpec("where", "string", (None, 1))),
    )


@pytest.mark.parametrize(
    ("content", "said"), [(None, "does not exist"), (b"", "is empty"), (b"no model at all\n" * 9, "cannot be loaded")]
)
def test_what_is_no_model_is_an_error_of_one_line_and_nothing_on_stderr(tmp_path, capfd, content, said):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ScorerError, match=said) as caught:
        read_signature(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_the_runtime_would_warn_of_does_not_reach_stderr(tmp_path, capfd):
    x, wrong = models.value("x", models.FLOAT, ["N", 3]), models.value("y", models.FLOAT, ["N", 7])
    path = models.save(tmp_path / "m.onnx", [x], [wrong], [models.node("Relu", ["x"], ["y"])])
    onnxruntime.InferenceSession(path, providers=[CPU])
    assert "Error merging shape info" in capfd.readouterr().err
    read_signature(path)
    assert capfd.readouterr() == ("", "")


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ScorerError, match="is not a file"):
        read_signature(tmp_path)


def test_without_onnx_runtime_the_error_has_the_install_line(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    program = (
        "import sys; sys.modules['onnxruntime'] = None\n"  # how Python marks a module that cannot be imported
        "from batch_score.errors import ScorerError\nfrom batch_score.onnx.runtime import read_signature\n"
        f"try: read_signature({str(path)!r})\nexcept ScorerError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert 'pip install "batch-score[onnx]"' in shown


def test_the_modules_can_be_imported_without_importing_onnx_runtime():
    program = "import sys, batch_score.onnx.scorer\nprint('onnxruntime' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert shown.strip() == "False"


# --- which columns feed it

FLOATS = {f"f{place}": pa.float32() for place in range(3)}


def matrix(width, dtype="float32", batch=None):
    return ModelSignature((ValueSpec("x", dtype, (batch, width)),), (ValueSpec("y", "float32", (None, 1)),))


def columns_for(signature, columns, *, features=None, keys=()):
    return bind(signature, columns, features=features, keys=keys, outputs=None).columns


def test_features_fill_the_matrix_in_their_order():
    assert columns_for(matrix(2), FLOATS, features=["f2", "f0"]) == ("f2", "f0")


def test_numeric_columns_that_are_no_keys_are_taken_when_there_are_exactly_k():
    columns = {"id": pa.int64(), "name": pa.string(), "flag": pa.bool_()} | FLOATS
    assert columns_for(matrix(3), columns, keys=["id"]) == ("f0", "f1", "f2")
    assert columns_for(matrix(4), columns) == ("id", "f0", "f1", "f2")


def test_a_dynamic_width_takes_all_of_them():
    assert columns_for(matrix(None), {"id": pa.int64()} | FLOATS, keys=["id"]) == ("f0", "f1", "f2")
    with pytest.raises(ScorerError, match="one column or more"):
        columns_for(matrix(None), {"name": pa.string()})


@pytest.mark.parametrize(("dtype", "expected"), [("int64", ("n",)), ("string", ("t", "d")), ("bool", ("b",))])
def test_a_matrix_of_another_kind_takes_the_columns_of_that_kind(dtype, expected):
    columns = {
        "n": pa.int32(),
        "real": pa.float64(),
        "t": pa.large_string(),
        "d": pa.dictionary(pa.int8(), pa.string()),
        "b": pa.bool_(),
    }
    assert columns_for(matrix(len(expected), dtype), columns) == expected


def test_a_wrong_count_lists_what_the_model_needs_and_what_the_data_has():
    with pytest.raises(ScorerError) as caught:
        columns_for(matrix(5), {"name": pa.string()} | FLOATS)
    said = str(caught.value)
    assert all(part in said for part in ("'x' float32 [N, 5]", "5 columns", "3 that are numeric", "f0, f1, f2", "name"))
    assert "--features" in said
    assert "--key" not in said


@pytest.mark.parametrize("name", ["id", "customer_id", "rowId", "key"])
def test_one_column_too_many_that_looks_like_a_key_is_named(name):
    with pytest.raises(ScorerError, match=rf"--features, or carry '{name}' over as the key with --key {name}"):
        columns_for(matrix(3), {name: pa.int64()} | FLOATS)


def test_inputs_named_like_columns_take_them():
    signature = ModelSignature(
        (
            ValueSpec("f1", "float32", (None,)),
            ValueSpec("t", "string", (None, 1)),
            ValueSpec("f0", "int64", (None, None)),
        ),
        (ValueSpec("y", "float32", (None,)),),
    )
    binding = bind(
        signature, {"t": pa.string(), "f0": pa.int8(), "f1": pa.float64()}, features=None, keys=(), outputs=None
    )
    assert [(plan.name, plan.columns, plan.flat) for plan in binding.inputs] == [
        ("f1", ("f1",), True),
        ("t", ("t",), False),
        ("f0", ("f0",), False),
    ]
    assert binding.column_types == {"f1": pa.float32(), "t": pa.string(), "f0": pa.int64()}


def test_a_lone_input_of_one_column_takes_the_column_of_its_name_before_the_only_numeric_one():
    assert columns_for(matrix(1), {"x": pa.float32(), "y": pa.float32()}) == ("x",)
    assert columns_for(matrix(1), {"y": pa.float32()}) == ("y",)


def test_inputs_without_a_column_are_listed():
    signature = ModelSignature(
        (ValueSpec("a", "float32", (None,)), ValueSpec("b", "string", (None, 1))), matrix(1).outputs
    )
    with pytest.raises(ScorerError, match=r"no column is named like 'b' string \[N, 1\].*columns a, c"):
        columns_for(signature, {"a": pa.float32(), "c": pa.string()})


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (["f0", "f9"], "f9, which the data does not have; its columns are f0, f1, f2, t"),
        (["f0", "f0"], "f0 more than once"),
        (["f0"], r"takes 2 columns, but --features names 1: f0"),
        (["f0", "t"], r"float32 values, which these columns do not hold: t \(string\)"),
        ([], "takes 2 columns, but --features names 0"),
    ],
)
def test_wrong_features_are_refused(features, said):
    with pytest.raises(ScorerError, match=said):
        columns_for(matrix(2), FLOATS | {"t": pa.string()}, features=features)


def test_features_are_refused_for_a_model_of_several_inputs():
    signature = ModelSignature(matrix(1).inputs * 2, matrix(1).outputs)
    with pytest.raises(ScorerError, match="fills a single input, but the model has 2"):
        columns_for(signature, FLOATS, features=["f0"])


@pytest.mark.parametrize(
    ("dtype", "column"),
    [
        ("int64", pa.float64()),
        ("int64", pa.decimal128(5)),
        ("float32", pa.timestamp("s")),
        ("float32", pa.dictionary(pa.int8(), pa.string())),
        ("string", pa.int64()),
        ("bool", pa.int64()),
    ],
)
def test_a_column_whose_values_would_change_their_meaning_is_refused(dtype, column):
    with pytest.raises(ScorerError, match=r"do not hold: c \("):
        columns_for(matrix(1, dtype), {"c": column}, features=["c"])


@pytest.mark.parametrize(
    "spec", [ValueSpec("x", "float32", (None, 3, 8, 8)), ValueSpec("x", "tensor(bfloat16)", (None, 3))]
)
def test_an_input_that_no_table_can_fill_is_refused(spec):
    with pytest.raises(ScorerError, match=r"cannot be fed from table columns.*entry script"):
        columns_for(ModelSignature((spec,), matrix(1).outputs), FLOATS)


def test_inputs_that_fix_different_numbers_of_rows_are_refused():
    signature = ModelSignature((ValueSpec("a", "float32", (4,)), ValueSpec("b", "float32", (5,))), matrix(1).outputs)
    with pytest.raises(ScorerError, match="fix different numbers of rows"):
        columns_for(signature, {"a": pa.float32(), "b": pa.float32()})


def test_outputs_select_and_unknown_or_shapeless_ones_are_refused(tmp_path):
    path = models.kinds_of_output(tmp_path / "m.onnx")
    table = numbers(3)
    assert bound(path, table, outputs=["half", "missing"]).outputs == ("half", "missing")
    with pytest.raises(ScorerError, match=r"outputs of the model \(missing, half, total, cube\), but names sum"):
        bound(path, table, outputs=["half", "sum"])
    with pytest.raises(ScorerError, match=r"'cube' float32 \[N, 3, 1\] does not become columns"):
        bound(path, table)
    with pytest.raises(ScorerError, match="names none"):
        bound(path, table, outputs=[])


def test_long_lists_of_columns_are_cut_short():
    with pytest.raises(ScorerError, match="f39 and 60 more"):
        columns_for(matrix(5), {f"f{place}": pa.float32() for place in range(100)})


# --- where it runs


@pytest.mark.parametrize(
    ("device", "available", "gpu", "expected"),
    [
        ("cpu", [CUDA, CPU], True, [CPU]),
        ("auto", [CUDA, CPU], False, [CPU]),
        ("auto", [CUDA, CPU], True, [CUDA, CPU]),
        ("cuda", [CUDA, CPU], True, [CUDA, CPU]),
        ("tensorrt", [TENSORRT, CUDA, CPU], True, [TENSORRT, CUDA, CPU]),
    ],
)
def test_providers_are_asked_for_best_first(device, available, gpu, expected):
    assert [name for name, _ in providers_for(device, available, gpu=gpu)] == expected


@pytest.mark.parametrize(
    ("device", "available", "gpu", "said"),
    [
        ("cuda", [CUDA, CPU], False, "this worker was given none"),
        ("tensorrt", [CUDA, CPU], True, rf'has no {TENSORRT} .*pip install "batch-score\[gpu\]"'),
        ("cuda", [CPU], True, f"has no {CUDA}"),
        ("auto", [CPU], True, f"has no {CUDA}"),
    ],
)
def test_a_gpu_that_cannot_be_had_is_an_error_and_never_the_cpu(device, available, gpu, said):
    with pytest.raises(ScorerError, match=said):
        providers_for(device, available, gpu=gpu)


@pytest.mark.parametrize(("fixed", "search"), [(False, "HEURISTIC"), (True, "EXHAUSTIVE")])
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_the_algorithm_of_a_convolution_is_searched_for_at_length_only_if_one_shape_comes(device, fixed, search):
    providers = dict(providers_for(device, [TENSORRT, CUDA, CPU], gpu=True, fixed=fixed))
    assert providers[CUDA] == {"cudnn_conv_algo_search": search, "arena_extend_strategy": "kSameAsRequested"}
    assert providers[CPU] == {}


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this ONNX Runtime has CUDA")
def test_a_session_that_comes_out_on_another_provider_is_refused(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    with pytest.warns(UserWarning, match=CUDA), pytest.raises(ScorerError, match=f"to run on {CUDA}.*only offer {CPU}"):
        open_session(path, [(CUDA, {}), (CPU, {})], 1)


def test_a_scorer_travels_to_its_worker_before_init(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 2)
    table = numbers(2)
    scorer = pickle.loads(pickle.dumps(OnnxScorer(on_cpu(path, bound(path, table)))))
    with pytest.raises(ScorerError, match=r"before init\(\)"):
        scorer.run(table)
    scorer.init()
    assert scorer.run(table).num_rows == 3
    scorer.shutdown()
    with pytest.raises(ScorerError, match=r"before init\(\)"):
        scorer.run(table)


# --- what it answers


def test_answers_equal_a_plain_session_on_the_same_matrix(tmp_path):
    path = models.mlp(tmp_path / "m.onnx")
    data = np.random.default_rng(1).normal(size=(1000, 20)).astype(np.float32)
    table = pa.table({f"f{place:02}": data[:, place] for place in range(20)})
    [expected] = onnxruntime.InferenceSession(path, providers=[CPU]).run(None, {"x": data})
    answer = scored(path, table, batch_rows=300)
    assert answer.schema == pa.schema({"p_0": pa.float32(), "p_1": pa.float32()})
    np.testing.assert_allclose(answer.to_pandas().to_numpy(), expected, rtol=1e-5)


whole_numbers = st.integers(-1000, 1000)
arrow_columns = st.sampled_from([pa.float32(), pa.float64(), pa.int64(), pa.int16(), pa.decimal128(9)])


@given(st.data(), st.integers(1, 4), st.integers(0, 30), st.sampled_from([None, 1, 7, 64]), st.sampled_from([None, 4]))
def test_neither_slices_nor_chunks_nor_column_types_change_the_answer(
    tmp_path_factory, data, width, rows, batch_rows, fixed
):
    path = models.weighted_sum(tmp_path_factory.mktemp("m") / "m.onnx", width, batch=fixed or "N")
    values = [data.draw(st.lists(st.none() | whole_numbers, min_size=rows, max_size=rows)) for _ in range(width)]
    cut = data.draw(st.integers(0, rows))
    table = pa.table(
        {
            f"f{place}": pa.chunked_array([column[:cut], column[cut:]], data.draw(arrow_columns))
            for place, column in enumerate(values)
        }
    )
    expected = [
        np.nan if None in row else float(sum(value * (place + 1) for place, value in enumerate(row)))
        for row in zip(*values, strict=True)
    ]
    answer = scored(path, table, batch_rows=batch_rows)
    assert answer.schema == pa.schema({"score": pa.float32()})
    np.testing.assert_array_equal(answer["score"].to_numpy(), np.array(expected, np.float32))


def test_buffers_that_are_filled_again_show_nothing_of_the_last_mini_batch(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 1, batch=4)
    scorer = OnnxScorer(on_cpu(path, bound(path, numbers(1))))
    scorer.init()
    answers = [scorer.run(numbers(1, rows))["score"].to_pylist() for rows in (6, 2, 0, 5)]
    assert answers == [[0, 1, 2, 3, 4, 5], [0, 1], [], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(("dtype", "kind", "padding"), [("float32", np.float32, 0), ("string", object, "")])
def test_padding_is_neutral_whatever_the_buffer_held_before(dtype, kind, padding):
    buffer = InputBuffer(InputPlan("x", dtype, ("a", "b"), flat=False))
    column = np.array([padding + padding.__class__(7)] * 4, kind)
    buffer.fill([column, column], 0, 4, 4)
    padded = buffer.fill([column, column], 1, 2, 3)
    assert padded.flags.c_contiguous
    assert padded.tolist() == [[column[1]] * 2, [padding] * 2, [padding] * 2]


@pytest.mark.parametrize("batch", ["N", 2, 5])
def test_named_inputs_of_several_kinds_are_fed_and_text_comes_back(tmp_path, batch):
    path = models.named_inputs(tmp_path / "m.onnx", batch=batch)
    table = pa.table(
        {
            "place": pa.array(["Ōsaka", "", "Bern"]).dictionary_encode(),
            "weight": pa.array([2, 3, 4], pa.int8()),
            "amount": pa.array([Decimal("1.5"), None, Decimal("0.25")]),
        }
    )
    answer = scored(path, table, batch_rows=2)
    assert answer["where"].to_pylist() == ["Ōsaka", "", "Bern"]
    assert answer["where"].type == pa.string()
    np.testing.assert_array_equal(answer["product"].to_numpy(), [3.0, np.nan, 1.0])


@pytest.mark.parametrize("classes", [[10, -3], ["setosa", "lilac bush"], [7]])
def test_a_map_of_class_scores_becomes_one_column_a_class(tmp_path, classes):
    path = models.classifier(tmp_path / "m.onnx", classes)
    table = numbers(len(classes))
    answer = scored(path, table, batch_rows=2)
    assert set(answer.schema.names) == {"label", *(f"scores_{label}" for label in classes)}
    assert answer["label"].type == pa.int64()
    for place, label in enumerate(classes):
        assert answer[f"scores_{label}"].type == pa.float32()
        assert answer[f"scores_{label}"].to_pylist() == table[f"f{place}"].to_pylist()
    assert scored(path, table.slice(0, 0)).schema == answer.schema


def test_other_kinds_of_output_keep_their_values(tmp_path):
    table = pa.table({"a": [1.0, None], "b": [2.5, 0.0], "c": [0.0, 0.0]})
    answer = scored(models.kinds_of_output(tmp_path / "m.onnx"), table, outputs=["half", "missing"])
    assert answer.schema.names == ["half", "missing_0", "missing_1", "missing_2"]
    assert answer["missing_0"].to_pylist() == [False, True]
    assert answer["half"].type == pa.float32()
    assert answer["half"][0].as_py() == 2.5


def test_an_output_that_is_not_per_row_is_refused_when_it_is_seen(tmp_path):
    with pytest.raises(ScorerError, match=r"'total' has the shape \[\]"):
        scored(models.kinds_of_output(tmp_path / "m.onnx"), numbers(3), outputs=["total"])
    with pytest.raises(ScorerError, match="2 rows for 3 rows"):
        output_columns("y", [np.zeros(2)], [3])


def test_outputs_that_would_share_a_column_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    x = models.value("x", models.FLOAT, ["N", 2])
    outputs = [models.value("p", models.FLOAT, ["N", 2]), models.value("p_1", models.FLOAT, ["N"])]
    nodes = [models.node("Identity", ["x"], ["p"]), models.node("ReduceMax", ["x"], ["p_1"], axes=[1], keepdims=0)]
    models.save(path, [x], outputs, nodes)
    with pytest.raises(ScorerError, match="both be column 'p_1'"):
        scored(path, numbers(2))


def test_maps_of_different_classes_do_not_become_columns():
    with pytest.raises(ScorerError, match="no score of class 'b' for every row"):
        output_columns("y", [[{"a": 1.0, "b": 2.0}, {"a": 1.0}]], [2])


@pytest.mark.parametrize(
    ("dtype", "column", "said"),
    [
        ("int64", pa.array([1, 2, None]), "'c' has no value in row 2 of the mini-batch"),
        ("string", pa.array(["a", None, "b"]), "'c' has no value in row 1"),
        ("bool", pa.array([None, True, True]), "'c' has no value in row 0"),
        ("int32", pa.array([1, 2**40, 3]), "'c' holds a value that is not int32"),
        ("float32", pa.array(["1", "2", "3"]), "'c' holds string, but the model takes float32"),
    ],
)
def test_a_value_the_model_cannot_take_is_an_error_that_names_the_column(tmp_path, dtype, column, said):
    path = models.weighted_sum(tmp_path / "m.onnx", 1)
    binding = Binding((InputPlan("x", dtype, ("c",), flat=False),), ("score",))
    scorer = OnnxScorer(on_cpu(path, binding))
    scorer.init()
    with pytest.raises(RecordError, match=said):
        scorer.run(pa.table({"c": column}))


def test_whole_numbers_reach_an_integer_model_exactly(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 1, models.INT64)
    exact = [2**62 + 1, -(2**53) - 1]
    assert scored(path, pa.table({"c": exact}))["score"].to_pylist() == exact


def test_a_double_beyond_float32_is_infinite_without_a_warning(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 1)
    assert scored(path, pa.table({"c": [1e300]}))["score"].to_pylist() == [np.inf]


def test_wide_rows_are_given_in_smaller_slices():
    plan = InputPlan("x", "float32", tuple(map(str, range(20))), flat=False)
    assert default_batch_rows(Binding((plan,), ("y",)), 1) == 3276
    assert default_batch_rows(Binding((plan,), ("y",)), 4) == 4 * 3276
    wide = InputPlan("x", "float64", tuple(map(str, range(64))), flat=False)
    assert default_batch_rows(Binding((wide,), ("y",)), 1) == 1024
    narrow = InputPlan("x", "float32", ("a",), flat=True)
    assert default_batch_rows(Binding((narrow,), ("y",)), 1) == 4096
    huge = InputPlan("x", "float32", tuple(map(str, range(10**5))), flat=False)
    assert default_batch_rows(Binding((huge,), ("y",)), 1) == 1024


def test_trees_are_given_more_rows_at_once(tmp_path, caplog):
    caplog.set_level("INFO")
    for make, rows in ((gbm, 1 << 15), (mlp, 3276)):
        make(tmp_path / "m.onnx")
        scored(tmp_path / "m.onnx", numbers(20))
        assert f"at most {rows} rows at once" in caplog.text


def test_a_frame_with_pandas_columns_scores_as_its_table_does(tmp_path):
    path = models.weighted_sum(tmp_path / "m.onnx", 2)
    frame = pd.DataFrame({"a": pd.array([1, None], dtype="Int64"), "b": [2.0, 3.0]})
    answer = scored(path, pa.Table.from_pandas(frame, preserve_index=False))
    np.testing.assert_array_equal(answer["score"].to_numpy(), [5.0, np.nan])
