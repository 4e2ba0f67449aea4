"""The versions of what results may depend on."""

from __future__ import annotations

import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("batch-score", "numpy", "onnxruntime", "onnxruntime-gpu", "pandas", "pyarrow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that results may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
