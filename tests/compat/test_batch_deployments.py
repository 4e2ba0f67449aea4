"""Batch deployments in YAML: a scoring script, a model and settings; the files come with the call."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def deployment(write):
    """A batch deployment with a model that is a folder, as the samples have it."""
    for number in range(5):
        write(f"photos/{number}.txt", str(number))
    write("model/weights.txt", "10")
    write(
        "code/batch_driver.py",
        """
        import glob, os
        from pathlib import Path
        import pandas as pd

        def init():
            global factor
            folder = glob.glob(os.environ["AZUREML_MODEL_DIR"] + "/*/")[0]
            factor = int(Path(folder, "weights.txt").read_text())
            assert os.path.join(os.environ["AZUREML_MODEL_DIR"], "model") == folder.rstrip("/")

        def run(mini_batch):
            assert len(mini_batch) <= 2
            rows = [(Path(path).name, int(Path(path).read_text()) * factor, os.environ["MODE"]) for path in mini_batch]
            return pd.DataFrame(rows, columns=["file", "class", "mode"])
    """,
    )
    return write(
        "deployment.yml",
        """
        $schema: https://azuremlschemas.azureedge.net/latest/modelBatchDeployment.schema.json
        endpoint_name: digits-batch
        name: digits-folder
        description: A deployment.
        type: model
        model:
          path: ./model
        code_configuration:
          code: code
          scoring_script: batch_driver.py
        environment:
          conda_file: environment/conda.yaml
          image: some/image
        compute: azureml:batch-cluster
        resources:
          instance_count: 1
        settings:
          max_concurrency_per_instance: 2
          mini_batch_size: 2
          output_action: append_row
          output_file_name: predictions.csv
          retry_settings:
            max_retries: 3
            timeout: 30
          error_threshold: -1
          logging_level: info
          environment_variables:
            MODE: a b
    """,
    )


@pytest.mark.usefixtures("deployment")
def test_a_batch_deployment_scores_what_it_is_given(command, here):
    result = json.loads(command("pipeline", "deployment.yml", "photos", "--json").stdout)
    text = Path(result["outputs"]["score"], "predictions.csv").read_text()
    assert sorted(text.splitlines()) == [f'{i}.txt {i * 10} "a b"' for i in range(5)]
    config = json.loads((here / result["steps"][0]["folder"] / "run.json").read_text())["config"]
    assert (config["run_max_try"], config["run_invocation_timeout"], config["process_count_per_node"]) == (4, 30, 2)


@pytest.mark.usefixtures("here")
def test_a_batch_deployment_of_the_older_form_and_what_is_wrong_with_one(deployment, command):
    text = deployment.read_text()
    head, _, settings = text.partition("settings:\n")
    older = head + "".join(line.removeprefix("  ") + "\n" for line in settings.splitlines())
    deployment.write_text(older.replace("mini_batch_size: 2", "mini_batch_size: 1"))
    result = json.loads(command("pipeline", "deployment.yml", "photos/1.txt", "photos/2.txt", "--json").stdout)
    assert result["status"] == "completed"
    assert "add files, folders or globs" in command("pipeline", "deployment.yml", code=2).stderr
    deployment.write_text(older.replace("output_file_name", "output_file"))
    assert "did you mean 'output_file_name'" in command("pipeline", "deployment.yml", "photos", code=2).stderr
    deployment.write_text(head.replace("code_configuration", "x_configuration"))
    assert (
        "unknown key 'x_configuration'; did you mean" in command("pipeline", "deployment.yml", "photos", code=2).stderr
    )
