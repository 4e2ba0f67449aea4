"""The Python API of a job: `ParallelRunStep(...).run()`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score.config import ParallelRunConfig
from batch_score.dataset.files import FileDataset
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError
from batch_score.job.request import JobRequest
from batch_score.job.reuse import run_or_reuse
from batch_score.job.run import run_job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.job.request import RunResult
    from batch_score.progress import Progress

NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SHORTEST, LONGEST = 3, 32


def checked_name(name: str) -> str:
    """The name of a step.

    Raises:
        ConfigError: It cannot be used.
    """
    if not NAME.fullmatch(name) or not SHORTEST <= len(name) <= LONGEST:
        raise ConfigError(
            f"name must be {SHORTEST} to {LONGEST} lower-case letters, digits and dashes that begin with a letter "
            f"and do not end with a dash, got {name!r}"
        )
    return name


def checked_inputs(inputs: object) -> tuple[TabularDataset | FileDataset, ...]:
    """The datasets of a step, of which one may be given alone.

    Raises:
        ConfigError: Something else is among them, e.g. a path.
    """
    given = inputs if isinstance(inputs, Iterable) and not isinstance(inputs, (str, Path)) else (inputs,)
    datasets = tuple(given)
    for one in datasets:
        if not isinstance(one, (TabularDataset, FileDataset)):
            raise ConfigError(
                f"inputs must be datasets, got {one!r}; make one of files by TabularDataset.from_delimited_files(...) "
                "or FileDataset.from_files(...)"
            )
    return datasets


class ParallelRunStep:
    """Scores datasets of one kind with one entry script or ONNX model.

    Args:
        name: 3 to 32 lower-case letters, digits and dashes; begins with a letter. The run directory is
            `runs/<name>` unless `run_dir` is given; a number is added if that holds another run.
        parallel_run_config: Settings; `entry_script` names the scorer.
        inputs: Datasets of one kind, or a single one.
        output: Folder of the output file; by default `outputs` in the run directory.
        arguments: What the entry script finds on `sys.argv`, after the system's own arguments.
        allow_reuse: An earlier run of the same input, scorer, arguments and settings does: if it has completed, its
            result is returned; if not, `run()` goes on with it. False: always a new run.
        run_dir: The run directory; must not be there yet, unless it holds such a run.

    Raises:
        ConfigError: The name, the settings or the inputs cannot be used.
    """

    def __init__(  # noqa: PLR0913 - the parameters are those of the ParallelRunStep contract
        self,
        name: str,
        parallel_run_config: ParallelRunConfig,
        inputs: Sequence[TabularDataset | FileDataset] | TabularDataset | FileDataset,
        output: str | Path | None = None,
        *,
        arguments: Sequence[object] = (),
        allow_reuse: bool = True,
        run_dir: str | Path | None = None,
    ) -> None:
        self.name = checked_name(name)
        if not isinstance(parallel_run_config, ParallelRunConfig):
            raise ConfigError(
                "parallel_run_config must be a ParallelRunConfig, "
                f"got {type(parallel_run_config).__name__}; give ParallelRunConfig(entry_script=...)"
            )
        self._allow_reuse = allow_reuse
        self._request = JobRequest(
            config=parallel_run_config,
            datasets=checked_inputs(inputs),
            run_dir=Path(run_dir) if run_dir else Path("runs", name),
            output=None if output is None else Path(output),
            arguments=tuple(arguments),
            numbered=run_dir is None,
        )

    def run(self, progress: Progress | None = None) -> RunResult:
        """Runs the job here and now and returns when it has ended, also when it has failed.

        Args:
            progress: Where to show progress; by default nowhere. Notes and warnings then go to stderr; the result's
                `notes` has them, too.

        Returns:
            How it ended; `reused` says that nothing was run, because an earlier run has the result.

        Raises:
            UsageError: Something that was found before any worker was started.
        """
        return (run_or_reuse if self._allow_reuse else run_job)(self._request, progress)
