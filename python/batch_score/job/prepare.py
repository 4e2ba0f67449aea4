"""Everything that is decided, and checked, before the first worker is started."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.config import mini_batch_files
from batch_score.dataset.files import FileDataset
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError, OutputError
from batch_score.flags import script_arguments, with_flags
from batch_score.gpu.nvml import read_devices
from batch_score.job.layout import DRAFT, RESERVED, RUN_RECORD, SPOOL
from batch_score.job.placing import placement, reader_threads, threads, with_usable_device
from batch_score.job.plan import grouped
from batch_score.job.record.fingerprint import Fingerprint
from batch_score.job.record.reading import Recorded
from batch_score.job.scorer import find_scorer
from batch_score.job.script_names import SCRIPT_NAMES
from batch_score.job.surroundings import environment, environment_notes, variables, with_version
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import Key, check_key, parse_key
from batch_score.output.settings import read_settings, unused_settings
from batch_score.telemetry.process import notes as told
from batch_score.worker.messages import WorkerSpec

if TYPE_CHECKING:
    from batch_score.config import ParallelRunConfig
    from batch_score.dataset.base import Dataset
    from batch_score.gpu.device import Inventory
    from batch_score.gpu.placement import Assignment
    from batch_score.job.request import JobRequest
    from batch_score.job.scorer import FoundScorer
    from batch_score.output.encoder import Encoder

NODE = "node-0"


@dataclass(frozen=True)
class Prepared:
    """A job that can start.

    Attributes:
        config: Settings, runtime flags among the arguments included.
        given: The same before what depends on this machine was decided.
        datasets: Inputs, reduced to the columns that are needed.
        spec: What every worker must know.
        environments: The environment of each worker's slot.
        assignments: The device of each worker's slot.
        run_dir: The run directory, absolute.
        output: The output file, None for `summary_only`.
        spool: Where rows are appended when the output file is made of them at the end, else None.
        encoder: Form of the output, None for `summary_only`.
        fingerprint: What the run depends on, as it is now.
        notes: Lines that should be seen before the job starts.
    """

    config: ParallelRunConfig
    given: ParallelRunConfig
    datasets: tuple[Dataset, ...]
    spec: WorkerSpec
    environments: tuple[dict[str, str], ...]
    assignments: tuple[Assignment, ...]
    run_dir: Path
    output: Path | None
    spool: Path | None
    encoder: Encoder | None
    fingerprint: Fingerprint
    notes: tuple[str, ...]


def prepare(request: JobRequest, inventory: Inventory | None = None) -> Prepared:
    """Checks a request and decides what follows from it. Starts nothing and writes nothing.

    Args:
        request: What is asked.
        inventory: The devices of this machine, if they are known already.

    Raises:
        UsageError: The request cannot be carried out; the message says why.
    """
    given = _given(request)
    key = parse_key(given.key)
    _check_datasets(given, request.datasets, key)
    inventory = inventory or read_devices()
    config, unused = with_usable_device(given, inventory)
    assignments, notes = placement(config, inventory)
    scorer = find_scorer(config, grouped(request.datasets, given.partition_keys), key, assignments)
    run_dir = request.run_dir.resolve()
    output, options = _output(config, request, run_dir, scorer)
    encoder = encoder_for(options) if options else None
    folder = output.parent if output else (request.output or run_dir / "outputs").resolve()
    _check_apart(request.datasets, (run_dir, folder))
    spec = WorkerSpec(
        scorer=scorer.spec,
        readers=tuple(dataset.reader(str(Path.cwd())) for dataset in scorer.datasets),
        key=key,
        output=options,
        argv=(scorer.path, *script_arguments(config, str(folder), request.arguments)),
        output_dir=str(folder),
        code_root=scorer.code_root,
        run_dir=run_dir,
        reader_threads=reader_threads(config, assignments),
        **_of_config(config),
    )
    of_job = variables(folder, run_dir, config.model_dir)
    return Prepared(
        config=config,
        given=given,
        datasets=scorer.datasets,
        spec=spec,
        environments=tuple(environment(config, one, threads(assignments), of_job) for one in assignments),
        assignments=tuple(assignments),
        run_dir=run_dir,
        output=output,
        spool=run_dir / SPOOL if encoder and encoder.spooled else None,
        encoder=encoder,
        fingerprint=Fingerprint.of(given, request.datasets, scorer.path, request.arguments, (run_dir, folder)),
        notes=(*config.long_timeouts, *unused, *notes, *_notes(config, options)),
    )


def _of_config(config: ParallelRunConfig) -> dict[str, Any]:
    """What workers must know of the settings as they are."""
    return {
        "node": NODE,
        "logging_level": config.logging_level,
        "profiling_module": config.profiling_module,
        "names": replace(SCRIPT_NAMES, first=config.azureml_names == "ours"),
    }


def _notes(config: ParallelRunConfig, options: OutputOptions | None) -> list[str]:
    """What should be known of settings that will not have the effect that they seem to have."""
    unused = unused_settings(options) if options else []
    return [*unused, *environment_notes(config), *told(os.environ)]


def _given(request: JobRequest) -> ParallelRunConfig:
    """The settings after the runtime flags among the arguments, a registered model with its version."""
    config = request.config
    if request.resumes is None or request.resumes.flags:
        config = with_flags(config, [str(argument) for argument in request.arguments])
    return replace(config, model_dir=with_version(config.model_dir))


def _check_datasets(config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key) -> None:
    kinds = {dataset.kind for dataset in datasets}
    if len(kinds) != 1:
        found = "a TabularDataset and a FileDataset" if kinds else "no dataset"
        raise ConfigError(f"inputs must be one or several datasets of one kind, got {found}")
    if kinds == {"file"}:
        mini_batch_files(config.mini_batch_size)
    for dataset in datasets:
        check_key(key, dataset.schema if isinstance(dataset, TabularDataset) else None)


def _check_apart(datasets: tuple[Dataset, ...], written: tuple[Path, ...]) -> None:
    """Refuses folders to write that lie inside a folder to score: its files are listed while the job writes."""
    for dataset in datasets:
        for name in dataset.inputs if isinstance(dataset, FileDataset) else ():
            for folder in written:
                if folder.is_relative_to(Path(name).resolve()):
                    raise OutputError(
                        f"{folder} lies inside the input {name}, so that the job would score its own files; "
                        "give a --run-dir and --output outside of it"
                    )


def _output(
    config: ParallelRunConfig, request: JobRequest, run_dir: Path, scorer: FoundScorer
) -> tuple[Path | None, OutputOptions | None]:
    """The output file and its form; a new run refuses to touch what is there already."""
    if request.resumes is None:
        _check_free(run_dir)
    if config.output_action == "summary_only":
        return None, None
    folder = (request.output or run_dir / "outputs").resolve()
    output = folder / config.append_row_file_name
    if request.resumes is None:
        _check_not_reserved(output, run_dir)
    if request.resumes is None and os.path.lexists(output):
        raise OutputError(f"output file {output} exists already; move it away or give another --output")
    script = Path(scorer.path)
    to_csv = read_settings(script) if script.suffix == ".py" else {}
    return output, OutputOptions(
        config.append_row_file_name, config.append_row_dataframe_header, to_csv, config.append_row_form
    )


def _check_not_reserved(output: Path, run_dir: Path) -> None:
    """Refuses an output file in the place of what the run itself writes, or of a folder that it needs."""
    inside = output.relative_to(run_dir).parts if output.is_relative_to(run_dir) else ("outputs",)
    if run_dir.is_relative_to(output) or inside[0] in RESERVED or inside[0].startswith(DRAFT):
        raise OutputError(
            f"output file {output} would be in the place of what the run keeps in its run directory; "
            "give another --output or --append-row-file-name"
        )


def _check_free(run_dir: Path) -> None:
    """Refuses a run directory with more in it than empty folders and the draft of a record whose run was killed."""
    if not run_dir.exists():
        return
    if (run_dir / RUN_RECORD).exists():
        finished = Recorded.read(run_dir).completed
        advice = "" if finished else f"go on with it by `batch-score resume {run_dir}`, or "
        kind = "a completed" if finished else "an unfinished"
        raise OutputError(f"run directory {run_dir} holds {kind} run; {advice}give another --run-dir")
    if not run_dir.is_dir() or any(not _is_nothing(one) for one in run_dir.iterdir()):
        raise OutputError(f"run directory {run_dir} is there already; give another --run-dir")


def _is_nothing(path: Path) -> bool:
    """A draft, or a folder without files: a pipeline makes those that a step writes into before the step begins."""
    if path.is_dir() and not path.is_symlink():
        return all(map(_is_nothing, path.iterdir()))
    return path.name.startswith(DRAFT)


def make_folder(folder: Path) -> None:
    """Makes a folder to write into, if it is not there yet.

    Raises:
        OutputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; give a folder that can be written") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: the folder cannot be written; give another one")


def with_inline_defaults(config: ParallelRunConfig) -> ParallelRunConfig:
    """The configuration for one worker in this process."""
    return replace(config, engine="inline", process_count_per_node=1, processes_per_gpu=1)
