"""The names by which entry scripts reach `EntryScript()`."""

import importlib
import logging
import sys

import pytest

from batch_score.worker.azureml_user import Agent, provided

AGENT = Agent(logging.getLogger("entry_script"), "logs", "process000", "out", "code")


def test_the_older_name_is_that_of_a_file_of_the_script_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with provided(AGENT):
        assert importlib.import_module("entry_script").EntryScript() is AGENT
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("entry_script")
    (tmp_path / "entry_script.py").write_text("def run(rows): return rows\n")
    importlib.invalidate_caches()
    with provided(AGENT):
        assert not hasattr(importlib.import_module("entry_script"), "EntryScript")
        assert importlib.import_module("azureml_user.parallel_run").EntryScript().working_dir == "code"
    assert not {"azureml_user", "azureml_user.parallel_run", "entry_script"} & set(sys.modules)
