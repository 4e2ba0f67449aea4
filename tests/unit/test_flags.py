"""Runtime flags among the script's arguments, and what a worker finds on sys.argv."""

import argparse

import pytest

from batch_score.config import ParallelRunConfig
from batch_score.errors import ConfigError
from batch_score.flags import FLAGS, script_arguments, with_flags

DEFAULT = ParallelRunConfig()


@pytest.mark.parametrize(
    ("arguments", "name", "value"),
    [
        (["--error_threshold", "7"], "error_threshold", 7),
        (["--error_threshold=7"], "error_threshold", 7),
        (["--error_threshold", "-1"], "error_threshold", -1),
        (["--allowed_failed_count", "3"], "allowed_failed_count", 3),
        (["--allowed_failed_percent=12.5"], "allowed_failed_percent", 12.5),
        (["--task_overhead_timeout", "5"], "task_overhead_timeout", 5.0),
        (["--progress_update_timeout", "5"], "progress_update_timeout", 5.0),
        (["--first_task_creation_timeout", "5"], "first_task_creation_timeout", 5.0),
        (["--resource_monitor_interval", "0"], "resource_monitor_interval", 0.0),
        (["--append_row_dataframe_header", "TRUE"], "append_row_dataframe_header", True),
        (["--append_row_file_name", "x.csv"], "append_row_file_name", "x.csv"),
        (["--logging_level", "debug"], "logging_level", "DEBUG"),
        (["--profiling_module", "cProfile"], "profiling_module", "cProfile"),
        (["--profiling_module=profile"], "profiling_module", "profile"),
        (["--x", "1", "--error_threshold", "2", "--y"], "error_threshold", 2),
        (["--error_threshold", "2", "--error_threshold", "3"], "error_threshold", 3),
    ],
)
def test_a_flag_sets_its_parameter(arguments, name, value):
    assert getattr(with_flags(DEFAULT, arguments), name) == value


def test_all_flags_of_the_contract_that_have_an_effect():
    assert set(FLAGS) == {
        "error_threshold",
        "allowed_failed_count",
        "allowed_failed_percent",
        "task_overhead_timeout",
        "progress_update_timeout",
        "first_task_creation_timeout",
        "resource_monitor_interval",
        "append_row_dataframe_header",
        "append_row_file_name",
        "logging_level",
        "profiling_module",
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--error_threshold", "many"],
        ["--error_threshold", "-5"],
        ["--resource_monitor_interval=-1"],
        ["--append_row_dataframe_header", "--other"],
        ["--append_row_file_name", "a/b.csv"],
    ],
)
def test_a_whole_flag_with_a_bad_value_is_an_error(arguments):
    with pytest.raises(ConfigError, match=arguments[0].lstrip("-").partition("=")[0]):
        with_flags(DEFAULT, arguments)


def test_a_unique_prefix_is_the_flag():
    assert with_flags(DEFAULT, ["--resource_monitor_interva", "20"]).resource_monitor_interval == 20


@pytest.mark.parametrize(
    "arguments",
    [
        ["--e", "adam"],  # unique, but no value of error_threshold
        ["--error_thresh=high"],
        ["--allowed_failed", "3"],  # two flags begin so
        ["--a", "3"],
        ["--p", "0.5"],  # progress_update_timeout, or profiling_module
        ["--re", "3"],  # resource_monitor_interval, or resume_from
        ["--append_row", "x.csv"],
        ["--error_threshold_of_mine", "3"],  # longer than the flag
        ["--error_threshold"],  # nothing follows
        ["error_threshold", "3"],
        ["-error_threshold", "3"],
        ["--", "3"],
        ["--=3"],
        ["--model", "m.pkl", "positional"],
        [],
    ],
)
def test_what_is_the_scripts_own(arguments):
    assert with_flags(DEFAULT, arguments) == DEFAULT


def test_system_arguments_come_first_and_attached():
    config = ParallelRunConfig(append_row_file_name="x.csv", logging_level="DEBUG")
    found = script_arguments(config, "/out put", ["--batch_size", 20, "--rate", 0.5])
    assert found == [
        "--output=/out put",
        "--append_row_file_name=x.csv",
        "--logging_level=DEBUG",
        "--batch_size",
        "20",
        "--rate",
        "0.5",
    ]


def test_without_an_output_folder_there_is_no_output_argument():
    assert not any(text.startswith("--output") for text in script_arguments(DEFAULT, None, []))


def test_a_scripts_output_dir_is_its_own():
    """argparse takes --output for a prefix of --output_dir; the script's own value must win."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir")
    parser.add_argument("names", nargs="*")
    found, _ = parser.parse_known_args(script_arguments(DEFAULT, "/system", ["--output_dir", "/mine", "a"]))
    assert found.output_dir == "/mine"
    assert found.names == ["a"]


def test_flags_stay_on_the_scripts_command_line():
    arguments = ["--error_threshold", "3"]
    assert script_arguments(with_flags(DEFAULT, arguments), None, arguments)[-2:] == arguments


@pytest.mark.parametrize(
    "arguments",
    [
        ["--amlbi_async_mode", "True"],
        ["--resume_from", "run-1"],
        ["--amlbi_pf_enabled=true"],
    ],
)
def test_what_a_job_would_miss_is_refused(arguments):
    with pytest.raises(ConfigError, match="this version does not do that"):
        with_flags(ParallelRunConfig(), arguments)


def test_what_changes_nothing_is_left_to_the_script():
    assert with_flags(ParallelRunConfig(), ["--amlbi_async_mode", "False", "--copy_logs_to_parent", "True"]) == (
        ParallelRunConfig()
    )
