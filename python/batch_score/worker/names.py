"""Names of other packages that existing scripts import: found when a script asks for them, nothing is loaded before.

The modules behind them lie above this layer; which ones they are is told by whoever starts a worker, as text.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.abc import Loader
    from types import ModuleType


@dataclass(frozen=True, slots=True)
class ScriptNames:
    """What a script can import.

    Attributes:
        homes: The module that stands behind each dotted name; modules below the one stand behind those below the other.
        advice: A module with a function `missing(name)`, which says what to do about a name that is not provided.
        first: These names win over an installed package that has them too; else the installed one does.
    """

    homes: Mapping[str, str]
    advice: str
    first: bool = False

    def home(self, name: str) -> str | None:
        """The module that would stand behind `name`, whether it is there or not."""
        for prefix, home in self.homes.items():
            if name == prefix or name.startswith(f"{prefix}."):
                return home + name.removeprefix(prefix)
        return None

    @property
    def parents(self) -> set[str]:
        """Packages that have nothing of their own: `azureml` of `azureml.core`."""
        return {name.rpartition(".")[0] for name in self.homes} - {""}


class _Loader:
    """Makes a module that passes every attribute on to the one behind it, so that a class is never made twice."""

    def __init__(self, home: str | None) -> None:
        self._home = home

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module."""

    def exec_module(self, module: ModuleType) -> None:
        """Imports the module behind; an empty package needs none."""
        if self._home is not None:
            home = import_module(self._home)
            module.__dict__.update(__doc__=home.__doc__, __getattr__=partial(getattr, home), __dir__=partial(dir, home))


class _Finder:
    """Finds the provided names.

    Args:
        names: What is provided.
        last: Asked when nobody else has a name, which makes it the one to say what is missing.
    """

    def __init__(self, names: ScriptNames, *, last: bool) -> None:
        self._names = names
        self._last = last

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The specification of a provided module, None for all else.

        Raises:
            ModuleNotFoundError: It is asked for below a provided package, which does not have it.
        """
        del path, target  # what protocols ask for
        home = self._names.home(name)
        found = None if home is None else _spec(home)
        if found is not None:
            return _ours(name, home, is_package=found.submodule_search_locations is not None)
        if self._last and name in self._names.parents and any(map(_spec, self._names.homes.values())):
            return _ours(name, None, is_package=True)
        if self._last and _is_ours(sys.modules.get(name.rpartition(".")[0])):
            # Without its `name`: else `from package import x` would replace the message by one of its own.
            raise ModuleNotFoundError(import_module(self._names.advice).missing(name))
        return None


def _ours(name: str, home: str | None, *, is_package: bool) -> ModuleSpec:
    return ModuleSpec(name, cast("Loader", _Loader(home)), is_package=is_package)


def _is_ours(module: ModuleType | None) -> bool:
    return isinstance(getattr(module, "__loader__", None), _Loader)


def _spec(home: str) -> ModuleSpec | None:
    try:
        return find_spec(home)
    except ModuleNotFoundError:  # of a package that was left out
        return None


@contextmanager
def importable(names: ScriptNames | None) -> Iterator[None]:
    """Makes the names importable for a while; modules that were made for them go with it."""
    if names is None:
        yield
        return
    finders: list[_Finder] = [_Finder(names, last=True)]
    sys.meta_path.append(finders[0])
    if names.first:
        finders.append(_Finder(names, last=False))
        sys.meta_path.insert(0, finders[1])
    tops = tuple(names.homes)
    before = {name: module for name, module in list(sys.modules.items()) if name.startswith(tops) and names.first}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)
        for name in [name for name, module in list(sys.modules.items()) if _is_ours(module)]:
            del sys.modules[name]
        sys.modules.update(before)
