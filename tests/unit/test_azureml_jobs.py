"""Files of pipelines and deployments as tasks: what becomes of what they say, before anything runs."""

import pytest

from batch_score.azureml.jobs.pipeline import load_pipeline
from batch_score.azureml.pipeline.key import check_here
from batch_score.azureml.pipeline.task import Data, DatasetPart, Made, OutputPort, ParallelWork, Task
from batch_score.config import ParallelRunConfig
from batch_score.errors import ConfigError


@pytest.fixture
def tasks(write):
    """The tasks of a pipeline, by name."""

    def read(text):
        return {task.name: task for task in load_pipeline(write("pipeline.yml", text)).submission.tasks}

    return read


COMPONENT = """
    type: parallel
    inputs: {d: {type: mltable}, n: {type: integer, default: 3}}
    outputs: {o: {type: uri_file}}
    input_data: ${{inputs.d}}
    task: {entry_script: score.py, append_row_to: "${{outputs.o}}"}
"""
TABLE = "paths: [{file: ./a.csv}]\ntransformations: [read_delimited]\n"
PORTS = """
    type: pipeline
    inputs: {d: {path: tab}, typed: {type: uri_folder, path: tab}}
    outputs: {o: {}, named: {path: out/x.csv}}
    jobs:
      path: {component: parallel.yml, inputs: {d: {path: tab, mode: direct}}, outputs: {o: {mode: upload}}}
      parent: {component: parallel.yml, inputs: {d: "${{parent.inputs.d}}"}, outputs: {o: "${{parent.outputs.o}}"}}
      mapping:
        component: parallel.yml
        inputs: {d: {path: "${{parent.inputs.typed}}"}}
        outputs: {o: {path: "${{parent.outputs.named}}", mode: upload}}
      other:
        component: parallel.yml
        inputs: {d: {path: tab, type: uri_folder}}
        outputs: {o: {type: uri_folder, path: there}}
      none: {component: parallel.yml, inputs: {d: "${{parent.jobs.path.outputs.o}}"}}
"""


def test_types_are_those_of_the_component_where_the_job_says_none(write, tasks, tmp_path):
    write("parallel.yml", COMPONENT)
    write("tab/MLTable", TABLE)
    found = tasks(PORTS)
    kinds = {name: task.work.datasets[0].kind for name, task in found.items()}
    assert kinds == {
        "path": "delimited",
        "parent": "delimited",
        "mapping": "delimited",
        "other": "file",
        "none": "mltable",
    }
    file = OutputPort("file", "parallel_run_step.txt")
    assert {name: task.outputs["o"] for name, task in found.items()} == {
        "path": file,
        "parent": file,
        "mapping": OutputPort("file", "x.csv", str(tmp_path / "out" / "x.csv")),
        "other": OutputPort("folder", "", str(tmp_path / "there")),
        "none": file,
    }
    assert found["path"].inputs["d"] == Data((str(tmp_path / "tab"),))
    assert found["none"].inputs["d"] == Made("path", "o")


PARALLEL = """
    type: pipeline
    inputs: {d: {path: files}, many: 2, keys: "a,b", gone: {type: string, optional: true}}
    jobs:
      score:
        type: parallel
        inputs: {d: "${{parent.inputs.d}}", n: 7}
        input_data: ${{inputs.d}}
        task: {entry_script: score.py}
        %s
      said: {type: command, command: echo}
"""
DEPLOYMENT = """
    endpoint_name: e
    code_configuration: {scoring_script: score.py}
    settings:
      %s
"""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("retry_settings: {max_retries: some}", "retry_settings.max_retries must be int, got 'some'"),
        ("retry_settings: {max_retries: 1.5}", "retry_settings.max_retries must be int, got 1.5"),
        ("retry_settings: {max_retries: -1}", "retry_settings.max_retries must be at least 0, got -1"),
        ("retry_settings: {timeout: soon}", "retry_settings.timeout must be float, got 'soon'"),
        ("environment_variables: [A]", r"environment_variables must be 'NAME: value' lines, found \['A'\]"),
    ],
)
def test_settings_of_the_wrong_kind_are_named(write, setting, message):
    for name, text, inputs in (("pipeline.yml", PARALLEL, ()), ("deployment.yml", DEPLOYMENT, ("files",))):
        with pytest.raises(ConfigError, match=rf"^\S*{name}: .*{message}"):
            load_pipeline(write(name, text % setting), inputs=inputs)


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("limits: {timeout: soon}", "jobs.said.limits.timeout must be float, got 'soon'"),
        ("limits: {timeout: 0}", "jobs.said.limits.timeout must be above 0, got 0"),
        ("environment_variables: A", "jobs.said.environment_variables must be 'NAME: value' lines, found 'A'"),
        ("component: {inputs: 5}", "jobs.said.inputs must be 'name: value' lines, found 5"),
    ],
)
def test_what_a_command_cannot_have_is_named(tasks, job, message):
    with pytest.raises(ConfigError, match=message):
        tasks(PARALLEL.replace("command: echo", f"command: echo, {job}") % "")


def test_settings_may_be_values_of_inputs(tasks):
    settings = """
        mini_batch_size: ${{parent.inputs.many}}
        retry_settings: {max_retries: "${{inputs.n}}", timeout: "1${{ parent.inputs.many }}"}
        environment_variables: {A: "<${{parent.inputs.many}}, ${{inputs.n}}>", B: 5}
        error_threshold: 3
    """
    task = tasks(PARALLEL % settings.strip())["score"]
    config = task.work.config
    assert (config.mini_batch_size, config.run_max_try, config.run_invocation_timeout) == ("2", 8, 12)
    assert config.error_threshold == 3
    assert task.environment == {"A": "<2, 7>", "B": "5"}
    keys = tasks(PARALLEL % "partition_keys: ${{parent.inputs.keys}}")["score"].work.config.partition_keys
    assert keys == ("a", "b")
    said = tasks(PARALLEL.replace("echo", 'echo, limits: {timeout: "${{parent.inputs.many}}"}') % "")["said"]
    assert said.work.timeout == 2


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "parent.inputs.d",
            r"jobs.score.mini_batch_size: \$\{\{parent.inputs.d\}\} is data, but a setting needs a number",
        ),
        ("parent.inputs.gone", "is an optional input that was not given, but a setting needs"),
        ("parent.inputs.may", "unknown input 'may'; did you mean 'many'"),
        ("inputs.m", "jobs.score.mini_batch_size: unknown input 'm'"),
        ("outputs.o", "cannot be in a setting; use"),
    ],
)
def test_a_setting_can_only_be_a_number_or_text(tasks, expression, message):
    with pytest.raises(ConfigError, match=message):
        tasks(PARALLEL % f"mini_batch_size: ${{{{{expression}}}}}")


def test_paths_of_this_machine_may_begin_with_file(tasks, write, tmp_path):
    write("here/component.yml", "type: command\ncode: file:./src\ncommand: echo ${{inputs.d}}\n")
    text = f"""
        type: pipeline
        inputs: {{d: {{path: "file:./data"}}, e: {{path: "file://{tmp_path}/e"}}, f: {{path: "file:{tmp_path}/f"}}}}
        outputs: {{o: {{type: uri_file, path: file:out/x.csv}}}}
        jobs:
          one:
            component: file:./here/component.yml
            inputs: {{d: "${{{{parent.inputs.d}}}}", e: "${{{{parent.inputs.e}}}}", f: "${{{{parent.inputs.f}}}}"}}
            outputs: {{o: "${{{{parent.outputs.o}}}}"}}
    """
    task = tasks(text)["one"]
    assert task.work.source_directory == str(tmp_path / "here" / "src")
    assert task.inputs == {
        name: Data((str(tmp_path / path),)) for name, path in (("d", "data"), ("e", "e"), ("f", "f"))
    }
    assert task.outputs["o"] == OutputPort("file", "x.csv", str(tmp_path / "out" / "x.csv"))
    with pytest.raises(ConfigError, match="files://x, which is not on this machine"):
        tasks(text.replace("file:./data", "files://x"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("task: {entry_script: score.py}", "", "jobs.score.task.entry_script is missing; name the script"),
        ("{entry_script: score.py}", "{type: run_function}", "jobs.score.task.entry_script is missing"),
        ("%s", "mini_batch_size: 10kb", "step 'score': mini_batch_size counts files for a FileDataset"),
    ],
)
def test_what_the_step_would_only_find_when_it_runs_is_found_before(tasks, write, old, new, message):
    write("score.py", "")
    write("files/a", "")
    assert old in PARALLEL
    check_here(tasks(PARALLEL % "mini_batch_size: 3")["score"])
    with pytest.raises(ConfigError, match=message):
        check_here(tasks(PARALLEL.replace(old, new).replace("%s", ""))["score"])


def test_a_step_of_pipeline_code_is_looked_at_too():
    def check(**settings):
        options = {"infer_column_types": {"sample_size": 5}}
        part = DatasetPart("rows", "delimited", options)
        check_here(Task("one", ParallelWork(ParallelRunConfig(**settings), (part,))))

    with pytest.raises(ConfigError, match="step 'one' has no entry_script"):
        check()
    with pytest.raises(ConfigError, match="step 'one': infer_column_types must be bool"):
        check(entry_script="score.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "$schema: https://x/latest/batchEndpoint.schema.json\nname: e\nauth_mode: aad_token\n",
            "a batch endpoint says nothing of what is run; give the file of one of its deployments",
        ),
        (
            "$schema: https://x/latest/pipelineComponentBatchDeployment.schema.json\ntype: pipeline\ncomponent: c\n",
            "deployments of pipeline components are not run by this version",
        ),
        ("name: x\n", "there is no type and there are no jobs; give a file of type pipeline with jobs"),
        ("type: command\ncommand: echo\n", "type is 'command' and there are no jobs; give"),
        ("type: automl\njobs: {}\n", "type is 'automl'; give"),
        (PARALLEL % "partition_keys: 5", "partition_keys must be a list of names, got 5"),
    ],
)
def test_what_is_no_pipeline_is_told_for_what_it_is(write, text, message):
    with pytest.raises(ConfigError, match=message):
        load_pipeline(write("file.yml", text), inputs=() if "jobs" in text else ("files",))
