"""What a step is made of: refused in one sentence when it is something else."""

from pathlib import Path

import pytest

from batch_score import FileDataset, ParallelRunConfig, ParallelRunStep
from batch_score.errors import ConfigError
from batch_score.job.step import checked_inputs

CONFIG = ParallelRunConfig(entry_script="score.py")


@pytest.fixture
def dataset(tmp_path):
    (tmp_path / "a.bin").touch()
    return FileDataset.from_files(str(tmp_path))


def test_one_dataset_needs_no_list(dataset):
    assert checked_inputs(dataset) == checked_inputs([dataset]) == (dataset,)
    assert checked_inputs([]) == ()  # refused with the job's other faults
    assert ParallelRunStep("one-dataset", CONFIG, dataset).name == "one-dataset"


@pytest.mark.parametrize("inputs", ["loans.csv", Path("loans.csv"), ["loans.csv"], None, [None]])
def test_what_is_no_dataset_is_refused(inputs):
    with pytest.raises(ConfigError, match=r"inputs must be datasets, got .*; make one .*from_delimited_files"):
        ParallelRunStep("a-step", CONFIG, inputs)


@pytest.mark.parametrize("config", [{"entry_script": "score.py"}, "score.py", None])
def test_what_is_no_configuration_is_refused(config, dataset):
    with pytest.raises(ConfigError, match=r"must be a ParallelRunConfig, got \w+; give ParallelRunConfig\(entry_"):
        ParallelRunStep("a-step", config, [dataset])
