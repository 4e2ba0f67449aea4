"""Entry scripts written as the public samples are, one for each return type, signature and tier of the contract.

All of them are steps of one pipeline, and run once.
"""

import json
import textwrap

import pytest

from batch_score.azureml.data import Dataset, PipelineData
from batch_score.azureml.pipeline.core import Pipeline
from batch_score.azureml.pipeline.steps import ParallelRunConfig, ParallelRunStep

ROWS = 4
RETURNS = {
    # name: (what comes before, the expression that run() returns, the text that is appended, items that failed)
    "list-of-text": ("", "[f'{v} x' for v in mini_batch.a]", "0 x\n1 x\n2 x\n3 x\n", 0),
    "list-of-numbers": ("", "[v / 2 for v in mini_batch.a]", "0.0\n0.5\n1.0\n1.5\n", 0),
    "list-of-lists": ("", "mini_batch.values.tolist()", "[0, 'p q']\n[1, 'r']\n[2, 's\"t']\n[3, 'ü']\n", 0),
    "tuple-of-tuples": (
        "",
        "tuple((int(v), 'x') for v in mini_batch.a)",
        "(0, 'x')\n(1, 'x')\n(2, 'x')\n(3, 'x')\n",
        0,
    ),
    "list-of-dicts": ("", "[{'v': int(v)} for v in mini_batch.a]", "{'v': 0}\n{'v': 1}\n{'v': 2}\n{'v': 3}\n", 0),
    "frame": ("", "mini_batch", '0 "p q"\n1 r\n2 "s""t"\n3 ü\n', 0),
    "frame-of-its-own": (
        "import pandas as pd",
        "pd.DataFrame({'n': [len(mini_batch)] * 4}, index=list('wxyz'))",
        "4\n4\n4\n4\n",
        0,
    ),
    "array": ("import numpy as np", "np.array(mini_batch.a) * 1.5", "0.0\n1.5\n3.0\n4.5\n", 0),
    "array-of-rows": ("import numpy as np", "np.eye(4, dtype=int)[:, :2]", "[1, 0]\n[0, 1]\n[0, 0]\n[0, 0]\n", 0),
    "series": ("", "mini_batch['b']", 'p q\nr\ns"t\nü\n', 0),
    "generator": ("", "(str(v) for v in mini_batch.a)", "0\n1\n2\n3\n", 0),
    "fewer": ("", "['only']", "only\n", 3),
    "more": ("", "['y'] * 6", "y\ny\ny\ny\ny\ny\n", 0),
}
SIGNATURES = {
    "one": "def run(mini_batch):\n    return [str(len(mini_batch))] * 4\n",
    "two": "def run(mini_batch, mini_batch_context):\n    return [str(mini_batch_context.minibatch_index)] * 4\n",
    "other-name": "def run(data, context):\n    return [str(context.global_row_index_lower_bound)] * 4\n",
    "optional": "def run(mini_batch, context=None):\n    return [str(context.retry_count)] * 4\n",
    "own-default": "def run(mini_batch, threshold=0.5):\n    return [str(threshold)] * 4\n",
    "by-name": "def run(data, *, mini_batch_context):\n    return [str(mini_batch_context.partition_key_value)] * 4\n",
    "wrapped": """
        import functools

        def logged(function):
            @functools.wraps(function)
            def inner(*args):
                return function(*args)
            return inner

        @logged
        def run(mini_batch, context):
            return [str(context.minibatch_index)] * 4
    """,
    "stars": "def run(*batches):\n    return [str(len(batches))] * 4\n",
}  # fmt: skip
SIGNED = {
    "one": "4", "two": "0", "other-name": "0", "optional": "0", "own-default": "0.5", "by-name": "{}", "wrapped": "0",
    "stars": "1",
}  # fmt: skip
WRONG = {"none": "None", "text": "'done'", "bytes": "b'x'", "mapping": "{'a': 1}", "number": "4"}
TIERS = {
    "no-shim": """
        import argparse, os
        from pathlib import Path

        def init():
            global model
            parser = argparse.ArgumentParser()
            parser.add_argument("--model_file")
            args, unknown = parser.parse_known_args()
            assert any(one.startswith("--output=") for one in unknown)
            here = os.path.realpath(os.path.join(__file__, ".."))
            model = Path(here, args.model_file).read_text()

        def run(mini_batch):
            return [model + str(v) for v in mini_batch.a]

        def shutdown():
            print("bye")
    """,
    "entry-script": """
        from azureml_user.parallel_run import EntryScript

        def init():
            EntryScript().logger.info("in init")

        def run(mini_batch):
            entry = EntryScript()
            assert entry is EntryScript()
            entry.logger.info("in run")
            return [entry.agent_name[:7] + str(v) for v in mini_batch.a]
    """,
    "variables": """
        import os
        from pathlib import Path

        def run(mini_batch):
            folder = Path(os.environ["AZUREML_BI_OUTPUT_PATH"])
            assert folder.is_dir() and os.environ["AZUREML_CR_NODE_RANK"] == "0"
            assert os.environ["AZUREML_RUN_ID"].endswith("-variables")
            return [os.environ["GREETING"] + str(v) for v in mini_batch.a]
    """,
}
AZURE_TIERS = {
    "run": """
        from azureml.core import Run

        run_context = Run.get_context()

        def run(mini_batch):
            run_context.log("rows", len(mini_batch))
            return [bool(run_context.id) for v in mini_batch.a]
    """,
    "model": """
        from pathlib import Path
        from azureml.core.model import Model

        def init():
            global word
            word = Path(Model.get_model_path("greeting")).read_text()

        def run(mini_batch):
            return [word + str(v) for v in mini_batch.a]
    """,
}


def table(folder):
    path = folder / "rows.csv"
    path.write_text('a,b\n0,p q\n1,r\n2,"s""t"\n3,ü\n', encoding="utf-8")
    return Dataset.Tabular.from_delimited_files(str(path))


def step(folder, name, text, arguments=(), **settings):
    """A step whose script is in a folder of its own."""
    source = folder / "scripts" / name
    source.mkdir(parents=True)
    (source / "score.py").write_text(textwrap.dedent(text), encoding="utf-8")
    config = ParallelRunConfig(
        **{
            "source_directory": str(source), "entry_script": "score.py", "error_threshold": -1, "node_count": 1,
            "output_action": "append_row", "process_count_per_node": 1, "environment_variables": {"GREETING": "hi"},
            **settings,
        }
    )  # fmt: skip
    return ParallelRunStep(name, config, [table(folder)], PipelineData("out"), arguments=arguments), source


def ran(steps, monkeypatch, folder, at_once=4):
    """The run of a pipeline of such steps, a few at a time."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for one, other in zip(steps, steps[at_once:], strict=False):
        other.run_after(one)
    run = Pipeline(None, steps).submit("scripts", continue_on_step_failure=True)
    run.wait_for_completion(show_output=False, raise_on_error=False)
    return {one.name: one for one in run.get_steps()}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """All scripts of this file that succeed without `azureml.core`, run once."""
    folder = tmp_path_factory.mktemp("scripts")
    steps = [
        step(folder, name, f"{before}\ndef run(mini_batch):\n    return {value}\n")[0]
        for name, (before, value, *_) in RETURNS.items()
    ]
    steps += [step(folder, name, text)[0] for name, text in SIGNATURES.items()]
    steps += [step(folder, name, text, ["--model_file", "model.txt"])[0] for name, text in TIERS.items()]
    (folder / "scripts/no-shim/model.txt").write_text("m")
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield ran(steps, monkeypatch, folder)


def text_of(run, name="parallel_run_step.txt"):
    return (run.get_output_data("out").path / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RETURNS)
def test_what_run_returns_is_counted_and_written_byte_for_byte(scripts, name):
    _, _, text, failed = RETURNS[name]
    assert scripts[name].get_status() == "Finished"
    assert text_of(scripts[name]) == text
    items = json.loads((scripts[name].folder / "run.json").read_text())["items"]
    assert (items["total"], items["failed"]) == (ROWS, failed)


@pytest.mark.parametrize("name", SIGNATURES)
def test_run_gets_what_its_signature_asks_for(scripts, name):
    assert text_of(scripts[name]) == f"{SIGNED[name]}\n" * ROWS


@pytest.mark.parametrize(("name", "word"), [("no-shim", "m"), ("entry-script", "process"), ("variables", "hi")])
def test_scripts_of_a_tier_find_what_they_need(scripts, name, word):
    assert text_of(scripts[name]) == "".join(f"{word}{i}\n" for i in range(ROWS))


def test_the_logger_of_the_entry_script_and_shutdown_write_where_the_contract_says(scripts):
    logs = scripts["entry-script"].folder / "logs" / "user" / "entry_script_log"
    assert "in run" in "".join(path.read_text() for path in logs.rglob("*.log.txt"))
    printed = (scripts["no-shim"].folder / "logs/user/stdout").rglob("*.stdout.txt")
    assert "bye" in "".join(path.read_text() for path in printed)


@pytest.mark.parametrize("tier", AZURE_TIERS)
def test_scripts_of_the_other_tiers(tmp_path, monkeypatch, tier):
    pytest.importorskip("batch_score.azureml.core", reason="the names of azureml.core are not here yet")
    from batch_score.azureml.registry import Registry  # noqa: PLC0415 - as above

    monkeypatch.setenv("BATCH_SCORE_MODELS", str(tmp_path / "models"))
    (tmp_path / "word.txt").write_text("hello")
    Registry().register("greeting", tmp_path / "word.txt")
    run = ran([step(tmp_path, f"tier-{tier}", AZURE_TIERS[tier])[0]], monkeypatch, tmp_path)[f"tier-{tier}"]
    wanted = {"run": "True\n" * ROWS, "model": "".join(f"hello{i}\n" for i in range(ROWS))}
    assert text_of(run) == wanted[tier]


def test_wrong_types_fail_and_are_named(tmp_path, monkeypatch):
    steps = [
        step(tmp_path, name, f"def run(mini_batch):\n    return {value}\n", run_max_try=1)[0]
        for name, value in WRONG.items()
    ]
    runs = ran(steps, monkeypatch, tmp_path, at_once=len(steps))
    kinds = {"none": "NoneType", "text": "str", "bytes": "bytes", "mapping": "dict", "number": "int"}
    for name, kind in kinds.items():
        details = runs[name].get_details()
        assert details["status"] == "Failed"
        assert f"run() returned {kind}" in details["error"], details


def test_settings_beside_the_script_change_the_text_form(tmp_path, monkeypatch):
    one, source = step(tmp_path, "settings", "def run(mini_batch):\n    return mini_batch\n")
    (source / "parallel_run_step.settings.json").write_text(
        json.dumps({"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "header": True, "quoting": 1}}})
    )
    two, _ = step(
        tmp_path,
        "header",
        "def run(mini_batch):\n    return mini_batch\n",
        ["--append_row_dataframe_header", "True"],
        append_row_file_name="rows.csv",
    )
    runs = ran([one, two], monkeypatch, tmp_path)
    assert text_of(runs["settings"]) == '"a","b"\n"0","p q"\n"1","r"\n"2","s""t"\n"3","ü"\n'
    assert text_of(runs["header"], "rows.csv") == 'a b\n0 "p q"\n1 r\n2 "s""t"\n3 ü\n'


def test_files_and_context_arrive_as_a_list_of_paths(tmp_path, monkeypatch):
    for number in range(5):
        path = tmp_path / "files" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(str(number))
    one, source = step(tmp_path, "files", "", mini_batch_size=2)
    (source / "score.py").write_text(
        "from pathlib import Path\n\n"
        "def run(mini_batch, mini_batch_context):\n"
        "    assert all(Path(path).is_absolute() for path in mini_batch) and mini_batch == mini_batch_context.dataset\n"
        "    return [f'{mini_batch_context.minibatch_index} {Path(path).read_text()}' for path in mini_batch]\n"
    )
    files = Dataset.File.from_files(str(tmp_path / "files"))
    step_of_files = ParallelRunStep("files", one._config, [files], PipelineData("out"))  # noqa: SLF001 - made above
    text = text_of(ran([step_of_files], monkeypatch, tmp_path)["files"])
    assert sorted(text.splitlines()) == ["0 0", "0 1", "1 2", "1 3", "2 4"]
