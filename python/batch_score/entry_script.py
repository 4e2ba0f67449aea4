"""The user's entry script: found, loaded, checked and called in one place.

The rules are those of the ParallelRunStep contract: `run()` is required, `init()` and `shutdown()` are not;
`run()` gets the context when its signature asks for it; the working directory is the code root.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import ScorerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    import pandas as pd

    from batch_score.minibatch import KeyValue

# What json.loads says of a mini-batch, also where the script returned it as text.
ONLINE = re.compile(r"the JSON object must be str, bytes or bytearray, not (DataFrame|list)\b")
CONTEXT_NAMES = ("mini_batch_context", "context")


@dataclass(frozen=True)
class ScriptLocation:
    """Where an entry script lies.

    Attributes:
        code_root: Working directory of the workers and first entry of their `sys.path`.
        module: The dotted name it is imported under.
        file: Its file, None for a module that Python finds by itself.
        origin: The file of such a module, as far as it is known; what stands beside the script is looked for there.
    """

    code_root: str
    module: str
    file: str | None
    origin: str | None = None

    @property
    def path(self) -> str:
        """The script's file, or its dotted name where no file is known."""
        return self.file or self.origin or self.module


@dataclass(frozen=True)
class MiniBatchContext:
    """What `run(mini_batch, mini_batch_context)` learns of its mini-batch.

    Attributes:
        minibatch_index: Stable id, the same on every try.
        global_row_index_lower_bound: How many items of the whole input come before the first one.
        retry_count: 0 on the first try.
        dataset: The sub-dataset of this mini-batch: its DataFrame or list of paths.
        partition_key_value: Partition keys and their values, text or datetime; empty without keys.
    """

    minibatch_index: int
    global_row_index_lower_bound: int
    retry_count: int
    dataset: pd.DataFrame | list[str]
    partition_key_value: dict[str, KeyValue] = field(default_factory=dict)


@dataclass(frozen=True)
class EntryScript:
    """The functions of a loaded entry script."""

    init: Callable[[], object]
    run: Callable[..., Any]
    shutdown: Callable[[], object]
    context: str

    def call(self, mini_batch: pd.DataFrame | list[str], context: MiniBatchContext) -> Any:
        """Calls `run()` as its signature asks."""
        if self.context == "positional":
            return self.run(mini_batch, context)
        if self.context == "keyword":
            return self.run(mini_batch, mini_batch_context=context)
        return self.run(mini_batch)


def locate(entry_script: str, source_directory: str | None) -> ScriptLocation:
    """Finds an entry script without running it.

    Args:
        entry_script: A file (relative to `source_directory` if that is given) or a dotted module.
        source_directory: The code root; by default the script's folder, for a module the current one.

    Raises:
        ScorerError: The folder, file or module is not there.
    """
    if source_directory is not None and not Path(source_directory).is_dir():
        raise ScorerError(f"source_directory {source_directory}: no such folder")
    if entry_script.endswith(".py") or os.sep in entry_script:
        return _locate_file(entry_script, source_directory)
    root = Path(source_directory or ".").resolve()
    as_path = root.joinpath(*entry_script.split("."))
    for file in (as_path.with_suffix(".py"), as_path / "__init__.py"):
        if file.is_file():
            return ScriptLocation(str(root), entry_script, None, str(file))
    spec = _find_spec(entry_script)
    if spec is not None:
        return ScriptLocation(str(root), entry_script, None, spec.origin if spec.has_location else None)
    raise ScorerError(
        f"entry script {entry_script!r}: no file of that name and no module of that name in {root} or on sys.path; "
        "give score.py, package.module or model.onnx"
    )


def _locate_file(entry_script: str, source_directory: str | None) -> ScriptLocation:
    path = Path(source_directory or ".", entry_script).resolve()
    if not path.is_file():
        raise ScorerError(f"entry script {path}: no such file")
    root = Path(source_directory).resolve() if source_directory else path.parent
    inside = path.relative_to(root).with_suffix("").parts if path.is_relative_to(root) else (path.stem,)
    # Dots of a file name like score.v2.py are no packages; a folder named like Python's module `code` is none either.
    is_package = all(part.isidentifier() for part in inside) and inside[0] not in sys.stdlib_module_names
    dotted = ".".join(inside) if is_package else path.stem.replace(".", "_")
    if dotted in sys.stdlib_module_names:
        raise ScorerError(f"entry script {path}: its name would hide Python's own module {dotted}; rename the file")
    return ScriptLocation(str(root), dotted, str(path))


def _find_spec(module: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None


def load(location: ScriptLocation) -> EntryScript:
    """Imports the script and checks its functions; the code root must be on `sys.path` already.

    Raises:
        ScorerError: There is no callable `run`. What the script itself raises passes through.
    """
    module = _import(location)
    where = location.file or location.module
    run = getattr(module, "run", None)
    if not callable(run):
        raise ScorerError(f"{where}: the entry script has no function run(mini_batch)")
    if inspect.iscoroutinefunction(run):
        raise ScorerError(f"{where}: run() is a coroutine function; use asyncio.run() inside an ordinary run()")
    return EntryScript(
        init=getattr(module, "init", None) or _nothing,
        run=run,
        shutdown=getattr(module, "shutdown", None) or _nothing,
        context=context_parameter(run),
    )


def online_hint(message: str) -> str:
    """What to add to an error of `run()` when the script is one for an online service, else nothing."""
    found = ONLINE.search(message)
    if found is None:
        return ""
    given = "a DataFrame of rows" if found[1] == "DataFrame" else "a list of paths"
    return (
        f"; the entry script is an online one, whose run() parses JSON: here run(mini_batch) gets {given} and returns "
        "one element per item"
    )


def _nothing() -> None:
    """Stands for an `init()` or `shutdown()` that the script does not have."""


def _import(location: ScriptLocation) -> ModuleType:
    if location.file is None:
        return importlib.import_module(location.module)
    package, _, _ = location.module.rpartition(".")
    if package:
        importlib.import_module(package)
    spec = importlib.util.spec_from_file_location(location.module, location.file)
    if spec is None or spec.loader is None:
        raise ScorerError(f"{location.file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[location.module] = module
    spec.loader.exec_module(module)
    return module


def context_parameter(run: Callable[..., Any]) -> str:
    """How `run` takes the context: `positional`, `keyword` or `none`.

    A second positional parameter takes it if it has no default or is called mini_batch_context or context; a
    keyword-only mini_batch_context takes it by name; a bare *args counts as one parameter.
    """
    try:
        parameters = inspect.signature(run).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature, from an extension module
        return "none"
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) > 1:
        second = positional[1]
        if second.default is second.empty or second.name in CONTEXT_NAMES:
            return "positional"
    named = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name == CONTEXT_NAMES[0]]
    return "keyword" if named else "none"
