import logging

import pytest

from batch_score.errors import ConfigError
from batch_score.output.settings import read_settings


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        (tmp_path / "parallel_run_step.settings.json").write_text(text)
        return read_settings(tmp_path / "score.py")

    return write_and_read


def test_no_file_overrides_nothing(tmp_path):
    assert read_settings(tmp_path / "score.py") == {}


def test_the_arguments_of_to_csv_are_read(read):
    text = '{"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "index": true}}}'
    assert read(text) == {"sep": ",", "index": True}
    assert read("\ufeff" + text) == {"sep": ",", "index": True}
    assert read("{}") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "must have the form"),
        ('{"append_row": 1}', "'append_row' must be an object, not 1"),
        ('{"append_row": {"pandas.DataFrame.to_csv": "x"}}', "must be an object, not 'x'"),
        ('{"append_row": {"pandas.DataFrame.to_csv": {"seperator": ","}}}', "no argument 'seperator'"),
        ('{"append_row": {"pandas.DataFrame.to_csv": {"indx": true}}}', "did you mean 'index'"),
        ('{"append_row": {"pandas.DataFrame.to_csv": {"path_or_buf": "x"}}}', "cannot be overridden"),
    ],
)
def test_a_malformed_file_is_refused_by_path(read, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        read(text)
    assert "parallel_run_step.settings.json" in str(caught.value)


def test_a_section_that_nothing_reads_is_logged(read, caplog):
    with caplog.at_level(logging.WARNING):
        read('{"append_rows": {}}')
    assert "ignored 'append_rows'" in caplog.text
