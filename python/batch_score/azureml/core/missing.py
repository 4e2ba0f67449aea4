"""What to do about a name of Azure Machine Learning's packages that is not provided."""

from __future__ import annotations

from batch_score.azureml.core import __all__ as provided

ADVICE = {
    "ScriptRunConfig": "run a script as a step with PythonScriptStep of batch_score.azureml, or call it directly",
    "container_registry": "no images are fetched here; the running interpreter is the environment",
    "Keyvault": "give secrets as environment variables",
    "keyvault": "give secrets as environment variables",
    "Webservice": "services are not part of a job; deploy from a script of your own",
    "webservice": "services are not part of a job; deploy from a script of your own",
    "Image": "no images are built here; the running interpreter is the environment",
    "image": "no images are built here; the running interpreter is the environment",
}
OTHERWISE = "install the package that has it, which then wins for all its names, or leave the import out"


def missing(name: str) -> str:
    """The message for a dotted name that was asked for."""
    advice = next((ADVICE[part] for part in name.split(".") if part in ADVICE), OTHERWISE)
    return f"{name} is not provided by batch-score, whose azureml.core has {', '.join(provided)}; {advice}"
