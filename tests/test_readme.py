"""The README runs as it stands, and the guide's table of options is the one in the code.

Blocks marked `sh` are run, in order, in one empty folder. Blocks marked `python` begin with a comment that names their
file and are saved under that name. A block whose mark is followed by a path shows the whole content of that file.
Blocks with other marks are only shown.
"""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import pytest

from batch_score.config import ParallelRunConfig, ReaderOptions
from batch_score.logs.tree import README as LOGS

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
OPTIONS = ROOT / "docs" / "guide" / "running.md"
FENCED = re.compile(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| .+ \|$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its mark, the file it shows (or nothing), its text."""

    mark: str
    file: str
    text: str


BLOCKS = [Block(*found) for found in FENCED.findall(README.read_text(encoding="utf-8"))]


@pytest.fixture
def environment(tmp_path):
    """Variables with `batch-score` and `python` of this interpreter first on the path."""
    commands = tmp_path / "commands"
    commands.mkdir()
    _shim(commands / "python", f'exec {sys.executable} "$@"')
    if not Path(sys.executable).with_name("batch-score").is_file():
        _shim(commands / "batch-score", f'exec {sys.executable} -c "from batch_score.cli import main; main()" "$@"')
    path = os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def _shim(path, command):
    path.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    path.chmod(0o755)


def test_the_walk_through_runs_and_writes_what_it_shows(tmp_path, environment):
    folder = tmp_path / "folder"
    folder.mkdir()
    ran = shown = 0
    for block in BLOCKS:
        if block.mark == "python":
            name = re.match(r"# (\S+\.py)\n", block.text)
            assert name, f"a python block must begin with the name of its file: {block.text}"
            (folder / name[1]).write_text(block.text, encoding="utf-8")
        elif block.mark == "sh":
            done = subprocess.run(
                ["/bin/sh", "-e", "-c", block.text],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=100,
                check=False,
            )
            assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{done.stderr}"
            ran += 1
        elif block.file:
            assert (folder / block.file).read_text(encoding="utf-8") == block.text
            shown += 1
    assert ran
    assert shown


def test_the_first_forty_lines_show_a_model_a_script_and_the_python_api():
    top = "\n".join(README.read_text(encoding="utf-8").splitlines()[:40])
    for part in (".onnx", "def run(mini_batch)", "ParallelRunStep("):
        assert part in top


def test_the_table_of_options_is_complete():
    listed = dict(ROW.findall(OPTIONS.read_text(encoding="utf-8")))
    known = {field.name: field.default for cls in (ParallelRunConfig, ReaderOptions) for field in fields(cls)}
    assert sorted(known.keys() - listed.keys()) == [], "missing in the table"
    assert sorted(listed.keys() - known.keys()) == [], "in the table, but no option"
    wrong = {name: default for name, default in known.items() if listed[name] != _cell(default)}
    assert wrong == {}, "the table has another default"


def test_the_page_on_logs_lists_every_file_of_the_run():
    page = OPTIONS.read_text(encoding="utf-8").partition("## Logs")[2].partition("\n## ")[0]
    paths = re.findall(r"^  ([\w/<>.-]+)", LOGS, flags=re.MULTILINE)
    assert len(paths) > 12
    assert [path for path in paths if f"`{path}`" not in page and not path.startswith("perf/<node>/")] == []
    assert "`perf/<node>/`" in page


def _cell(default):
    return "-" if default is None else f"`{default}`"


def _pages():
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "examples" / "README.md"]


@pytest.mark.parametrize("page", _pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_to_a_file(page):
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_index_lists_every_page():
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    assert set((ROOT / "docs").rglob("*.md")) - linked - {index} == set()
