"""Runs a script as `__main__`: `python -m batch_score.azureml.script SCRIPT ARGUMENTS...`."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Runs the script that is named first, with the rest as its arguments."""
    script = Path(arguments[0]).resolve()
    sys.argv[:] = [str(script), *arguments[1:]]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
