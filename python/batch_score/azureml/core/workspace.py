"""`azureml.core.Workspace`: on this machine it is a folder, and whoever asks for one has it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.azureml.core.compute import ComputeTarget
from batch_score.azureml.core.datastore import DEFAULT, Datastore
from batch_score.azureml.core.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from batch_score.azureml.core.model import Model

VARIABLE = "BATCH_SCORE_WORKSPACE"
NAME = "AZUREML_ARM_WORKSPACE_NAME"
PLACES = ("config.json", "aml_config/config.json", ".azureml/config.json")


class Workspace:
    """The local workspace. Names of subscriptions and groups are kept and lead nowhere; secrets are not kept.

    Args:
        subscription_id: Kept.
        resource_group: Kept.
        workspace_name: Kept, by default `local`.
        auth: Not used: nothing here needs a login.
    """

    def __init__(
        self,
        subscription_id: str | None = None,
        resource_group: str | None = None,
        workspace_name: str | None = None,
        auth: Any = None,
        **_: Any,
    ) -> None:
        del auth
        self.subscription_id = subscription_id or ""
        self.resource_group = resource_group or ""
        self.name = workspace_name or os.environ.get(NAME) or "local"
        self.location = "local"
        self.folder = Path(os.environ.get(VARIABLE) or Path.home() / ".batch-score").absolute()

    def __repr__(self) -> str:
        return f"Workspace(name={self.name!r}, folder={str(self.folder)!r})"

    @staticmethod
    def from_config(path: str | Path | None = None, *_: Any, **_others: Any) -> Workspace:
        """The local workspace, named as in a `config.json` here or in a folder above, if there is one."""
        start = Path(path or ".").absolute()
        places = [start] if start.is_file() else [one / place for one in (start, *start.parents) for place in PLACES]
        for place in places:
            try:
                content = json.loads(place.read_text(encoding="utf-8"))
                names = [content.get(name) for name in ("subscription_id", "resource_group", "workspace_name")]
            except (OSError, ValueError, AttributeError):
                continue
            return Workspace(*names)
        return Workspace()

    @staticmethod
    def get(name: str, subscription_id: str | None = None, resource_group: str | None = None, **_: Any) -> Workspace:
        """The local workspace under that name."""
        return Workspace(subscription_id, resource_group, name)

    @staticmethod
    def create(name: str, *_: Any, **others: Any) -> Workspace:
        """As `get`: there is nothing to create."""
        return Workspace(others.get("subscription_id"), others.get("resource_group"), name)

    def get_details(self) -> dict[str, Any]:
        """Its names."""
        return {"name": self.name, "location": self.location, "folder": str(self.folder)}

    def write_config(self, path: str | Path | None = None, file_name: str = "config.json") -> None:
        """Writes the names, as `from_config` reads them."""
        folder = Path(path or ".azureml")
        folder.mkdir(parents=True, exist_ok=True)
        names = {"subscription_id": self.subscription_id, "resource_group": self.resource_group}
        text = json.dumps({**names, "workspace_name": self.name}, indent=2)
        (folder / file_name).write_text(text + "\n", encoding="utf-8")

    @property
    def models(self) -> dict[str, Model]:
        """The newest version of each registered model, by name."""
        from batch_score.azureml.core.model import Model  # noqa: PLC0415 - few need it

        return {model.name: model for model in Model.list(self, latest=True)}

    @property
    def datastores(self) -> dict[str, Datastore]:
        """The datastores that have been used, by name; the default one is always there."""
        place = self.folder / "datastores"
        names = {DEFAULT, *(one.name for one in place.iterdir() if one.is_dir())} if place.is_dir() else {DEFAULT}
        return {name: Datastore(self, name) for name in sorted(names)}

    @property
    def environments(self) -> dict[str, Environment]:
        """The environments that were registered, by name."""
        return Environment.list(self)

    @property
    def compute_targets(self) -> Mapping[str, ComputeTarget]:
        """This machine under any name that is asked for."""
        return Computes()

    def get_default_datastore(self) -> Datastore:
        """The default datastore, a folder of the workspace."""
        return Datastore(self, DEFAULT)


class Computes(dict[str, ComputeTarget]):
    """Knows every name: a compute target is recorded, and the job runs here."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> ComputeTarget:
        return ComputeTarget(name=name)
