"""`azureml.core.authentication`: logins that existing code makes; none is needed here, so nothing of them is kept."""

from __future__ import annotations

from typing import Any


class Authentication:
    """A login; what it is made of is forgotten at once, secrets before all."""

    def __init__(self, *_: Any, **_others: Any) -> None:
        pass

    def get_authentication_header(self) -> dict[str, str]:
        """No header: nothing here asks for one."""
        return {}


class ServicePrincipalAuthentication(Authentication):
    """A service principal's."""


class InteractiveLoginAuthentication(Authentication):
    """A person's."""


class AzureCliAuthentication(Authentication):
    """That of the Azure CLI."""


class MsiAuthentication(Authentication):
    """A managed identity's."""
