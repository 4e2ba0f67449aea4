"""MLTable files: paths, readers, and what is refused."""

import pytest

from batch_score.azureml.jobs.mltable import read_mltable
from batch_score.errors import ConfigError, InputError

TYPED = "paths: [{file: a}]\ntransformations: [{convert_column_types: [{columns: a, column_type: %s}]}]"


@pytest.fixture
def table(tmp_path):
    def read(text):
        (tmp_path / "MLTable").write_text(text, encoding="utf-8")
        return read_mltable(str(tmp_path))

    return read


def test_without_a_reader_it_is_files(table, tmp_path):
    found = table("type: mltable\npaths:\n  - folder: ./images\n  - pattern: ../*.png\n")
    assert found.kind == "file"
    assert found.paths == (str(tmp_path / "images"), str(tmp_path.parent / "*.png"))
    assert table("paths: [{file: 'file:./a.csv'}, {file: 'file:///b.csv'}]\n").paths == (
        str(tmp_path / "a.csv"),
        "/b.csv",
    )


def test_each_reader_has_its_options_by_our_names(table):
    found = table(
        "paths: [{file: a.csv}]\ntransformations:\n"
        "- read_delimited: {delimiter: ';', header: no_header, encoding: utf-8, include_path_column: true,"
        " support_multi_line: false, infer_column_types: false, empty_as_string: true}\n"
        "- convert_column_types:\n"
        "  - {columns: [a, b], column_type: int}\n"
        "  - {columns: f, column_type: {boolean: {true_values: [1, true], false_values: ['0'], mismatch_as: error}}}\n"
        "  - {columns: c, column_type: {datetime: {formats: ['%Y-%m-%d']}}}\n"
        "- drop_columns: [d]\n- drop_columns: e\n- keep_columns: [a, c]\n"
        "- extract_columns_from_partition_format: {partition_format: '/{x}/a.csv'}\n"
    )
    assert found.kind == "delimited"
    assert found.options == {
        "separator": ";", "header": False, "encoding": "utf8", "include_path": True, "support_multi_line": False,
        "infer_column_types": False, "empty_as_string": True, "partition_format": "/{x}/a.csv",
        "set_column_types": {"a": "int64", "b": "int64", "f": "bool", "c": "datetime"},
    }  # fmt: skip
    assert (found.keep, found.drop) == (("a", "c"), ("d", "e"))
    assert table("paths: [{file: a}]\ntransformations: [read_parquet]\n").kind == "parquet"
    lines = table("paths: [{file: a}]\ntransformations: [{read_json_lines: {invalid_lines: drop}}]\n")
    assert (lines.kind, lines.options) == ("jsonl", {"invalid_lines": "drop"})


SAVED = """
paths:
- file: rows.csv
transformations:
- read_delimited:
    delimiter: ','
    empty_as_string: false
    encoding: utf8
    header: all_files_same_headers
    include_path_column: true
    infer_column_types: true
    partition_size: 20971520
    path_column: Path
    support_multi_line: false
type: mltable
"""


def test_what_the_original_saves_is_read(table):
    found = table(SAVED)
    assert found.options["include_path"]
    assert found.without_effect == ("partition_size",)
    assert table(SAVED.replace("path_column: Path", "path_column: From").replace("include_path_column: true", ""))
    for name, kind in (("read_json_lines", "jsonl"), ("read_parquet", "parquet")):
        text = f"paths: [{{file: a}}]\ntransformations: [{{{name}: {{partition_size: 1, path_column: Path}}}}]\n"
        assert (table(text).kind, table(text).options) == (kind, {})
    with pytest.raises(ConfigError, match="path_column is 'From', but this version calls that column Path"):
        table(SAVED.replace("path_column: Path", "path_column: From"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("paths: []", "paths is missing"),
        ("paths: [a.csv]", "a path is 'file: PATH'"),
        ("paths: [{fil: a.csv}]", "unknown kind of path 'fil'; did you mean 'file'"),
        ("paths: [{file: 'azureml://x/y'}]", "is not on this machine"),
        ("paths: [{file: a}]\ntransformations: [{take: 3}]", "take is not done by this version"),
        ("paths: [{file: a}]\ntransformations: [{red_parquet: }]", "did you mean 'read_parquet'"),
        ("paths: [{file: a}]\ntransformations: [{read_delimited: {separator: x}}]", "unknown option 'separator'"),
        (
            "paths: [{file: a}, {file: b}]\ntransformations: [{read_delimited: {header: from_first_file}}]",
            "single file",
        ),
        ("pats: [{file: a}]", "unknown key 'pats'; did you mean 'paths'"),
        ("paths: [{file: a}]\ntransformations: [{keep_columns: {a: b}}]", "take names of columns"),
        (
            "paths: [{file: a}]\ntransformations: [{read_delimited: {infer_column_types: {sample_size: 50}}}]",
            "must be bool",
        ),
        ("paths: [{file: a}]\ntransformations: [{read_delimited: {delimiter: ab}}]", "delimiter must be one ASCII"),
        (
            "paths: [{file: a}]\ntransformations: [{drop_columns: b}]",
            "no reader comes before; add one of read_delimited",
        ),
        (TYPED % "int", "columns are named, but no reader comes before"),
        (TYPED % "{datetime: {formats: ['%Y-%m-%d', '%d/%m/%Y']}}", "dates of the format '%d/%m/%Y' are not read"),
        (TYPED % "{datetime: {formats: '%Y-%d-%m'}}", "dates of the format '%Y-%d-%m' are not read"),
        (TYPED % "{boolean: {true_values: [yes, 'y']}}", "true_values has 'y', but this version reads 1, True"),
        (TYPED % "{boolean: {false_values: ['1']}}", "false_values has '1'"),
        (TYPED % "{boolean: {mismatch_as: 'false'}}", "mismatch_as is false"),
        (TYPED % "{boolean: {mismatch: error}}", "unknown option 'mismatch'; did you mean 'mismatch_as'"),
        (TYPED % "{int: {formats: x}}", "int: unknown option 'formats'"),
        (TYPED % "{datetime: '%Y'}", "must be 'name: value' lines"),
        (TYPED % "{int: , float: }", "column_type is one type"),
        ("paths: [{file: a}]\ntransformations: [{convert_column_types: [{columns: a}]}]", "takes columns and their"),
    ],
)
def test_what_cannot_be_done_is_an_error(table, text, message):
    with pytest.raises((ConfigError, InputError), match=message):
        table(text)


def test_a_folder_without_the_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file; an input of type mltable is a folder with a file MLTable"):
        read_mltable(str(tmp_path))
