"""The local stand-ins of Azure ML's core classes, as scripts and notebooks use them."""

import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from batch_score.azureml.core import Datastore, Environment, Experiment, Model, Run, Workspace
from batch_score.azureml.core.authentication import ServicePrincipalAuthentication
from batch_score.azureml.core.compute import AmlCompute, ComputeTarget
from batch_score.azureml.core.conda_dependencies import CondaDependencies
from batch_score.azureml.core.runconfig import DEFAULT_CPU_IMAGE, RunConfiguration
from batch_score.azureml.core.runconfig import CondaDependencies as Dependencies
from batch_score.errors import ConfigError, ModelError, ScorerError

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Models and workspace of this test alone, which is also the current folder."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("MODELS", "models"), ("WORKSPACE", "ws")):
        monkeypatch.setenv(f"BATCH_SCORE_{name}", str(tmp_path / folder))
    for name in ("BATCH_SCORE_RUN_DIR", "AZUREML_RUN_ID", "AZUREML_MODEL_DIR", "AZUREML_ARM_WORKSPACE_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "m.pkl").write_text("weights")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.bin").write_text("a")


@pytest.fixture
def workspace():
    return Workspace.from_config()


# --- Model


def test_a_registered_model_is_found_by_name_and_version(workspace, tmp_path):
    first = Model.register(workspace, "m.pkl", "m", tags={"k": "v"}, description="words")
    second = Model.register(workspace=workspace, model_path="net", model_name="m", model_framework=Model.Framework.ONNX)
    assert (first.version, second.version, second.id) == (1, 2, "m:2")
    assert Model.get_model_path("m") == str(tmp_path / "models" / "m" / "2" / "model" / "net")
    assert Model.get_model_path("m", version=1) == str(tmp_path / "models" / "m" / "1" / "model" / "m.pkl")
    assert Model.get_model_path(model_name="m:1") == Model.get_model_path("m", 1)
    model = Model(workspace, name="m", version=1)
    assert (model.description, model.tags, model.workspace) == ("words", {"k": "v"}, workspace)
    assert Model(workspace, id="m:2").model_framework == "Onnx"
    assert workspace.models["m"].version == 2


def test_models_are_listed_by_name_tag_and_run(workspace, monkeypatch):
    Model.register(workspace, "m.pkl", "a", tags={"k": "1"})
    monkeypatch.setenv("AZUREML_RUN_ID", "run-1")
    Model.register(workspace, "m.pkl", "a", tags={"k": "2"}, properties={"p": "q"})
    Model.register(workspace, "m.pkl", "b")
    ids = {
        "all": Model.list(workspace),
        "name": Model.list(workspace, name="a"),
        "latest": Model.list(workspace, latest=True),
        "tag": Model.list(workspace, tags=["k"]),
        "pair": Model.list(workspace, tags=[["k", "1"]]),
        "both": Model.list(workspace, tags=["k", ["k", "2"]], properties=[["p", "q"]]),
        "run": Model.list(workspace, run_id="run-1"),
        "none": Model.list(workspace, name="c"),
    }
    assert {name: [model.id for model in models] for name, models in ids.items()} == {
        "all": ["a:2", "a:1", "b:1"],
        "name": ["a:2", "a:1"],
        "latest": ["a:2", "b:1"],
        "tag": ["a:2", "a:1"],
        "pair": ["a:1"],
        "both": ["a:2"],
        "run": ["a:2", "b:1"],
        "none": [],
    }


def test_a_model_can_be_copied_out(workspace, tmp_path):
    Model.register(workspace, "net", "m")
    model = Model(workspace, "m")
    assert model.download("out") == str(tmp_path / "out" / "net")
    assert (tmp_path / "out" / "net" / "a.bin").read_text() == "a"
    with pytest.raises(ModelError, match="exists already"):
        model.download("out")
    assert model.download(target_dir="out", exist_ok=True)


def test_a_model_is_looked_for_in_the_model_folder_too(tmp_path, monkeypatch):
    folder = tmp_path / "dir"
    for path in ("plain.pkl", "nested/a.bin", "one/1/x.pkl", "one/10/y.pkl", "many/2/a", "many/2/b"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(folder))
    assert Model.get_model_path("plain") == str(folder / "plain.pkl")
    assert Model.get_model_path("plain.pkl") == str(folder / "plain.pkl")
    assert Model.get_model_path("nested") == str(folder / "nested")
    assert Model.get_model_path("one") == str(folder / "one" / "10" / "y.pkl")
    assert Model.get_model_path("one", 1) == str(folder / "one" / "1" / "x.pkl")
    assert Model.get_model_path("many", version="2") == str(folder / "many" / "2")
    with pytest.raises(ModelError, match=r"model one:3 is not known; .*/models has no models; .*dir has many, nested"):
        Model.get_model_path("one", 3)


def test_the_registry_comes_before_the_model_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(tmp_path))
    assert Model.get_model_path("m") == str(tmp_path / "m.pkl")
    Model.register(None, "m.pkl", "m")
    assert Model.get_model_path("m") == str(tmp_path / "models" / "m" / "1" / "model" / "m.pkl")


def test_a_job_that_was_given_a_version_gets_that_one(monkeypatch):
    first, second = (Model.register(None, "m.pkl", "m") for _ in range(2))
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(first.registered.folder))
    assert Model.get_model_path("m") == str(first.registered.path)
    assert Model.get_model_path("m", 2) == str(second.registered.path)


def test_an_unknown_model_ends_the_start_of_a_worker_with_what_is_known():
    Model.register(None, "m.pkl", "known")
    with pytest.raises(
        ModelError, match=r"model unknown is not known; .* has known; AZUREML_MODEL_DIR is not set"
    ) as one:
        Model.get_model_path("unknown")
    assert isinstance(one.value, ScorerError)  # no other worker will find it: the job fails at once
    with pytest.raises(ModelError, match="needs a name or an id"):
        Model(None)


# --- Workspace, Datastore, Experiment


def test_a_workspace_has_the_names_of_the_nearest_file(tmp_path, monkeypatch):
    (tmp_path / ".azureml").mkdir()
    text = '{"subscription_id": "s", "resource_group": "g", "workspace_name": "w"}'
    (tmp_path / ".azureml" / "config.json").write_text(text)
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    found = Workspace.from_config()
    assert (found.subscription_id, found.resource_group, found.name) == ("s", "g", "w")
    found.write_config("elsewhere")
    assert Workspace.from_config(path="elsewhere/config.json").name == "w"
    assert Workspace.get("x", subscription_id="s").name == "x"
    assert Workspace.create("y", resource_group="g").resource_group == "g"


def test_a_workspace_keeps_no_secret(tmp_path):
    login = ServicePrincipalAuthentication("t", "id", service_principal_password="very secret")  # noqa: S106 - is it kept?
    assert "very secret" not in repr(vars(login))
    workspace = Workspace("s", "g", "w", auth=login)
    assert "very secret" not in repr(vars(workspace))
    assert workspace.folder == tmp_path / "ws"
    assert workspace.get_details()["name"] == "w"


def test_any_compute_target_is_this_machine(workspace):
    assert "cluster" in workspace.compute_targets
    target = workspace.compute_targets["cluster"]
    assert (target.name, str(target), target.provisioning_state) == ("cluster", "cluster", "Succeeded")
    settings = AmlCompute.provisioning_configuration(vm_size="STANDARD_D2_V2", max_nodes=4)
    made = ComputeTarget.create(workspace, "other", settings)
    made.wait_for_completion(show_output=True)
    assert made.name == "other"
    assert AmlCompute(workspace=workspace, name="third").get_status().provisioning_state == "Succeeded"


def test_a_datastore_is_a_folder(workspace, tmp_path):
    store = workspace.get_default_datastore()
    assert (store.name, Datastore.get_default(workspace).folder) == ("workspaceblobstore", store.folder)
    where = store.upload("net", target_path="data")
    assert (tmp_path / "ws" / "datastores" / "workspaceblobstore" / "data" / "a.bin").read_text() == "a"
    assert Path(store.path("data/a.bin")).read_text() == "a"
    (tmp_path / "net" / "a.bin").write_text("b")
    store.upload_files(["net/a.bin"], target_path="data")
    assert (store.folder / "data" / "a.bin").read_text() == "a"
    store.upload_files(["net/a.bin"], target_path="data", overwrite=True)
    assert (store.folder / "data" / "a.bin").read_text() == "b"
    assert str(where) == str(store.folder / "data")
    assert store.download("out", prefix="data") == 1
    assert (tmp_path / "out" / "data" / "a.bin").read_text() == "b"
    other = Datastore.get(workspace, "other")
    other.upload("net")
    assert list(workspace.datastores) == ["other", "workspaceblobstore"]


def test_a_datastore_in_the_cloud_is_an_error_that_says_what_to_do(workspace):
    with pytest.raises(ConfigError, match="storage in the cloud, which is not reached from here"):
        workspace.get_default_datastore().register_azure_blob_container(account_key="x")
    with pytest.raises(ConfigError, match="without slashes"):
        Datastore(workspace, "../x")
    with pytest.raises(AttributeError):
        workspace.get_default_datastore().nothing  # noqa: B018 - the access is what is tested


class Pipeline:
    def submit(self, experiment_name, **options):
        return experiment_name, options


def test_an_experiment_submits_what_can_be_submitted(workspace, tmp_path):
    experiment = Experiment(workspace=workspace, name="loans")
    assert experiment.submit(Pipeline(), tags={"a": 1}, pipeline_parameters={"p": 1}) == (
        "loans",
        {"pipeline_parameters": {"p": 1}},
    )
    with pytest.raises(ConfigError, match="a str cannot be submitted"):
        experiment.submit("script.py")
    run = experiment.start_logging()
    run.log("x", 1)
    assert (run.experiment, run.folder) == (experiment, tmp_path / "runs" / run.id)
    assert Run(experiment, run.id).get_metrics() == {"x": 1}


# --- Environment

CONDA = f"""
name: project
dependencies:
  - python={HERE}
  - conda-forge::numpy
  - no-such-package-1=1.0
  - pip
  - pip:
    - azureml-core~=1.40
    - pandas[excel]=={version("pandas")}
    - pyarrow==0.1
    - numpy>=1
"""


def test_an_environment_is_compared_with_what_is_here(tmp_path):
    (tmp_path / "conda.yml").write_text(CONDA)
    environment = Environment.from_conda_specification(name="env", file_path="conda.yml")
    assert environment.differences() == (
        "no-such-package-1 is not installed",
        f"pyarrow is {version('pyarrow')}, not 0.1",
    )
    (tmp_path / "conda.yml").write_text("dependencies:\n- python=2.7\n")
    (difference,) = Environment.from_conda_specification("env", "conda.yml").differences()
    assert difference.endswith("not 2.7")


def test_a_requirements_file_is_read_without_comments_and_options(tmp_path):
    (tmp_path / "r.txt").write_text("# all\n-r other.txt\nno-such-package-1 # why\n\npyarrow\n")
    environment = Environment.from_pip_requirements("env", "r.txt")
    assert environment.differences() == ("no-such-package-1 is not installed",)
    with pytest.raises(ConfigError, match=r"nowhere\.txt"):
        Environment.from_pip_requirements("env", "nowhere.txt")
    with pytest.raises(ConfigError, match=r"nowhere\.yml"):
        Environment.from_conda_specification("env", "nowhere.yml")


def test_an_environment_is_put_together_as_notebooks_do(workspace):
    environment = Environment(name="env")
    environment.python.conda_dependencies = CondaDependencies.create(
        pip_packages=["pandas"], conda_packages=["numpy"], python_version=HERE
    )
    environment.python.conda_dependencies.add_pip_package("no-such-package-1")
    assert Dependencies is CondaDependencies
    environment.docker.enabled = True
    environment.docker.base_image = DEFAULT_CPU_IMAGE
    assert RunConfiguration().environment.differences() == ()
    environment.environment_variables = {"A": "b"}
    environment.register(workspace)
    found = Environment.get(workspace, "env")
    assert found == environment
    assert found.differences() == ("no-such-package-1 is not installed",)
    assert Environment.get(workspace, "AzureML-Minimal").differences() == ()
    assert list(workspace.environments) == ["env"]
    assert repr(found) != repr(Environment("env"))
