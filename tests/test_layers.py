"""Imports go down only: every import statement of the package, read with ast, against the layers of the design."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import batch_score

ROOT = Path(batch_score.__file__).parent
PACKAGE = ROOT.name

# From the top down. What stands in one line is on one level.
LAYERS = [
    {"cli", "__main__"},
    {"serve", "azureml"},
    {"job"},
    {"engine"},
    {"worker"},
    {"dataset", "entry_script", "onnx", "output", "gpu", "monitor"},
    {
        *("column", "arrow", "config", "config_file", "option", "faults", "flags", "logs", "minibatch"),
        *("progress", "summary", "wording", "registry", "telemetry"),
    },
    {"errors", "_native", "importing", "nearest"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
# On these levels the parts never import each other; the records and texts one level above the bottom may.
APART = (1, 5, 7)
# `demo` holds entry scripts: what a user would write, run by the examples, imported by nothing.
SCRIPTS = {"demo"}
OPTIONAL = {
    "PIL": set(),
    "click": {"cli"},
    "debugpy": {"cli"},
    "onnx": {"onnx"},
    "onnxruntime": {"onnx"},
    "opentelemetry": {"telemetry"},
    "psutil": {"monitor"},
    "pynvml": {"gpu"},
    "rich": {"progress"},
    "yaml": {"config_file"},
}


def modules():
    """Dotted name and syntax tree of every module below the package root."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text(encoding="utf-8"))


TREES = dict(modules())
NAMES = set(TREES) | {"_native"}


def for_types_only(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(tree, *, types):
    """Import statements, those inside functions included; under TYPE_CHECKING only if `types`."""
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif types or not for_types_only(node):
            pending.extend(ast.iter_child_nodes(node))


def imported(tree, *, types=True):
    """The modules that a tree imports, dotted; `from batch_score import x` gives `batch_score.x`."""
    for node in statements(tree, types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if inside.removeprefix(f"{PACKAGE}.") in NAMES else node.module


def ours(tree, *, types=True):
    """The modules of this package that a tree imports, without the package's name; "" is the root itself."""
    for name in imported(tree, types=types):
        if name.partition(".")[0] == PACKAGE:
            yield name.removeprefix(PACKAGE).removeprefix(".")


def part(module):
    return module.partition(".")[0]


def test_every_module_has_a_layer():
    assert {part(name) for name in TREES} - {""} <= set(LEVEL) | SCRIPTS


@pytest.mark.parametrize("module", sorted(set(TREES) - {""}))
def test_imports_go_down(module):
    for target in ours(TREES[module]):
        if part(target) == part(module) or not target:
            continue
        assert part(module) not in SCRIPTS, f"{module}, an entry script, imports {target}"
        assert part(target) not in SCRIPTS, f"{module} imports {target}, an entry script"
        here, there = LEVEL[part(module)], LEVEL[part(target)]
        assert here <= there, f"{module} imports {target}, which is above it"
        assert here != there or here not in APART, f"{module} imports its sibling {target}"


def test_engines_do_not_import_each_other():
    engines = {"engine.inline", "engine.local", "engine.ray"}
    for module in engines:
        assert not engines & set(ours(TREES.get(module, ast.Module([], []))))


def test_the_bottom_imports_nothing():
    assert not list(imported(TREES["errors"]))


@pytest.mark.parametrize("module", sorted(set(TREES) - {""}))
def test_only_what_lives_there_is_imported_from_the_package_root(module):
    for node in statements(TREES[module], types=True):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            names = {alias.name for alias in node.names}
            assert names <= NAMES | {"__version__"}, f"line {node.lineno}: import {names} from where they are defined"


def test_there_are_no_cycles():
    graph = {}
    for module, tree in TREES.items():
        if module:
            graph[module] = {target for target in ours(tree, types=False) if target not in ("", module)}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"the modules import each other in a circle: {error.args[1]}")
    assert set(graph) <= set(order)


@pytest.mark.parametrize("package", OPTIONAL)
def test_one_part_imports_each_package_of_others(package):
    users = {
        part(module)
        for module, tree in TREES.items()
        if any(name.partition(".")[0] == package for name in imported(tree))
    }
    assert users - SCRIPTS == OPTIONAL[package]


def test_the_checks_see_what_they_are_to_see():
    """A tree with one import of each kind, so that a blind check cannot pass."""
    tree = ast.parse(
        "import rich.table\n"
        "from batch_score import _native, __version__\n"
        "def f():\n    from batch_score.job.queue import MiniBatchQueue\n"
        "if TYPE_CHECKING:\n    from batch_score.cli import app\n"
    )
    assert set(ours(tree)) == {"_native", "", "job.queue", "cli.app"}
    assert set(ours(tree, types=False)) == {"_native", "", "job.queue"}
    assert "rich.table" in set(imported(tree))
