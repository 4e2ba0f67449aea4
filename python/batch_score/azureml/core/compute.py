"""`azureml.core.compute`: names of machines, recorded; every job runs on this one."""

from __future__ import annotations

from typing import Any


class ComputeTarget:
    """This machine, under the name that existing code has for another one.

    Args:
        workspace: Not used.
        name: The name.
    """

    provisioning_state = "Succeeded"

    def __init__(self, workspace: Any = None, name: str = "local", **_: Any) -> None:
        del workspace
        self.name = name

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.name!r})"

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(cls, workspace: Any, name: str, provisioning_configuration: Any = None) -> ComputeTarget:
        """This machine under that name: there is nothing to create."""
        del provisioning_configuration
        return cls(workspace, name)

    @staticmethod
    def provisioning_configuration(**_: Any) -> dict[str, Any]:
        """What a machine in the cloud would be like; it is not kept."""
        return {}

    def wait_for_completion(self, *_: Any, **_others: Any) -> None:
        """Returns at once."""

    def get_status(self) -> ComputeTarget:
        """Ready."""
        return self


class AmlCompute(ComputeTarget):
    """A cluster: this machine, too."""


class ComputeInstance(ComputeTarget):
    """An instance: this machine, too."""
