"""Runs a script as `__main__`: `python -m batch_score.azureml.script SCRIPT ARGUMENTS...`."""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Runs the script that is named first, with the rest as its arguments."""
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
