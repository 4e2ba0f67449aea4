"""What an entry script finds around it: arguments, working directory, module path, log files."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import ExitStack, chdir, closing, contextmanager
from typing import TYPE_CHECKING

from batch_score.logs.tree import LogTree, node_address
from batch_score.logs.worker import WorkerLogs
from batch_score.telemetry.process import telemetry
from batch_score.worker.azureml_user import Agent, provided
from batch_score.worker.names import importable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from batch_score.worker.messages import Launch, WorkerSpec

logger = logging.getLogger(__name__)


@contextmanager
def workplace(launch: Launch, environment: Mapping[str, str]) -> Iterator[WorkerLogs]:
    """Sets up this process for the entry script, log files included, and puts everything back at the end.

    Args:
        launch: The worker; its device is in the first line of its log.
        environment: Variables to set here; empty in a process that was started with them.
    """
    spec, process = launch.spec, launch.name
    tree = LogTree(spec.run_dir / "logs", spec.node)
    logs = WorkerLogs(tree, process, spec.logging_level, address=node_address())
    agent = Agent(
        logger=logs.entry_script_logger(),
        log_dir=str(tree.entry_script_folder),
        agent_name=process,
        output_dir=spec.output_dir,
        working_dir=spec.code_root,
    )
    told = [logging.getLogger(), agent.logger]
    with (
        surroundings(spec, environment, agent),
        closing(logs),
        logs.redirect(),
        telemetry(os.environ, process=process, loggers=told),
    ):
        mask = os.environ.get("CUDA_VISIBLE_DEVICES")
        logger.info("%s runs on %s, CUDA_VISIBLE_DEVICES=%r", process, launch.device, mask)
        yield logs


@contextmanager
def surroundings(spec: WorkerSpec, environment: Mapping[str, str], agent: Agent) -> Iterator[None]:
    """Arguments, working directory, module path, environment and `EntryScript()` of the script, for a while."""
    with ExitStack() as stack:
        stack.callback(_restore_environment, dict(os.environ))
        stack.callback(_restore_lists, list(sys.argv), list(sys.path))
        stack.callback(_restore_modules, spec.code_root, dict(sys.modules))
        os.environ.update(environment)
        stack.enter_context(chdir(spec.code_root))
        sys.argv[:] = spec.argv
        sys.path.insert(0, spec.code_root)
        stack.enter_context(provided(agent))
        stack.enter_context(importable(spec.names))
        yield


def _restore_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _restore_lists(argv: list[str], path: list[str]) -> None:
    sys.argv[:], sys.path[:] = argv, path


def _restore_modules(root: str, before: dict[str, ModuleType]) -> None:
    """Takes back modules of the code root, so that another job may load its own of that name."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if module is before.get(name) or not file or not file.startswith(root + os.sep) or "site-packages" in file:
            continue
        if name in before:
            sys.modules[name] = before[name]
        else:
            del sys.modules[name]
