"""Entry scripts written as the public samples are, one for each kind of thing they rely on, run unchanged."""

import csv
import json
import pickle
import textwrap
import time

import pandas as pd
import pytest
from tests.integration.running import Command

from batch_score.registry import Registry

TWO = ("--process-count-per-node", 2)
TEXT = ("--append-row-file-name", "parallel_run_step.txt")


@pytest.fixture
def sample(tmp_path):
    """The command in an empty folder, with models of its own; `sample.write` puts files there."""

    class Sample(Command):
        def write(self, name, text):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
            return path

        def score(self, *arguments, **environment):
            done = self.run(*arguments, BATCH_SCORE_MODELS=str(tmp_path / "models"), **environment)
            assert done.code == 0, done.err
            return done

    command = Sample(tmp_path, f"{tmp_path}-{time.monotonic_ns()}")
    command.models = Registry(tmp_path / "models")
    yield command
    assert command.alive() == []


@pytest.fixture
def flowers(sample):
    """A table of 150 flowers, in two files."""
    rows = [f"{4 + k % 30 / 10},{2 + k % 7 / 10},{1 + k % 50 / 10},{k % 25 / 10}" for k in range(150)]
    head = "sepal_length,sepal_width,petal_length,petal_width"
    for name, part in (("one", rows[:100]), ("two", rows[100:])):
        sample.write(f"iris/{name}.csv", "\n".join([head, *part]) + "\n")
    return rows


IRIS = """
    import io
    import pickle
    import argparse
    import numpy as np

    from azureml.core.model import Model


    def init():
        global iris_model

        parser = argparse.ArgumentParser(description="Iris model serving")
        parser.add_argument('--model_name', dest="model_name", required=True)
        args, unknown_args = parser.parse_known_args()

        model_path = Model.get_model_path(args.model_name)
        with open(model_path, 'rb') as model_file:
            iris_model = pickle.load(model_file)


    def run(input_data):
        num_rows, num_cols = input_data.shape
        pred = np.where(input_data["petal_length"] < iris_model["limit"], "setosa", "virginica").reshape((num_rows,))

        # cleanup output
        result = input_data.drop(input_data.columns[4:], axis=1)
        result['variety'] = pred

        return result
"""


def test_a_table_scored_with_a_registered_model(sample, flowers, tmp_path):
    """A script that looks its model up by name and returns the frame with one column more."""
    sample.write("code/iris_score.py", IRIS)
    (tmp_path / "iris_model.pkl").write_bytes(pickle.dumps({"limit": 3.0}))
    sample.models.register("iris-prs", tmp_path / "iris_model.pkl")
    ask = ("iris_score.py", "iris", "--source-directory", "code", "--mini-batch-size", "1KB", *TWO, *TEXT)
    done = sample.score(*ask, "--", "--model_name", "iris-prs")
    wanted = [
        f"{' '.join(row.split(','))} {'setosa' if float(row.split(',')[2]) < 3 else 'virginica'}" for row in flowers
    ]
    assert sorted(done.output.read_text().splitlines()) == sorted(wanted)


def test_the_settings_file_changes_the_text_form(sample, flowers, tmp_path):
    sample.write("code/iris_score.py", IRIS)
    settings = {"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "header": True}}}
    sample.write("code/parallel_run_step.settings.json", json.dumps(settings))
    (tmp_path / "iris_model.pkl").write_bytes(pickle.dumps({"limit": 3.0}))
    sample.models.register("iris-prs", tmp_path / "iris_model.pkl")
    ask = ("iris_score.py", "iris", "--source-directory", "code", "--mini-batch-size", "1KB", *TWO, *TEXT)
    with sample.score(*ask, "--", "--model_name=iris-prs").output.open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["sepal_length", "sepal_width", "petal_length", "petal_width", "variety"]
    assert sorted(row[:4] for row in rows) == sorted(row.split(",") for row in flowers)


DIGITS = """
    import os
    from azureml.core import Model


    def init():
        global weights

        # pull down the model from workspace, named with the folder that was registered
        model_path = Model.get_model_path("mnist-prs")
        with open(os.path.join(model_path, "weights.txt")) as file:
            weights = [float(value) for value in file.read().split()]


    def run(mini_batch):
        print(f'run method start: {__file__}, run({mini_batch})')
        resultList = []
        for image in mini_batch:
            with open(image) as data:
                best_result = round(float(data.read()) * weights[0])
            resultList.append("{}: {}".format(os.path.basename(image), best_result))
        return resultList
"""


def test_files_scored_with_a_model_that_is_a_folder(sample, tmp_path):
    """A list of paths in, a list of texts out."""
    sample.write("digit_identification.py", DIGITS)
    sample.write("net/weights.txt", "2.0 1.0")
    sample.models.register("mnist-prs", tmp_path / "net")
    for k in range(25):
        sample.write(f"images/{k:02}.png", str(k))
    ask = ("digit_identification.py", "images", "--mini-batch-size", 5, "--error-threshold", 10, *TWO, *TEXT)
    done = sample.score(*ask, "--input-type", "file")
    assert sorted(done.output.read_text().splitlines()) == [f"{k:02}.png: {2 * k}" for k in range(25)]
    printed = "".join(path.read_text() for path in done.logs.glob("user/stdout/*/*"))
    assert printed.count("run method start: ") == 5


MANY_MODELS = """
    import argparse
    import datetime
    import logging
    import os
    import pickle

    import pandas as pd
    from azureml.core import Run
    from azureml.core.model import Model
    from azureml_user.parallel_run import EntryScript

    # 0.0 Parse input arguments
    parser = argparse.ArgumentParser("split")
    parser.add_argument("--target_column", type=str, required=True, help="input target column")
    parser.add_argument("--tags", type=str, required=False)
    args, _ = parser.parse_known_args()

    current_run = None


    def init():
        global current_run, logger
        entry_script = EntryScript()
        logger = entry_script.logger
        os.makedirs('./outputs', exist_ok=True)
        current_run = Run.get_context()
        logger.info('init in %s of %s', entry_script.agent_name, current_run.experiment.name)


    def run(input_data):
        logs = []
        for idx, csv_file_path in enumerate(input_data):
            store = os.path.splitext(os.path.basename(csv_file_path))[0]
            child = current_run.child_run(name=store)
            started = datetime.datetime.now()
            data = pd.read_csv(csv_file_path)
            model = {'mean': data[args.target_column].mean()}
            model_name = 'prs_' + store
            file_path = os.path.join(EntryScript().output_dir, model_name)
            with open(file_path, 'wb') as file:
                pickle.dump(model, file)
            child.upload_file(model_name, file_path)
            child.log('mean', model['mean'])
            try:
                registered = child.register_model(model_path=model_name, model_name=model_name,
                                                  model_framework='custom', tags={'store': store, 'tag': args.tags})
            except Exception as error:
                logger.error('failed to register: %s', error)
                raise
            child.complete()
            assert Model(current_run.experiment.workspace, model_name).version == registered.version
            ended = datetime.datetime.now()
            logs.append([store, model_name, registered.version, len(data), str(ended - started), idx])
        return pd.DataFrame(logs)
"""


def test_many_models_are_trained_and_registered_from_the_workers(sample):
    """Child runs, metrics, uploads and registrations from several workers at once."""
    sample.write("scripts/train.py", MANY_MODELS)
    for k in range(12):
        sample.write(f"sales/store{k}.csv", "day,sales\n" + "".join(f"{day},{k * 10 + day}\n" for day in range(5)))
    ask = ("train.py", "sales", "--source-directory", "scripts", "--input-type", "file", "--mini-batch-size", 1, *TWO)
    done = sample.score(*ask, *TEXT, "--run-dir", "training", "--", "--target_column", "sales", "--tags", "may")
    rows = [line.split(" ") for line in done.output.read_text().splitlines()]
    assert {row[0]: row[2:4] for row in rows} == {f"store{k}": ["1", "5"] for k in range(12)}
    models = sample.models.models()
    assert {model.name for model in models} == {f"prs_store{k}" for k in range(12)}
    for model in models:
        number = int(model.tags["store"].removeprefix("store"))
        assert pickle.loads(model.path.read_bytes()) == {"mean": number * 10 + 2.0}
        assert (model.tags["tag"], model.run_id) == ("may", "training")
    metrics = [json.loads(line) for line in (done.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert sorted(record["value"] for record in metrics) == [k * 10 + 2.0 for k in range(12)]
    logged = "".join(path.read_text() for path in done.logs.glob("user/entry_script_log/*/*"))
    assert "of batch-score" in logged


BATCH_DRIVER = """
    import os
    import glob
    from pathlib import Path
    import pandas as pd
    from typing import List


    def init():
        global model
        global output_path

        # AZUREML_MODEL_DIR is an environment variable created during deployment
        # It is the path to the model folder
        output_path = os.environ["AZUREML_BI_OUTPUT_PATH"]
        model_path = glob.glob(os.environ["AZUREML_MODEL_DIR"] + "/*/")[0]
        model = float(Path(model_path, "weights.txt").read_text())


    def run(mini_batch: List[str]):
        for file_path in mini_batch:
            data = pd.read_csv(file_path)
            data["prediction"] = data["amount"] * model
            output_file_name = Path(file_path).stem
            output_file_path = os.path.join(output_path, output_file_name + ".parquet")
            data.to_parquet(output_file_path)
        return mini_batch
"""


def test_a_batch_driver_that_writes_its_own_files(sample, tmp_path):
    """Environment variables only: model folder, output folder, what the caller has given."""
    import pandas as pd  # noqa: PLC0415 - only here

    sample.write("code/batch_driver.py", BATCH_DRIVER)
    sample.write("model/weights.txt", "3.0")
    sample.models.register("heart", tmp_path / "model")
    for k in range(4):
        sample.write(f"data/{k}.csv", f"amount\n{k}\n{k + 1}\n")
    ask = ("batch_driver.py", "data", "--source-directory", "code", "--input-type", "file", "--mini-batch-size", 2)
    done = sample.score(*ask, *TWO, "--output-action", "summary_only", "--model-dir", "azureml:heart:1")
    assert done.json["items"]["succeeded"] == 4
    for k in range(4):
        frame = pd.read_parquet(done.run_dir / "outputs" / f"{k}.parquet")
        assert frame["prediction"].tolist() == [3.0 * k, 3.0 * (k + 1)]


PLAIN = """
    import argparse
    import os

    def init():
        parser = argparse.ArgumentParser(allow_abbrev=False)
        parser.add_argument("--output_dir", type=str, default=None)
        parser.add_argument("--batch_size", type=int)
        global args
        args, _ = parser.parse_known_args()

    def run(mini_batch, mini_batch_context):
        index = mini_batch_context.minibatch_index
        lower = mini_batch_context.global_row_index_lower_bound
        rank = os.environ["AZUREML_CR_NODE_RANK"]
        found = "AZUREML_RUN_ID" in os.environ and "AZ_BATCHAI_GPU_COUNT_FOUND" in os.environ
        told = f"{index} {rank} {found} {args.output_dir} {args.batch_size}"
        return [f"{lower + k} {told}" for k in range(len(mini_batch))]
"""


def test_a_script_that_imports_nothing(sample, flowers):
    sample.write("plain.py", PLAIN)
    ask = ("plain.py", "iris", "--mini-batch-size", "1KB", *TWO, *TEXT)
    done = sample.score(*ask, "--", "--batch_size", 20, "--output_dir", "somewhere")
    rows = [line.split() for line in done.output.read_text().splitlines()]
    assert sorted(int(row[0]) for row in rows) == list(range(len(flowers)))
    assert {tuple(row[2:]) for row in rows} == {("0", "True", "somewhere", "20")}


BESIDE = """
    import pandas as pd

    def run(mini_batch):
        scores = [width * 10 for width in mini_batch["petal_width"]]
        joined = mini_batch.join(pd.DataFrame(scores, columns=["joined"]))
        joined["series"] = pd.Series(scores)
        joined["loc"] = [mini_batch.loc[place, "petal_width"] * 10 for place in range(len(mini_batch))]
        return pd.concat([joined, pd.DataFrame({"beside": scores})], axis=1)
"""


def test_results_are_put_beside_the_rows_in_every_mini_batch(sample, flowers):
    """As in published scripts, which count on rows that are numbered from 0 in each mini-batch."""
    sample.write("beside.py", BESIDE)
    done = sample.score("beside.py", "iris", "--mini-batch-size", "1KB", "--append-row-file-name", "o.csv")
    assert done.json["mini_batches"]["succeeded"] > 2
    found = pd.read_csv(done.output)
    assert len(found) == len(flowers)
    for name in ("joined", "series", "loc", "beside"):
        assert found[name].tolist() == (found["petal_width"] * 10).tolist()
    for _, rows in found.groupby("source")["row"]:
        assert sorted(rows) == list(range(len(rows)))


RETURNS = {
    "list": "return [str(value) for value in mini_batch['petal_width']]",
    "tuple": "return tuple(mini_batch['petal_width'])",
    "ndarray": "return mini_batch['petal_width'].to_numpy()",
    "Series": "return mini_batch['petal_width']",
    "DataFrame": "return mini_batch[['petal_width']]",
    "Arrow table": "import pyarrow as pa; return pa.table({'w': mini_batch['petal_width'].to_numpy()})",
    "generator": "return (value for value in mini_batch['petal_width'])",
}
SIGNATURES = {
    "one parameter": "def run(mini_batch):\n",
    "another name": "def run(mini_batch_size_of_data):\n    mini_batch = mini_batch_size_of_data\n",
    "with the context": "def run(mini_batch, mini_batch_context):\n    mini_batch_context.minibatch_index\n",
    "context by name": "def run(mini_batch, *, mini_batch_context):\n    mini_batch_context.retry_count\n",
    "context with a default": "def run(mini_batch, context=None):\n    context.minibatch_index\n",
    "a default of its own": "def run(mini_batch, factor=1):\n    assert factor == 1\n",
}
DECORATED = """
import functools

def timed(function):
    @functools.wraps(function)
    def inner(*args, **kwargs):
        return function(*args, **kwargs)
    return inner

@timed
"""


@pytest.mark.parametrize("returned", RETURNS)
def test_what_run_may_return(returned, sample, flowers):
    sample.write("score.py", f"def run(mini_batch):\n    {RETURNS[returned]}\n")
    done = sample.score("score.py", "iris", *TWO, *TEXT)
    assert sorted(map(float, done.output.read_text().split())) == sorted(float(row.split(",")[3]) for row in flowers)


@pytest.mark.parametrize("decorator", ["", DECORATED], ids=["plain", "decorated"])
@pytest.mark.parametrize("signature", SIGNATURES)
def test_how_run_may_be_declared(signature, decorator, sample, flowers):
    sample.write("score.py", f"{decorator}{SIGNATURES[signature]}    return [1] * len(mini_batch)\n")
    done = sample.score("score.py", "iris", "--engine", "inline", *TEXT)
    assert done.output.read_text() == "1\n" * len(flowers)


TRAIN = """
    import argparse
    import os
    from azureml.core import Run, Workspace, Datastore, Environment, Experiment
    from azureml.core.run import _OfflineRun

    run = Run.get_context()
    if run.id.startswith("OfflineRun"):
        assert isinstance(run, _OfflineRun)
        ws = Workspace.from_config()
    else:
        ws = run.experiment.workspace

    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir")
    args = parser.parse_args()
    os.makedirs(args.output_dir, exist_ok=True)
    with open(os.path.join(args.output_dir, "model.txt"), "w") as file:
        file.write("weights")
    run.log("accuracy", 0.9)
    run.log_list("losses", [0.3, 0.2, 0.1])
    run.parent.log("accuracy", 0.9)
    run.upload_folder("outputs", args.output_dir)
    model = run.register_model(model_name="trained", model_path="outputs/model.txt", tags={"kind": "text"})
    print(model.name, model.version, model.id, ws.name, run.get_status(), run.get_metrics()["losses"], sep="|")
    run.complete()
"""


@pytest.mark.parametrize("where", ["in a run", "offline"])
def test_a_training_script_by_itself(where, sample, tmp_path):
    sample.write("train.py", TRAIN)
    code = "import sys; from batch_score.azureml.script import main; main(sys.argv[1:])"
    given = {"BATCH_SCORE_RUN_DIR": str(tmp_path / "step"), "AZUREML_RUN_ID": "s"} if where == "in a run" else {}
    done = sample.program(code, "train.py", "--output_dir", "out", BATCH_SCORE_MODELS=str(tmp_path / "models"), **given)
    assert done.code == 0, done.err
    assert done.out == "trained|1|trained:1|local|Running|[0.3, 0.2, 0.1]\n"
    assert sample.models.find("trained").path.read_text() == "weights"
    (folder,) = [tmp_path / "step"] if given else (tmp_path / "runs").iterdir()
    assert (folder / "uploads" / "outputs" / "model.txt").exists()
