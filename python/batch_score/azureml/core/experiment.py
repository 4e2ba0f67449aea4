"""`azureml.core.Experiment`: a name for runs that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batch_score.azureml import core  # which loads `Run` when it is used: a run knows its experiment
from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from batch_score.azureml.core.run import Run
    from batch_score.azureml.core.workspace import Workspace


class Experiment:
    """An experiment.

    Args:
        workspace: What it belongs to.
        name: Its name.
    """

    def __init__(self, workspace: Workspace, name: str, **_: Any) -> None:
        self.workspace = workspace
        self.name = name
        self.id = name

    def __repr__(self) -> str:
        return f"Experiment(name={self.name!r})"

    def submit(self, config: Any, tags: Any = None, **options: Any) -> Any:
        """Runs a pipeline here and now: what `Pipeline.submit(experiment_name=NAME, ...)` gives.

        Raises:
            ConfigError: `config` is nothing that can be submitted.
        """
        del tags
        if not callable(getattr(config, "submit", None)):
            raise ConfigError(
                f"a {type(config).__name__} cannot be submitted; give a Pipeline of batch_score.azureml, or run a "
                "script with `batch-score run`"
            )
        return config.submit(experiment_name=self.name, **options)

    def start_logging(self, outputs: Any = None, snapshot_directory: Any = None, **_: Any) -> Run:
        """A run of this process; its files are in `runs/ID`."""
        del outputs, snapshot_directory
        return core.Run(self)
