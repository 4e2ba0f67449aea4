"""The module `azureml_user.parallel_run`, which existing entry scripts import: it lives as long as a worker does.

Older ones import `entry_script` instead, which is the same unless they have a file of that name.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Sequence
    from importlib.abc import Loader

PACKAGE, MODULE, OLDER = "azureml_user", "azureml_user.parallel_run", "entry_script"


@dataclass(frozen=True)
class Agent:
    """What `EntryScript()` gives; no other member is public.

    Attributes:
        logger: Writes the entry script's own log file.
        log_dir: The folder of that file, for log files of the script's own.
        agent_name: The worker, e.g. `process000`.
        output_dir: The output folder.
        working_dir: The code root, which is the working directory.
    """

    logger: logging.Logger
    log_dir: str
    agent_name: str
    output_dir: str
    working_dir: str


class _Older:
    """Finds `entry_script` when nobody else does, as the module that `azureml_user.parallel_run` is."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of that module, None for all else."""
        del path, target  # what protocols ask for
        return ModuleSpec(name, cast("Loader", self)) if name == OLDER else None

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Gives it what the other one has."""
        module.EntryScript = self._module.EntryScript  # type: ignore[attr-defined] # as below


@contextmanager
def provided(agent: Agent) -> Iterator[None]:
    """Makes `from azureml_user.parallel_run import EntryScript` work; `EntryScript()` is always `agent`.

    So does `from entry_script import EntryScript`, where no file of the script has that name.
    """
    package, module = ModuleType(PACKAGE), ModuleType(MODULE)
    package.__path__ = []  # so that it counts as a package
    module.EntryScript = lambda: agent  # type: ignore[attr-defined] # a module made here has what is put into it
    package.parallel_run = module  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in (PACKAGE, MODULE, OLDER)}
    sys.modules.update({PACKAGE: package, MODULE: module})
    older = _Older(module)
    sys.meta_path.append(older)
    try:
        yield
    finally:
        sys.meta_path.remove(older)
        for name, earlier in before.items():
            if earlier is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = earlier
