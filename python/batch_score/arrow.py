"""Parts of Arrow that take as long to import as all the rest of it, and that many jobs never need: lazy modules."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow import compute, parquet
else:

    class _AtFirstUse:
        """Stands for a module."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, name: str) -> Any:
            found = getattr(import_module(self._name), name)
            setattr(self, name, found)
            return found

    compute, parquet = map(_AtFirstUse, ("pyarrow.compute", "pyarrow.parquet"))

__all__ = ["compute", "parquet"]
