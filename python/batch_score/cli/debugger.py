"""Stopping inside an entry script: pdb, or a debugger that attaches from outside."""

from __future__ import annotations

import inspect
import pdb
import sys
from bdb import BdbQuit
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.entry_script import ScriptLocation, load
from batch_score.errors import ConfigError, ScorerError
from batch_score.output.returned import accept
from batch_score.worker.scorer import ScriptScorer

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from batch_score.dataset.base import Batch
    from batch_score.onnx.spec import ModelSpec
    from batch_score.worker.messages import Task
    from batch_score.worker.scorer import Scorer

PACKAGE = str(Path(__file__).parents[1])
HOST = "127.0.0.1"


class _Pdb(pdb.Pdb):
    """Remembers what `runcall` forgets: that the user has left.

    Attributes:
        left: He has.
    """

    left = False

    def set_quit(self) -> None:
        """Ends what runs."""
        self.left = True
        super().set_quit()


def stopping_first(spec: ScriptLocation | ModelSpec) -> Scorer:
    """The entry script as a scorer, with a stop at the first line of `run()`.

    Raises:
        ScorerError: The scorer is a model, which has no lines.
    """
    if not isinstance(spec, ScriptLocation):
        raise ScorerError("--break stops in the run() of an entry script, and a model has none; leave it out")
    script = load(spec)
    run = script.run
    generates = inspect.isgeneratorfunction(inspect.unwrap(run))

    def stepped(*arguments: Any, **named: Any) -> Any:
        debugger = _Pdb()
        if generates:  # of which nothing runs before its first element is asked for
            result = debugger.runcall(list, run(*arguments, **named))
        else:
            result = debugger.runcall(run, *arguments, **named)
        if debugger.left:
            raise BdbQuit
        return result

    return ScriptScorer(replace(script, run=stepped))


class PostMortem:
    """A scorer at whose exceptions pdb begins, in the frame that raised them.

    Args:
        load: Loads the scorer.
    """

    def __init__(self, load: Callable[[], Scorer]) -> None:
        self._scorer: Scorer = _examined(load)

    def init(self) -> None:
        """Calls `init()`."""
        _examined(self._scorer.init)

    def items(self, batch: Batch) -> Any:
        """As the scorer."""
        return self._scorer.items(batch)

    def run(self, items: Any, task: Task) -> Any:
        """Calls `run()`; a generator is consumed here."""
        return _examined(lambda: accept(self._scorer.run(items, task)).value)

    def take_notes(self) -> dict[str, str]:
        """As the scorer."""
        return self._scorer.take_notes()

    def shutdown(self) -> None:
        """Calls `shutdown()`."""
        _examined(self._scorer.shutdown)


def _examined(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (KeyboardInterrupt, BdbQuit):
        raise
    except BaseException as error:
        if _left_our_code(error.__traceback__):
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            pdb.post_mortem(error.__traceback__)
        raise


def _left_our_code(traceback: TracebackType | None) -> bool:
    """Whether an exception has frames of others: what we refuse ourselves is explained by its message."""
    while traceback is not None:
        if not traceback.tb_frame.f_code.co_filename.startswith(PACKAGE):
            return True
        traceback = traceback.tb_next
    return False


def wait_for_debugger(address: str) -> None:
    """Opens a port for a debugger that speaks the Debug Adapter Protocol, and waits until one has come.

    Args:
        address: `PORT` or `HOST:PORT`; without a host only this machine can reach it.

    Raises:
        ConfigError: The address is none or is taken, or `debugpy` is not installed.
    """
    host, _, text = address.rpartition(":")
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise ConfigError(f"--listen must be PORT or HOST:PORT, got {address!r}")
    try:
        import debugpy  # noqa: PLC0415 - an optional package, and what it is for
    except ImportError as error:
        raise ConfigError(
            f"--listen needs the package debugpy, which cannot be imported ({error}); "
            'run `pip install "batch-score[debug]"`'
        ) from error
    try:
        bound = debugpy.listen((host.strip("[]") or HOST, int(text)))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"--listen {address}: the port cannot be opened: {error}; give another one") from error
    print(f"waiting for a debugger on {bound[0]}:{bound[1]}", file=sys.stderr, flush=True)
    debugpy.wait_for_client()
