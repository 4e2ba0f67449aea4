"""The names that others may rely on: exported, importable, documented, picklable; each option on the command line."""

import ast
import inspect
import pickle
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner

import batch_score
from batch_score import errors
from batch_score.cli.app import commands
from batch_score.config import ParallelRunConfig, ReaderOptions
from batch_score.option import kinds, rules

ERRORS = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("name", batch_score.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(batch_score, name) is not None
    assert name == "__version__" or getattr(batch_score, name).__doc__


def test_the_export_list_is_what_is_exported():
    """The names that the type checker sees, those that are loaded on demand and __all__ are the same."""
    tree = ast.parse(Path(batch_score.__file__).read_text(encoding="utf-8"))
    checked = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("batch_score")
        for alias in node.names
    }
    assert sorted(batch_score.__all__) == batch_score.__all__
    assert set(batch_score.__all__) == checked


def test_what_is_exported_is_what_is_listed():
    code = "import batch_score; print(*dir(batch_score))"  # before anything has been loaded on demand
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == batch_score.__all__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        batch_score.Nothing  # noqa: B018 - the access is what is tested


def test_importing_the_package_loads_none_of_the_slow_ones():
    code = "import sys, batch_score; print(*({'pandas', 'pyarrow', 'onnxruntime', 'rich', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


COMMANDS = ["", "run", "resume", "plan", "debug", "gpus", "model", "model register", "pipeline", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_none_of_the_slow_ones(command):
    arguments = ["batch-score", *command.split(), "--help"]
    code = f"import sys; sys.argv = {arguments}; from batch_score.cli import main; main()"
    done = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: batch-score" in done.stdout
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "batch_score.cli.app" in loaded
    slow = {"pandas", "numpy", "pyarrow", "onnxruntime", "rich", "yaml", "pynvml", "psutil"}
    assert not slow & loaded


@pytest.mark.parametrize("cls", ERRORS)
def test_every_exception_pickles(cls):
    back = pickle.loads(pickle.dumps(cls("what, where, what to do")))
    assert (type(back), str(back)) == (cls, "what, where, what to do")


def test_the_tree_of_exceptions_is_the_one_that_is_drawn():
    drawn = {}
    parents = []
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([ │├└─]*)(\w+Error)\b", line):
            depth, name = (len(match[1]) - 4) // 4, match[2]
            parents[depth:] = [name]
            drawn[name] = parents[depth - 1] if depth else "Exception"
    assert drawn == {cls.__name__: cls.__base__.__name__ for cls in ERRORS}


@pytest.mark.parametrize("cls", ERRORS)
def test_usage_errors_end_with_2_all_others_with_1(cls):
    assert cls.exit_code == (2 if issubclass(cls, errors.UsageError) else 1)


@pytest.fixture(scope="module")
def help_text():
    return CliRunner().invoke(commands, ["run", "--help"], terminal_width=200).output


@pytest.mark.parametrize("cls", [ParallelRunConfig, ReaderOptions])
def test_run_lists_every_option(help_text, cls):
    for field in fields(cls):
        name = "--" + field.name.replace("_", "-")
        offered = re.search(rf"^ *{name}(?=[ /])", help_text, re.MULTILINE) is not None
        assert offered == rules(field).cli, name
        if offered and bool in kinds(cls)[field.name]:
            assert f"{name} / --no{name[1:]}" in help_text


def test_run_shows_help_and_defaults(help_text):
    text = " ".join(help_text.split())
    for field in fields(ParallelRunConfig):
        if rules(field).cli:
            assert " ".join(rules(field).help.split()) in text
    assert "[default: predictions.csv]" in text
    assert "[default: 3]" in text


def test_debug_has_the_options_of_run():
    run, debug = (
        {option for parameter in commands.commands[name].params for option in parameter.opts}
        for name in ("run", "debug")
    )
    assert run - debug <= {"--run-dir", "--output", "--json", "--quiet"}


def test_no_option_stands_in_both_classes():
    assert not {field.name for field in fields(ParallelRunConfig)} & {field.name for field in fields(ReaderOptions)}


def test_the_commands_of_the_design():
    assert {"run", "plan", "debug", "gpus", "demo"} <= set(commands.commands)
