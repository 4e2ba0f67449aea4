"""The file `parallel_run_step.settings.json` beside the entry script, which overrides `DataFrame.to_csv`.

{"append_row": {"pandas.DataFrame.to_csv": {"sep": ",", "index": true}}}
"""

from __future__ import annotations

import inspect
import json
import logging
from typing import TYPE_CHECKING, Any

from batch_score.errors import ConfigError
from batch_score.nearest import nearest

if TYPE_CHECKING:
    from pathlib import Path

    from batch_score.output.encoder import OutputOptions

logger = logging.getLogger(__name__)

FILE_NAME = "parallel_run_step.settings.json"

_SECTION = "append_row"
_FUNCTION = "pandas.DataFrame.to_csv"

# The append writer owns the file these would name, open or transform.
_OURS = frozenset({"path_or_buf", "mode", "encoding", "compression", "errors", "storage_options"})


def read_settings(entry_script: Path) -> dict[str, Any]:
    """Reads the arguments of `to_csv` that the settings file overrides.

    Args:
        entry_script: Path of the entry script; the settings file lies in the same folder.

    Returns:
        Arguments for `OutputOptions.to_csv`; empty when there is no settings file.

    Raises:
        ConfigError: If the file cannot be read, is not of the form above, or names an argument that `to_csv`
            does not have or that would change where the output goes.
    """
    path = entry_script.parent / FILE_NAME
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON ({error}): correct or remove it") from error
    section = _member(path, document, _SECTION)
    overrides = _member(path, section, _FUNCTION)
    for name in overrides:
        _check_argument(path, name)
    return overrides


def unused_settings(options: OutputOptions) -> list[str]:
    """Says that the overrides do not count for an output file that is not in the text form."""
    if not options.to_csv or options.suffix == ".txt":
        return []
    return [f"{FILE_NAME} beside the entry script is for the text form (.txt) and has no effect on {options.file_name}"]


def _member(path: Path, parent: object, name: str) -> dict[str, Any]:
    if not isinstance(parent, dict):
        raise ConfigError(
            f'{path} must have the form {{"{_SECTION}": {{"{_FUNCTION}": {{...}}}}}}: correct or remove it'
        )
    unused = [key for key in parent if key != name]
    if unused:
        logger.warning("%s: ignored %s, only %r is read there", path, ", ".join(map(repr, unused)), name)
    member = parent.get(name, {})
    if not isinstance(member, dict):
        raise ConfigError(f"{path}: {name!r} must be an object, not {member!r}: correct or remove it")
    return member


def _check_argument(path: Path, name: str) -> None:
    import pandas as pd  # noqa: PLC0415 - slow to import, and few jobs have a settings file

    known = set(inspect.signature(pd.DataFrame.to_csv).parameters) - {"self"} - _OURS
    if name in _OURS:
        raise ConfigError(f"{path}: {name!r} cannot be overridden, since all results go to one UTF-8 file: remove it")
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near!r}" if near else "remove it"
        raise ConfigError(f"{path}: DataFrame.to_csv has no argument {name!r}: {hint}")
