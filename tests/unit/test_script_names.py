"""The names that existing scripts import: lazily, beside or before an installed package, and gone at the end."""

import importlib
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from batch_score.job.script_names import SCRIPT_NAMES
from batch_score.worker.names import importable

PARTS = ("dataset", "datastore", "environment", "experiment", "model", "run", "workspace")


@pytest.fixture
def provided():
    with importable(SCRIPT_NAMES):
        yield


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An `azureml` package in the user's environment with the modules that are given."""

    def install(**modules):
        for name, text in modules.items():
            path = tmp_path / "site" / "azureml" / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.syspath_prepend(tmp_path / "site")

    yield install
    for name in [name for name in sys.modules if name.partition(".")[0] == "azureml"]:
        del sys.modules[name]


@pytest.mark.parametrize("part", [part for part in PARTS if part != "dataset"])
@pytest.mark.usefixtures("provided")
def test_each_name_is_the_same_under_each_spelling(part):
    name = part.capitalize()
    ours = importlib.import_module(f"batch_score.azureml.core.{part}")
    assert getattr(importlib.import_module("azureml.core"), name) is getattr(ours, name)
    assert getattr(importlib.import_module(f"azureml.core.{part}"), name) is getattr(ours, name)
    exec(f"from azureml.core.{part} import {name}\nfrom azureml.core import {name} as Again\nassert {name} is Again")  # noqa: S102 - as scripts do


@pytest.mark.usefixtures("provided")
def test_a_plain_import_of_the_package_gives_its_parts():
    import azureml.core  # noqa: PLC0415 - as scripts do
    import azureml.core.run  # noqa: PLC0415 - as scripts do

    assert azureml.core.Run is azureml.core.run.Run
    assert {"Dataset", "Model", "Run"} <= set(dir(azureml.core))
    assert azureml.core.__doc__
    assert azureml.core.VERSION


def test_they_are_there_for_a_while_only():
    with importable(SCRIPT_NAMES):
        import azureml.core.model  # noqa: PLC0415 - as scripts do

        assert azureml.core.model.Model
    assert not [name for name in sys.modules if name.partition(".")[0] == "azureml"]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("azureml.core")


def test_nothing_is_loaded_before_a_script_asks():
    code = (
        "import sys\n"
        "from batch_score.worker.names import importable\n"
        "from batch_score.job.script_names import SCRIPT_NAMES\n"
        "with importable(SCRIPT_NAMES):\n"
        "    print(*[name for name in sys.modules if 'azureml' in name])\n"
        "    import azureml.core\n"
        "    print(*[name for name in sys.modules if 'azureml' in name])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = done.stdout.split("\n")[:2]
    assert before == ""
    assert set(after.split()) == {"azureml", "azureml.core", "batch_score.azureml", "batch_score.azureml.core"}


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("from azureml.core import ScriptRunConfig", "PythonScriptStep of batch_score.azureml"),
        ("from azureml.core.webservice import AksWebservice", "services are not part of a job"),
        ("from azureml.core import Nothing", "install the package that has it"),
        ("import azureml.core.nothing", "install the package that has it"),
        ("from azureml.train.automl import AutoMLConfig", "install the package that has it"),
    ],
)
@pytest.mark.usefixtures("provided")
def test_an_unknown_name_says_what_is_missing_and_what_to_do(statement, advice):
    with pytest.raises(ModuleNotFoundError) as caught:
        exec(statement)  # noqa: S102 - as scripts do
    assert str(caught.value).startswith("azureml.")
    assert "is not provided by batch-score, whose azureml.core has ComputeTarget, Dataset, Datastore" in str(
        caught.value
    )
    assert advice in str(caught.value)


@pytest.mark.usefixtures("provided")
def test_whoever_looks_whether_a_name_is_there_gets_an_ordinary_answer():
    core = importlib.import_module("azureml.core")
    assert not hasattr(core, "Nothing")
    assert hasattr(core, "Run")
    assert find_spec("azureml.core.run") is not None


def test_an_installed_package_wins_for_the_names_it_has(installed):
    installed(core__run="class Run: own = True\n", core____init__="", mlflow="VALUE = 1\n")
    with importable(SCRIPT_NAMES):
        assert importlib.import_module("azureml.core.run").Run.own
        assert importlib.import_module("azureml.mlflow").VALUE == 1
        # What it does not have is ours.
        assert importlib.import_module("azureml.core.model").Model.__module__ == "batch_score.azureml.core.model"


def test_beside_an_installed_package_without_core_ours_is_there(installed):
    installed(mlflow="VALUE = 1\n")
    with importable(SCRIPT_NAMES):
        assert importlib.import_module("azureml.mlflow").VALUE == 1
        assert importlib.import_module("azureml.core").Run.__module__ == "batch_score.azureml.core.run"
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'azureml\.nothing'"):
            importlib.import_module("azureml.nothing")


def test_ours_win_where_that_is_asked_for(installed):
    installed(core__run="class Run: own = True\n", core____init__="", mlflow="VALUE = 1\n")
    theirs = importlib.import_module("azureml.core.run")
    with importable(replace(SCRIPT_NAMES, first=True)):
        assert importlib.import_module("azureml.core.run").Run.__module__ == "batch_score.azureml.core.run"
        assert importlib.import_module("azureml.mlflow").VALUE == 1
    assert sys.modules["azureml.core.run"] is theirs


def test_without_the_modules_behind_them_there_are_no_names():
    gone = replace(SCRIPT_NAMES, homes={"azureml.core": "batch_score.left_out.core"})
    with importable(gone), pytest.raises(ModuleNotFoundError, match="No module named 'azureml'"):
        importlib.import_module("azureml.core")


def test_a_script_as_a_step_loads_none_of_the_slow_packages(tmp_path):
    (tmp_path / "look.py").write_text("import sys\nprint(*({'numpy', 'pandas', 'pyarrow'} & set(sys.modules)))\n")
    command = [sys.executable, "-m", "batch_score.azureml.script", "look.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
