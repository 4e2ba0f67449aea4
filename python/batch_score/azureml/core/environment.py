"""`azureml.core.Environment`: the packages that a script was written for, compared with those that are here."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.config_file import yaml_mapping
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from batch_score.azureml.core.workspace import Workspace

REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][-._A-Za-z0-9]*)\s*(?:\[[^\]]*\])?\s*(?:={1,3}\s*([^\s,;=*]+))?")
# Packages that are nothing a script imports, and the original's own, whose names are provided here.
APART = ("azureml", "pip", "setuptools", "wheel", "conda")


class CondaDependencies:
    """Packages by name and version.

    Attributes:
        conda: As conda spells them, `python=3.11` among them.
        pip: As pip spells them.
    """

    def __init__(self, conda: Iterable[str] = (), pip: Iterable[str] = ()) -> None:
        self.conda = list(conda)
        self.pip = list(pip)

    @staticmethod
    def create(
        pip_packages: Iterable[str] | None = None,
        conda_packages: Iterable[str] | None = None,
        python_version: str | None = None,
        **_: Any,
    ) -> CondaDependencies:
        """Packages as they are given."""
        conda = [*([f"python={python_version}"] if python_version else []), *(conda_packages or ())]
        return CondaDependencies(conda, pip_packages or ())

    @staticmethod
    def of_file(path: str | Path) -> CondaDependencies:
        """The packages of a conda file."""
        listed = yaml_mapping(Path(path)).get("dependencies") or []
        pip = [line for one in listed if isinstance(one, dict) for line in one.get("pip") or ()]
        return CondaDependencies([one for one in listed if isinstance(one, str)], pip)

    def add_pip_package(self, pip_package: str) -> None:
        """One more."""
        self.pip.append(pip_package)

    def add_conda_package(self, conda_package: str) -> None:
        """One more."""
        self.conda.append(conda_package)


class Section:
    """A group of settings that are kept and change nothing here, such as those of a container image."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is not set here; it would change nothing")


class PythonSection(Section):
    """The part about Python."""

    conda_dependencies: CondaDependencies | None


class Environment:
    """An environment: recorded, and compared with the running interpreter, which is the one that is used.

    Args:
        name: Its name.
    """

    def __init__(self, name: str = "local", **_: Any) -> None:
        self.name = name
        self.version: str | None = None
        self.python = PythonSection(conda_dependencies=CondaDependencies(), user_managed_dependencies=False)
        self.docker = Section(enabled=False, base_image=None, base_dockerfile=None)
        self.environment_variables: dict[str, str] = {}

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={value!r}" for name, value in self.as_json().items() if value)
        return f"Environment({listed})"  # all of it: by this text a run is told from one with other packages

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Environment) and self.as_json() == other.as_json()

    def __hash__(self) -> int:
        return hash(self.name)

    @staticmethod
    def from_conda_specification(name: str, file_path: str | Path) -> Environment:
        """The packages of a conda file.

        Raises:
            ConfigError: The file cannot be read.
        """
        environment = Environment(name)
        environment.python.conda_dependencies = CondaDependencies.of_file(file_path)
        return environment

    @staticmethod
    def from_pip_requirements(name: str, file_path: str | Path, pip_version: str | None = None) -> Environment:
        """The packages of a requirements file.

        Raises:
            ConfigError: The file cannot be read.
        """
        del pip_version
        try:
            lines = Path(file_path).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"{file_path}: {error.strerror}; give a requirements file") from error
        environment = Environment(name)
        packages = [line.partition("#")[0].strip() for line in lines]
        environment.python.conda_dependencies = CondaDependencies(pip=filter(None, packages))
        return environment

    @staticmethod
    def get(workspace: Workspace, name: str, version: str | None = None) -> Environment:
        """A registered environment; one that is not known is an empty one, for all run in this interpreter."""
        del version
        return Environment.list(workspace).get(name) or Environment(name)

    @staticmethod
    def list(workspace: Workspace) -> dict[str, Environment]:
        """The registered environments by name."""
        found = {}
        for path in sorted((workspace.folder / "environments").glob("*.json")):
            content = json.loads(path.read_text(encoding="utf-8"))
            environment = Environment(content["name"])
            environment.python.conda_dependencies = CondaDependencies(content["conda"], content["pip"])
            environment.environment_variables = content["environment_variables"]
            found[environment.name] = environment
        return found

    def register(self, workspace: Workspace) -> Environment:
        """Keeps the environment under its name."""
        folder = workspace.folder / "environments"
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.as_json(), indent=2, ensure_ascii=False)
        draft = folder / f".{self.name}.{id(self)}"
        draft.write_text(text + "\n", encoding="utf-8")
        draft.replace(folder / f"{self.name}.json")
        return self

    def as_json(self) -> dict[str, Any]:
        """What is kept."""
        packages = self.python.conda_dependencies
        lists = {"conda": packages.conda, "pip": packages.pip} if packages else {"conda": [], "pip": []}
        return {"name": self.name, **lists, "environment_variables": self.environment_variables}

    def differences(self) -> tuple[str, ...]:
        """What is other here than in the environment, each as a clause: packages that are absent, or pinned."""
        content = self.as_json()
        found = (_difference(text) for text in (*content["conda"], *content["pip"]) if isinstance(text, str))
        return tuple(one for one in found if one)


def _difference(text: str) -> str:
    match = REQUIREMENT.match(text.rpartition("::")[2])
    if match is None or match[1].lower().startswith(APART):
        return ""
    name, pinned = match[1], match[2]
    try:
        here = platform.python_version() if name.lower() == "python" else version(name)
    except PackageNotFoundError:
        return f"{name} is not installed"
    if pinned is None or here == pinned or here.startswith(f"{pinned}."):
        return ""
    return f"{name} is {here}, not {pinned}"
