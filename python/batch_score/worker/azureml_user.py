"""The module `azureml_user.parallel_run`, which existing entry scripts import: it lives as long as a worker does."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

PACKAGE, MODULE = "azureml_user", "azureml_user.parallel_run"


@dataclass(frozen=True)
class Agent:
    """What `EntryScript()` gives; no other member is public (the ParallelRunStep contract).

    Attributes:
        logger: Writes the entry script's own log file.
        log_dir: The folder of that file, for log files of the script's own.
        agent_name: The worker, e.g. `process000`.
        output_dir: The output folder.
    """

    logger: logging.Logger
    log_dir: str
    agent_name: str
    output_dir: str


@contextmanager
def provided(agent: Agent) -> Iterator[None]:
    """Makes `from azureml_user.parallel_run import EntryScript` work; `EntryScript()` is always `agent`."""
    package, module = ModuleType(PACKAGE), ModuleType(MODULE)
    package.__path__ = []  # so that it counts as a package
    module.EntryScript = lambda: agent  # type: ignore[attr-defined] # a module made here has what is put into it
    package.parallel_run = module  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in (PACKAGE, MODULE)}
    sys.modules.update({PACKAGE: package, MODULE: module})
    try:
        yield
    finally:
        for name, earlier in before.items():
            if earlier is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = earlier
