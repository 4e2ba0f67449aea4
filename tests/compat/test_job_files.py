"""YAML files of CLI v2: pipelines with command and parallel jobs, as the public samples have them."""

import ast
import json
import time
from pathlib import Path

import pytest

SPLIT = """
    import argparse, pathlib
    import pandas as pd

    parser = argparse.ArgumentParser()
    parser.add_argument("--table")
    parser.add_argument("--key")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--parts")
    args = parser.parse_args()
    table = pd.read_csv(args.table).head(args.limit)
    out = pathlib.Path(args.parts)
    for value, part in table.groupby(args.key):
        part.drop(columns=[args.key]).to_csv(out / f"{value}.csv", index=False)
    (out / "MLTable").write_text(
        "paths:\\n  - pattern: ./*.csv\\ntransformations:\\n"
        "  - read_delimited: {delimiter: ',', encoding: ascii, header: all_files_same_headers}\\n"
        "  - convert_column_types: [{columns: [amount], column_type: float}]\\n"
    )
    print("rows", len(table))
"""
COMPONENT = """
    $schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
    type: command
    name: split_by_key
    version: 1
    inputs:
      table: {type: uri_file}
      key: {type: string}
      limit: {type: integer, optional: true}
    outputs:
      parts: {type: mltable}
    code: ./
    environment: azureml:some-env:1
    command: >-
      echo splitting && python split.py --table ${{inputs.table}} --key ${{inputs.key}}
      $[[--limit ${{inputs.limit}}]] --parts ${{outputs.parts}}
"""
SCALE = """
    import argparse, os
    from pathlib import Path

    def init():
        global args
        parser = argparse.ArgumentParser()
        parser.add_argument("--factor", type=float)
        parser.add_argument("--note", default="none")
        parser.add_argument("--keep_folder")
        args, _ = parser.parse_known_args()
        Path(args.keep_folder).mkdir(parents=True, exist_ok=True)

    def run(mini_batch):
        Path(args.keep_folder, f"{len(mini_batch)}.txt").write_text(os.environ["SALES_EXAMPLE"] + args.note)
        mini_batch["scaled"] = mini_batch["amount"] * args.factor
        return mini_batch
"""
PIPELINE = """
    $schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
    type: pipeline
    display_name: split and scale
    experiment_name: sales
    tags: {owner: somebody}
    inputs:
      sales: {type: uri_file, path: ./data/sales.csv}
      factor: 2.5
      note: {type: string, optional: true}
    outputs:
      scaled: {type: uri_file, mode: rw_mount}
    settings:
      default_compute: azureml:cpu-cluster
    jobs:
      split:
        type: command
        component: ./src/split/split.yml
        inputs:
          table: ${{parent.inputs.sales}}
          key: store
      scale:
        type: parallel
        compute: azureml:cpu-cluster
        inputs:
          rows: {type: mltable, path: "${{parent.jobs.split.outputs.parts}}", mode: direct}
          factor: ${{parent.inputs.factor}}
          note: ${{parent.inputs.note}}
        outputs:
          result: ${{parent.outputs.scaled}}
          kept: {type: uri_folder}
        input_data: ${{inputs.rows}}
        mini_batch_size: "1kb"
        resources: {instance_count: 2}
        max_concurrency_per_instance: 2
        logging_level: "DEBUG"
        error_threshold: 5
        mini_batch_error_threshold: 5
        retry_settings: {max_retries: 1, timeout: 50}
        environment_variables:
          SALES_EXAMPLE: "1"
        task:
          type: run_function
          code: ./src/scale
          entry_script: scale.py
          environment: {image: some/image, conda_file: ./conda.yml}
          program_arguments: >-
            --factor ${{inputs.factor}}
            $[[--note ${{inputs.note}}]]
            --keep_folder ${{outputs.kept}}
            --allowed_failed_percent 30
            --task_overhead_timeout 1200
            --resource_monitor_interva 20
          append_row_to: ${{outputs.result}}
"""


@pytest.fixture
def sales(write):
    """A folder with the pipeline, its component and scripts, and a table of 90 rows of three stores."""
    write("data/sales.csv", "store,amount\n" + "".join(f"s{i % 3},{i}\n" for i in range(90)))
    write("src/split/split.py", SPLIT)
    write("src/split/split.yml", COMPONENT)
    write("src/scale/scale.py", SCALE)
    return write("pipeline.yml", PIPELINE)


def scaled(result):
    return Path(result["outputs"]["scaled"]).read_text()


def states(result):
    return {step["name"]: "reused" if step["reused"] else step["status"] for step in result["steps"]}


@pytest.mark.usefixtures("sales")
def test_a_pipeline_with_a_component_and_optional_inputs(command, here):
    done = command("pipeline", "pipeline.yml", "--json", "--quiet")
    result = json.loads(done.stdout)
    assert states(result) == {"split": "completed", "scale": "completed"}
    lines = scaled(result).splitlines()
    assert sorted(lines) == sorted(f"{i}.0 {i * 2.5}" for i in range(90))
    folder = here / "runs" / "sales" / Path(result["run_dir"]).name
    assert (folder / "split/logs/70_driver_log.txt").read_text() == "splitting\nrows 90\n"
    assert (folder / "scale/outputs/kept/30.txt").read_text() == "1none"
    record = json.loads((folder / "scale/run.json").read_text())
    assert record["config"] | {
        "run_max_try": 2, "run_invocation_timeout": 50.0, "mini_batch_size": "1kb", "error_threshold": 5,
        "allowed_failed_count": 5, "allowed_failed_percent": 30.0, "task_overhead_timeout": 1200.0,
        "resource_monitor_interval": 20.0, "process_count_per_node": 2, "logging_level": "DEBUG",
    } == record["config"]  # fmt: skip
    assert done.stderr.splitlines() == [
        "note: pipeline.yml: read, but without effect on this machine: compute, default_compute, environment, resources"
    ]


@pytest.mark.usefixtures("sales")
def test_the_second_time_all_steps_are_used_again_in_under_a_second(command):
    command("pipeline", "pipeline.yml")
    began = time.monotonic()
    result = json.loads(command("pipeline", "pipeline.yml", "--json").stdout)
    assert time.monotonic() - began < 1  # the start of the interpreter included
    assert set(states(result).values()) == {"reused"}
    assert Path(result["outputs"]["scaled"]).exists()
    assert "reused" not in states(json.loads(command("pipeline", "pipeline.yml", "--json", "--force").stdout)).values()


@pytest.mark.usefixtures("sales")
def test_values_can_be_set_from_the_command_line(command, here, write):
    command("pipeline", "pipeline.yml")
    done = command("pipeline", "pipeline.yml", "--json", "--set", "inputs.factor=3", "--set", "inputs.note=two words")
    result = json.loads(done.stdout)
    assert states(result) == {"split": "reused", "scale": "completed"}
    assert (here / result["steps"][1]["folder"] / "outputs/kept/30.txt").read_text() == "1two words"
    write("other/few.csv", "store,amount\ns1,7\n")
    result = json.loads(command("pipeline", "pipeline.yml", "--json", "--set", "inputs.sales=other/few.csv").stdout)
    assert scaled(result) == "7.0 17.5\n"
    result = json.loads(command("pipeline", "pipeline.yml", "--json", "--set", "jobs.split.inputs.limit=6").stdout)
    assert scaled(result).count("\n") == 6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("error_threshold: 5", "item_eror_threshold: 5", "pipeline.yml: jobs.scale: unknown key 'item_eror_threshold'"),
        ("max_retries: 1", "max_retrys: 1", "'max_retrys'; did you mean 'max_retries'"),
        ("$[[--note ${{inputs.note}}]]", "--note ${{inputs.note}}", "is an optional input that was not given"),
        ("${{inputs.factor}}", "${{inputs.facter}}", "unknown input 'facter'; did you mean 'factor'"),
        ("parent.inputs.sales", "parent.inputs.sale", "unknown input of the pipeline 'sale'; did you mean 'sales'"),
        ("jobs.split.outputs.parts", "jobs.splits.outputs.parts", "step 'scale' needs 'splits', which is no step"),
        ("jobs.split.outputs.parts", "jobs.split.outputs.part", "'part' of 'split', whose outputs are: parts"),
        ("path: ./data/sales.csv", "path: azureml:sales:1", "is azureml:sales:1, which is not on this machine"),
        ("path: ./data/sales.csv", "path: ./data/gone.csv", "data/gone.csv"),
        ("code: ./src/scale", "code: ./src/gone", "src/gone: no such folder"),
        ("entry_script: scale.py", "model: gone.pkl", "jobs.scale.task.entry_script is missing; name the script"),
        ("entry_script: scale.py", "entry_script: gone.py", "src/scale/gone.py: no such file"),
        ("max_concurrency_per_instance: 2", "max_concurrency_per_instance: 0", "max_concurrency_per_instance must be"),
        ("type: parallel", "type: sweep", "jobs of type sweep are not run by this version"),
        ("key: store", "kee: store", "unknown input 'kee'; did you mean 'key'"),
        ("key: store", "limit: 3", "jobs.split.inputs.key has no value"),
        ("append_row_to: ${{outputs.result}}", "append_row_to: result", "append_row_to must be ${{outputs.NAME}}"),
        ('mini_batch_size: "1kb"', 'mini_batch_size: "1 tb"', "jobs.scale: mini_batch_size must be like"),
        ("input_data: ${{inputs.rows}}", "input_data: rows", "input_data must be ${{inputs.NAME}}; the inputs are"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_runs(sales, command, here, old, new, message):
    text = sales.read_text()
    assert old in text
    sales.write_text(text.replace(old, new, 1))
    done = command("pipeline", "pipeline.yml", code=2)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (here / "runs").exists()


@pytest.mark.usefixtures("sales")
def test_a_command_that_fails_ends_the_pipeline_and_tells_its_log(command, here, write):
    write("src/split/split.py", "raise SystemExit('no such store')\n")
    done = command("pipeline", "pipeline.yml", code=1)
    log = next((here / "runs/sales").glob("*/split/logs/70_driver_log.txt"))
    assert log.read_text().endswith("no such store\n")
    assert f"log {log}" in done.stdout
    assert "no such store" in done.stdout
    assert "step split failed: its process ended with exit code 1" in done.stdout


@pytest.mark.usefixtures("here")
def test_a_command_that_takes_too_long_is_ended(write, command):
    write(
        "slow.yml",
        """
        type: pipeline
        jobs:
          slow: {type: command, command: sleep 60, limits: {timeout: 0.2}}
    """,
    )
    began = time.monotonic()
    done = command("pipeline", "slow.yml", code=1)
    assert time.monotonic() - began < 20
    assert "it took longer than its limit of 0.2 s; raise limits.timeout" in done.stdout


def test_tables_and_values_in_commands(here, write, command):
    """Literals are put in as they stand, paths with spaces stay one word, outputs go where the file says."""
    write("some data/in.txt", "hello")
    write(
        "nested/pipeline.yml",
        """
        type: pipeline
        inputs:
          words: a b
        jobs:
          one:
            type: command
            command: >-
              echo ${{inputs.words}} > ${{outputs.said}};
              cat ${{inputs.file}} "${{inputs.file}}" >> "${{outputs.said}}"
            inputs:
              words: ${{parent.inputs.words}}
              file: {type: uri_file, path: ../some data/in.txt}
            outputs:
              said: {type: uri_file, path: "../out put/said.txt"}
    """,
    )
    command("pipeline", "nested/pipeline.yml")
    assert (here / "out put/said.txt").read_text() == "a b\nhellohello"


def test_scripts_of_commands_find_azureml_core(here, write, command):
    pytest.importorskip("batch_score.azureml.core", reason="the names of azureml.core are not here yet")
    write(
        "code/use.py",
        """
        import sys
        from azureml.core import Run

        run = Run.get_context()
        run.log("size", 3)
        print(run.id, *sys.argv[1:])
        """,
    )
    write("code/copy.py", "raise SystemExit('taken for the module of that name')\n")
    write(
        "pipeline.yml",
        """
        type: pipeline
        jobs:
          use: {type: command, code: code, command: "python -u use.py a 'b c' && python3 -c 'print(5)'"}
        """,
    )
    command("pipeline", "pipeline.yml")
    folder = next((here / "runs/pipeline").glob("*/use"))
    assert (folder / "logs/70_driver_log.txt").read_text() == f"pipeline-{folder.parent.name}-use a b c\n5\n"
    assert "size" in (folder / "metrics.jsonl").read_text()


def test_an_mltable_is_read_as_it_says(here, write, command):
    write(
        "tables/MLTable",
        """
        type: mltable
        paths:
          - pattern: ./2024/*.tsv
          - file: ../extra.tsv
        transformations:
          - read_delimited:
              delimiter: "\\t"
              header: no_header
              partition_size: 20971520
              path_column: Path
              infer_column_types: false
              empty_as_string: true
          - keep_columns: [Column1, Column3]
    """,
    )
    write("tables/2024/a.tsv", "1\t2\t3\n4\t5\t\n")
    write("extra.tsv", "7\t8\t9\n")
    write("score.py", "def run(mini_batch):\n    return [repr(row) for row in mini_batch.to_dict('records')]\n")
    pipeline = write(
        "pipeline.yml",
        """
        type: pipeline
        jobs:
          read:
            type: parallel
            inputs: {rows: {type: mltable, path: ./tables}}
            outputs: {out: {type: uri_folder}}
            input_data: ${{inputs.rows}}
            task: {entry_script: score.py, append_row_to: "${{outputs.out}}"}
    """,
    )
    done = command("pipeline", "pipeline.yml", "--json")
    assert "note: pipeline.yml: read, but without effect on this machine: partition_size\n" in done.stderr
    result = json.loads(done.stdout)
    text = (here / result["steps"][0]["folder"] / "outputs/out/parallel_run_step.txt").read_text()
    rows = sorted(tuple(ast.literal_eval(line).values()) for line in text.splitlines())
    assert rows == [("1", "3"), ("4", ""), ("7", "9")]
    for change in ("- take: 3", "- filter: \"col('Column1') > 1\""):
        table = here / "tables" / "MLTable"
        table.write_text(table.read_text() + f"  {change}\n")
        assert "is not done by this version" in command("pipeline", "pipeline.yml", code=2).stderr
    assert pipeline.exists()


def test_files_of_a_folder_and_an_output_named_by_the_file(here, write, command):
    for name in "abc":
        write(f"images/{name}.txt", name)
    write(
        "names.py",
        """
        import os

        def run(mini_batch):
            assert len(mini_batch) <= 2
            return [os.path.basename(path) for path in mini_batch]
    """,
    )
    write(
        "pipeline.yml",
        """
        type: pipeline
        jobs:
          names:
            type: parallel
            inputs: {images: {type: uri_folder, path: ./images}}
            outputs:
              out:
                type: uri_file
                path: azureml://datastores/${{default_datastore}}/paths/${{name}}/returns.csv
            input_data: ${{inputs.images}}
            mini_batch_size: "2"
            task: {type: run_function, code: ., entry_script: names.py, append_row_to: "${{outputs.out}}"}
    """,
    )
    result = json.loads(command("pipeline", "pipeline.yml", "--json").stdout)
    text = (here / result["steps"][0]["folder"] / "outputs/out/returns.csv").read_text()
    assert sorted(text.splitlines()) == ["a.txt", "b.txt", "c.txt"]


def test_partition_keys_of_folders_that_a_step_has_written(write, command):
    """One mini-batch for each store and brand, whose values are in the paths and come back as columns, if kept."""
    write("sales.csv", "store,brand,amount\n" + "".join(f"s{i % 3},b{i % 2},{i}\n" for i in range(60)))
    write(
        "code/split.py",
        """
        import pathlib, sys
        import pandas as pd

        out = pathlib.Path(sys.argv[2])
        for (store, brand), part in pd.read_csv(sys.argv[1]).groupby(["store", "brand"]):
            (out / store / brand).mkdir(parents=True)
            part.drop(columns=["store", "brand"]).to_parquet(out / store / brand / "part.parquet", index=False)
        (out / "MLTable").write_text(
            "paths: [{pattern: ./**/*.parquet}]\\ntransformations:\\n"
            "  - read_parquet: {include_path_column: true, path_column: Path, partition_size: 9}\\n"
            "  - extract_columns_from_partition_format: '{store}/{brand}/{file_name}.{extension}'\\n"
            "  - drop_columns: [Path, brand, file_name, extension]\\n"
        )
        """,
    )
    write(
        "train.py",
        """
        def run(mini_batch, context):
            keys = context.partition_key_value
            assert list(mini_batch.columns) == ["amount", "store"]
            return [f"{keys['store']} {keys['brand']} {len(mini_batch)} {mini_batch['amount'].sum()}"]
        """,
    )
    write(
        "pipeline.yml",
        """
        type: pipeline
        inputs: {sales: {type: uri_file, path: sales.csv}}
        jobs:
          split:
            type: command
            code: code
            command: python split.py ${{inputs.sales}} ${{outputs.parts}}
            inputs: {sales: "${{parent.inputs.sales}}"}
            outputs: {parts: {type: mltable}}
          train:
            type: parallel
            inputs: {rows: "${{parent.jobs.split.outputs.parts}}"}
            outputs: {out: {type: uri_folder}}
            input_data: ${{inputs.rows}}
            partition_keys: [store, brand]
            mini_batch_size: 1kb
            task: {entry_script: train.py, append_row_to: "${{outputs.out}}"}
        """,
    )
    done = command("pipeline", "pipeline.yml", "--json")
    assert "jobs.train: partition_keys cut the input, so mini_batch_size does not count" in done.stderr
    assert "outputs/parts: read, but without effect on this machine: partition_size" in done.stderr
    out = Path(json.loads(done.stdout)["steps"][1]["folder"], "outputs/out/parallel_run_step.txt")
    wanted = {(s, b): [i for i in range(60) if (i % 3, i % 2) == (s, b)] for s in range(3) for b in range(2)}
    assert sorted(out.read_text().splitlines()) == [
        f"s{store} b{brand} {len(rows)} {sum(rows)}" for (store, brand), rows in sorted(wanted.items())
    ]
