"""Options: types, ranges and sizes as the ParallelRunStep contract has them; files that round-trip."""

import pickle
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.config import (
    DEFAULT_BYTES,
    ParallelRunConfig,
    ReaderOptions,
    mini_batch_bytes,
    mini_batch_files,
    parse_size,
)
from batch_score.config_file import read_yaml
from batch_score.errors import ConfigError
from batch_score.option import Option, plain, rules


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1024, 1024),
        ("1024", 1024),
        ("1024KB", 1 << 20),
        ("10MB", 10 << 20),
        ("1gb", 1 << 30),
        ("100 kb", 100 << 10),
        (" 7 ", 7),
        ("1Mb", 1 << 20),
    ],
)
def test_sizes_in_any_case_with_an_optional_space(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", 0, "0MB", "-1", "1.5MB", "MB", "1TB", "1 M B", "one", "1MB2", True])
def test_no_size(text):
    with pytest.raises(ConfigError, match="mini_batch_size must be like"):
        parse_size(text)


@given(number=st.integers(1, 10**9), unit=st.sampled_from(["", "k", "m", "g"]), space=st.text(" \t", max_size=3))
def test_a_size_is_a_number_times_its_unit(number, unit, space):
    factor = 1024 ** " kmg".index(unit or " ")
    assert parse_size(f"{space}{number}{space}{unit}{'b' if unit else ''}{space}") == number * factor


def test_defaults_of_a_mini_batch():
    assert mini_batch_bytes(None) == DEFAULT_BYTES == 1 << 20
    assert mini_batch_files(None) == 10


def test_files_are_counted():
    assert [mini_batch_files(value) for value in (1, "12", " 3 ")] == [1, 12, 3]


@pytest.mark.parametrize("value", ["1MB", "10kb", 0, "0", -1, "x", "", True, 1.5])
def test_a_number_of_files_has_no_unit(value):
    with pytest.raises(ConfigError, match="counts files for a FileDataset"):
        mini_batch_files(value)


def test_the_defaults_of_the_contract():
    config = ParallelRunConfig()
    assert config.error_threshold == -1
    assert config.tolerated_mini_batches is None
    assert config.allowed_failed_percent is None
    assert config.output_action == "append_row"
    assert config.append_row_file_name == "parallel_run_step.txt"
    assert config.append_row_dataframe_header is False
    assert (config.node_count, config.process_count_per_node) == (1, None)
    assert (config.run_invocation_timeout, config.run_max_try) == (60, 3)
    assert (config.task_overhead_timeout, config.first_task_creation_timeout) == (600, 600)
    assert (config.resource_monitor_interval, config.logging_level) == (600, "INFO")


def test_the_defaults_of_the_readers():
    options = ReaderOptions()
    assert (options.header, options.encoding, options.infer_column_types) == (True, "utf8", True)
    assert (options.empty_as_string, options.include_path) == (False, False)
    assert (options.support_multi_line, options.invalid_lines) == (True, "error")


def test_an_explicit_zero_is_a_value():
    config = ParallelRunConfig(error_threshold=0, allowed_failed_count=0, allowed_failed_percent=0)
    assert (config.error_threshold, config.tolerated_mini_batches, config.allowed_failed_percent) == (0, 0, 0)
    assert set(plain(config)) == {"error_threshold", "allowed_failed_count", "allowed_failed_percent"}


def test_minus_one_ignores_failed_mini_batches():
    assert ParallelRunConfig(allowed_failed_count=-1).tolerated_mini_batches is None


def test_the_derived_stall_timeout_exceeds_a_full_try():
    config = ParallelRunConfig(task_overhead_timeout=5, run_invocation_timeout=7)
    assert config.stall_timeout > 12
    assert config.stall_timeout > (3 * 7 + 30) + 12  # also after the longest init() that the breakers allow
    assert ParallelRunConfig(progress_update_timeout=3).stall_timeout == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("error_threshold", -2),
        ("error_threshold", "many"),
        ("error_threshold", 1.5),
        ("error_threshold", True),
        ("error_threshold", None),
        ("allowed_failed_count", -2),
        ("allowed_failed_percent", -0.1),
        ("allowed_failed_percent", 100.1),
        ("allowed_failed_percent", float("nan")),
        ("output_action", "append"),
        ("append_row_file_name", "folder/x.csv"),
        ("append_row_file_name", "x.csv/"),
        ("append_row_file_name", ""),
        ("append_row_file_name", "."),
        ("append_row_file_name", ".."),
        ("append_row_dataframe_header", "perhaps"),
        ("append_row_dataframe_header", 2),
        ("node_count", 0),
        ("node_count", 2),
        ("process_count_per_node", 0),
        ("mini_batch_size", "1TB"),
        ("mini_batch_size", 0),
        ("run_invocation_timeout", 0),
        ("run_invocation_timeout", float("nan")),
        ("run_invocation_timeout", False),
        ("run_max_try", 0),
        ("task_overhead_timeout", 0),
        ("progress_update_timeout", 0),
        ("first_task_creation_timeout", -1),
        ("resource_monitor_interval", -1),
        ("logging_level", "LOUD"),
        ("environment_variables", "A=1"),
        ("environment_variables", ["A"]),
        ("engine", "ray"),
        ("device", "gpu"),
        ("gpu_names", "name"),
    ],
)
def test_out_of_range(name, value):
    with pytest.raises(ConfigError, match=name):
        ParallelRunConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("separator", ""),
        ("separator", ";;"),
        ("separator", "é"),
        ("encoding", "ebcdic"),
        ("header", "no_header"),
        ("set_column_types", ["a"]),
        ("invalid_lines", "skip"),
    ],
)
def test_reader_options_out_of_range(name, value):
    with pytest.raises(ConfigError, match=name):
        ReaderOptions(**{name: value})


@pytest.mark.parametrize(
    ("cls", "name", "value", "message"),
    [
        (ReaderOptions, "set_column_types", ("amount",), "NAME=TYPE, e.g. amount=int64; got 'amount'"),
        (ReaderOptions, "set_column_types", "amount", "NAME=TYPE, e.g. amount=int64; got 'amount'"),
        (ParallelRunConfig, "environment_variables", ["A=1", "B"], "NAME=VALUE, e.g. COLOUR=red; got 'B'"),
    ],
)
def test_names_and_values_have_a_form(cls, name, value, message):
    with pytest.raises(ConfigError) as raised:
        cls(**{name: value})
    assert str(raised.value) == f"{name} must be {message}"


@pytest.mark.parametrize(
    ("name", "given_", "wanted"),
    [
        ("error_threshold", "10", 10),
        ("error_threshold", 10.0, 10),
        ("run_invocation_timeout", "1.5", 1.5),
        ("run_invocation_timeout", 518_400, 518_400.0),
        ("append_row_dataframe_header", "TRUE", True),
        ("append_row_dataframe_header", "false", False),
        ("append_row_dataframe_header", 1, True),
        ("output_action", "Summary_Only", "summary_only"),
        ("logging_level", "warn", "WARN"),
        ("logging_level", "debug", "DEBUG"),
        ("features", "a,b", ("a", "b")),
        ("features", ["a", "b"], ("a", "b")),
        ("environment_variables", ["A=1", "B=x=y"], {"A": "1", "B": "x=y"}),
        ("environment_variables", {"A": 1}, {"A": "1"}),
        ("key", "a, b", "a, b"),
        ("key", ["auto", "a,b"], ("auto", "a,b")),
        ("mini_batch_size", "1MB", "1MB"),
        ("mini_batch_size", 7, 7),
        ("allowed_failed_percent", 100, 100.0),
    ],
)
def test_values_are_brought_to_their_type(name, given_, wanted):
    value = getattr(ParallelRunConfig(**{name: given_}), name)
    assert value == wanted
    assert type(value) is type(wanted)


@pytest.mark.parametrize(
    ("cls", "wrong", "near"),
    [
        (ParallelRunConfig, "error_treshold", "error_threshold"),
        (ParallelRunConfig, "item_error_treshold", "error_threshold"),
        (ReaderOptions, "seperator", "separator"),
    ],
)
def test_an_unknown_keyword_names_the_nearest(cls, wrong, near):
    with pytest.raises(ConfigError, match=f"{wrong}.*{near}"):
        cls(**{wrong: 1})


def test_a_reader_option_among_the_settings_is_sent_to_the_dataset():
    with pytest.raises(ConfigError, match=r"has no separator: give it to TabularDataset\.from_delimited_files"):
        ParallelRunConfig(separator=";")


@pytest.mark.parametrize(("cls", "example"), [(ParallelRunConfig, "entry_script"), (ReaderOptions, "separator")])
def test_settings_are_given_by_name(cls, example):
    with pytest.raises(ConfigError, match=f"{cls.__name__} takes names and values, as {example}=...; got 'score.py'"):
        cls("score.py")


def test_an_unknown_key_of_a_file_names_file_key_and_nearest(tmp_path):
    file = tmp_path / "c.yml"
    file.write_text("run-max-tries: 3\n")
    with pytest.raises(ConfigError, match=r"c\.yml: unknown parameter 'run_max_tries'; did you mean 'run_max_try'"):
        ParallelRunConfig.load_yaml(file)


def test_an_unknown_key_like_no_other_lists_what_is_known(tmp_path):
    file = tmp_path / "c.yml"
    file.write_text("zzz: 3\n")
    with pytest.raises(ConfigError, match="known are entry_script, source_directory"):
        ParallelRunConfig.load_yaml(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [("a: [1\n", r"line 2: not a YAML file: "), ("- a\n", "found list"), ("", "found NoneType"), ("3", "found int")],
)
def test_a_file_that_is_no_configuration(tmp_path, content, message):
    file = tmp_path / "c.yml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(file, ParallelRunConfig)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yml: No such file"):
        ParallelRunConfig.load_yaml(tmp_path / "gone.yml")


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "c.yml").write_bytes(b"a: \xff\xfe\n")
    with pytest.raises(ConfigError, match="not a YAML file"):
        ParallelRunConfig.load_yaml(tmp_path / "c.yml")


def test_keys_may_have_dashes(tmp_path):
    file = tmp_path / "c.yml"
    file.write_text("mini-batch-size: 4MB\nseparator: ;\n")
    assert read_yaml(file, ParallelRunConfig, ReaderOptions) == {"mini_batch_size": "4MB", "separator": ";"}


CONFIGS = st.builds(
    ParallelRunConfig,
    entry_script=st.none() | st.text(min_size=1),
    mini_batch_size=st.none() | st.integers(1, 10**6) | st.sampled_from(["1MB", "7 kb", "9"]),
    error_threshold=st.integers(-1, 2**31 - 1),
    allowed_failed_count=st.none() | st.integers(-1, 5),
    allowed_failed_percent=st.none() | st.floats(0, 100),
    append_row_file_name=st.from_regex(r"[a-z]{1,5}\.(txt|csv)", fullmatch=True),
    append_row_dataframe_header=st.booleans(),
    key=st.sampled_from(["auto", "none", "a,b", "no", "1", ("auto",), ("a,b", "c")]),
    run_invocation_timeout=st.floats(0.001, 1e6),
    logging_level=st.sampled_from(["INFO", "debug", "WARN"]),
    environment_variables=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=5)),
    features=st.none() | st.lists(st.text(min_size=1, max_size=3), max_size=3),
    description=st.none() | st.text(),
)


@given(config=CONFIGS)
def test_a_configuration_file_round_trips(tmp_path, config):
    config.save_to_yaml(tmp_path / "c.yml")
    assert ParallelRunConfig.load_yaml(tmp_path / "c.yml") == config


@given(config=CONFIGS)
def test_a_configuration_pickles_and_can_be_replaced(config):
    assert pickle.loads(pickle.dumps(config)) == config
    assert replace(config, run_max_try=9).run_max_try == 9


@pytest.mark.parametrize("cls", [ParallelRunConfig, ReaderOptions])
def test_every_field_is_an_option_with_help(cls):
    for field in fields(cls):
        rule = rules(field)
        assert isinstance(rule, Option)
        assert rule.help, field.name
        assert not rule.help.endswith("."), field.name
