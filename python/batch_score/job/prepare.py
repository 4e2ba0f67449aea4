"""Everything that is decided, and checked, before the first worker is started."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score import entry_script
from batch_score.config import mini_batch_files
from batch_score.dataset.fields import Matrix
from batch_score.dataset.files import FileDataset
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError, ModelError, OutputError, ScorerError
from batch_score.flags import script_arguments, with_flags
from batch_score.gpu.nvml import read_devices
from batch_score.gpu.placement import (
    MASK,
    chosen,
    cpu_count,
    default_workers,
    mask_warning,
    oversubscription_note,
    place,
    usable,
    warnings_of,
)
from batch_score.job.layout import DRAFT, RUN_RECORD, SPOOL
from batch_score.job.plan import grouped
from batch_score.job.record.fingerprint import Fingerprint
from batch_score.job.record.reading import Recorded
from batch_score.job.script_names import SCRIPT_NAMES
from batch_score.output.encoder import OutputOptions
from batch_score.output.forms import encoder_for
from batch_score.output.keys import Key, parse_key
from batch_score.output.settings import read_settings, unused_settings
from batch_score.telemetry.process import notes as told
from batch_score.worker.messages import WorkerSpec
from batch_score.worker.pulse import MOST_READERS

if TYPE_CHECKING:
    from batch_score.config import ParallelRunConfig
    from batch_score.dataset.base import Dataset
    from batch_score.entry_script import ScriptLocation
    from batch_score.gpu.device import Inventory
    from batch_score.gpu.placement import Assignment, Names
    from batch_score.job.request import JobRequest
    from batch_score.onnx.spec import ModelSpec
    from batch_score.output.encoder import Encoder

logger = logging.getLogger(__name__)

NODE = "node-0"
# What glibc's allocator would come to by itself after larger blocks: the memory of a mini-batch is that of the one
# before, and not given back to the kernel between them.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}


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


@dataclass(frozen=True)
class _Scorer:
    """A resolved scorer and what it needs of the input."""

    spec: ScriptLocation | ModelSpec
    datasets: tuple[Dataset, ...]
    code_root: str
    path: str


def prepare(request: JobRequest) -> Prepared:
    """Checks a request and decides what follows from it. Starts nothing and writes nothing.

    Raises:
        UsageError: The request cannot be carried out; the message says why.
    """
    given = _given(request)
    key = parse_key(given.key)
    _check_datasets(given, request.datasets, key)
    inventory = read_devices()
    config, unused = _with_usable_device(given, inventory)
    assignments, notes = placement(config, inventory)
    scorer = _scorer(config, grouped(request.datasets, given.partition_keys), key, assignments)
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
        node=NODE,
        logging_level=config.logging_level,
        reader_threads=_reader_threads(config, assignments),
        profiling_module=config.profiling_module,
        names=replace(SCRIPT_NAMES, first=config.azureml_names == "ours"),
    )
    variables = _variables(folder, run_dir, _model_dir(config.model_dir))
    return Prepared(
        config=config,
        given=given,
        datasets=scorer.datasets,
        spec=spec,
        environments=tuple(
            _environment(config, assignment, _threads(assignments), variables) for assignment in assignments
        ),
        assignments=tuple(assignments),
        run_dir=run_dir,
        output=output,
        spool=run_dir / SPOOL if encoder and encoder.spooled else None,
        encoder=encoder,
        fingerprint=Fingerprint.of(given, request.datasets, scorer.path, request.arguments, (run_dir, folder)),
        notes=(
            *config.long_timeouts,
            *unused,
            *notes,
            *_settings_notes(options),
            *_environment_notes(config),
            *told(os.environ),
        ),
    )


def _given(request: JobRequest) -> ParallelRunConfig:
    """The settings after the runtime flags among the arguments, a registered model with its version."""
    config = request.config
    if request.resumes is None or request.resumes.flags:
        config = with_flags(config, [str(argument) for argument in request.arguments])
    return replace(config, model_dir=_with_version(config.model_dir))


def _check_datasets(config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key) -> None:
    kinds = {dataset.kind for dataset in datasets}
    if len(kinds) != 1:
        found = "a TabularDataset and a FileDataset" if kinds else "no dataset"
        raise ConfigError(f"inputs must be one or several datasets of one kind, got {found}")
    if kinds == {"file"}:
        mini_batch_files(config.mini_batch_size)
    if isinstance(key, str):
        return
    if kinds == {"file"}:
        raise ConfigError(f"key {','.join(key)} names input columns, but files have none; use auto or none")
    for table in (dataset for dataset in datasets if isinstance(dataset, TabularDataset)):
        for name in key:
            if name not in table.schema.names:
                raise ConfigError(f"key names column {name!r}, but the columns are {', '.join(table.schema.names)}")


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


def _with_usable_device(config: ParallelRunConfig, inventory: Inventory) -> tuple[ParallelRunConfig, list[str]]:
    """Settles `auto` for a model: the CPU, said aloud, if the installed runtime cannot use the GPUs that are there."""
    if config.device != "auto" or not inventory.devices or not _is_model(config):
        return config, []
    from batch_score.onnx.providers import providers_for  # noqa: PLC0415 - few jobs come here
    from batch_score.onnx.runtime import available_providers  # noqa: PLC0415 - an optional package

    try:
        providers_for("cuda", available_providers(), gpu=True)
    except ScorerError as error:
        return replace(config, device="cpu"), [f"the model runs on the CPU: {error}"]
    return config, []


def _is_model(config: ParallelRunConfig) -> bool:
    return (config.entry_script or "").lower().endswith(".onnx")


def placement(config: ParallelRunConfig, inventory: Inventory) -> tuple[list[Assignment], list[str]]:
    """The device of each worker, and what should be said about it."""
    given = {**os.environ, **(config.environment_variables or {})}
    cpu_only = config.device == "cpu"
    units = [] if cpu_only else usable(inventory.devices, given.get(MASK))
    if config.device in ("cuda", "tensorrt") and not units:
        why = inventory.reason or f"{MASK}={given.get(MASK)} leaves none"
        raise ScorerError(f"device {config.device} was asked for, but no GPU is usable: {why}")
    if config.gpus:
        units = chosen(units, config.gpus)
    workers = config.process_count_per_node or default_workers(units, usable_cpus(), config.processes_per_gpu)
    workers = 1 if config.engine == "inline" else workers
    notes = [
        mask_warning(inventory.devices, given.get(MASK), given.get("CUDA_DEVICE_ORDER")),
        oversubscription_note(units, workers),
        *warnings_of(inventory.devices, units, workers),
    ]
    names: Names = "index" if config.gpu_names == "index" else "uuid"
    return place(units, workers, names=names), [note for note in notes if note]


def usable_cpus() -> int:
    """CPU cores that this process may use: affinity and cgroup quota."""
    return cpu_count(len(os.sched_getaffinity(0)), read_text)


def _threads(assignments: list[Assignment]) -> int:
    """A worker's share of the cores: what libraries of threads get that nobody has told another number.

    Each of them would take all cores in each worker, and the workers would be in each other's way.
    """
    return max(1, usable_cpus() // len(assignments))


def _reader_threads(config: ParallelRunConfig, assignments: list[Assignment]) -> tuple[int, int]:
    """How many threads of a worker read ahead, at first and at most."""
    if config.reader_threads is not None:
        return config.reader_threads, config.reader_threads
    return 1, min(MOST_READERS, _threads(assignments))


def read_text(path: str) -> str | None:
    """A file's text, None if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return None


def _scorer(
    config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key, assignments: list[Assignment]
) -> _Scorer:
    if not config.entry_script:
        raise ConfigError("entry_script is missing; name a script (score.py), a module (package.module) or model.onnx")
    if _is_model(config):
        return _model(config, datasets, key, assignments)
    location = entry_script.locate(config.entry_script, config.source_directory)
    return _Scorer(location, datasets, location.code_root, location.path)


def _model(
    config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key, assignments: list[Assignment]
) -> _Scorer:
    """An ONNX model bound to the columns; the datasets are reduced to what it and the key need."""
    from batch_score.onnx.binding import bind  # noqa: PLC0415 - onnxruntime is an optional package
    from batch_score.onnx.runtime import read_signature  # noqa: PLC0415 - as above
    from batch_score.onnx.spec import ModelSpec  # noqa: PLC0415 - as above

    path = Path(config.source_directory or ".", str(config.entry_script)).resolve()
    tables = [dataset for dataset in datasets if isinstance(dataset, TabularDataset)]
    if len(tables) != len(datasets):
        raise ScorerError(f"{path}: an ONNX model without a script scores tables; for files write an entry script")
    signature = read_signature(path)
    keys = () if isinstance(key, str) else key
    reduced = []
    for table in tables:
        columns = {column.name: column.type for column in table.schema}
        binding = bind(signature, columns, features=config.features, keys=keys, outputs=config.outputs)
        types = {name: kind for name, kind in binding.column_types.items() if name not in keys}
        matrices = [Matrix(plan.name, plan.dtype, plan.columns) for plan in binding.inputs]
        reduced.append(table.select(tuple(dict.fromkeys([*keys, *binding.columns])), types, matrices))
    spec = ModelSpec(
        path=str(path),
        binding=binding,
        device=config.device,
        threads=_threads(assignments),
        gpu=", ".join(sorted({one.unit.product for one in assignments if one.unit is not None})),
        batch_rows=config.model_batch_size,
        precision=config.precision,
        cache=str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "batch-score")),
    )
    return _Scorer(spec, tuple(reduced), str(path.parent), str(path))


def _output(
    config: ParallelRunConfig, request: JobRequest, run_dir: Path, scorer: _Scorer
) -> tuple[Path | None, OutputOptions | None]:
    """The output file and its form; a new run refuses to touch what is there already."""
    if request.resumes is None:
        _check_free(run_dir)
    if config.output_action == "summary_only":
        return None, None
    folder = (request.output or run_dir / "outputs").resolve()
    output = folder / config.append_row_file_name
    if request.resumes is None and output.exists():
        raise OutputError(f"output file {output} exists already; move it away or give another --output")
    script = Path(scorer.path)
    to_csv = read_settings(script) if script.suffix == ".py" else {}
    return output, OutputOptions(
        config.append_row_file_name, config.append_row_dataframe_header, to_csv, config.append_row_form
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


def _settings_notes(options: OutputOptions | None) -> list[str]:
    return unused_settings(options) if options else []


def _environment_notes(config: ParallelRunConfig) -> list[str]:
    """What the environment that a script was written for has other than this interpreter, if it can tell."""
    differences = getattr(config.environment, "differences", None)
    return [f"environment: {text}" for text in differences()] if callable(differences) else []


def _with_version(model_dir: str | None) -> str | None:
    """A registered model by name and version, so that the run goes on with the same one; all else as it is."""
    if model_dir is None or Path(model_dir).exists():
        return model_dir
    from batch_score.registry import Registry  # noqa: PLC0415 - few jobs have a registered model

    try:
        return Registry().get(model_dir).id
    except ModelError as error:
        raise ModelError(f"model_dir {model_dir}: there is no such file or folder, and {error}") from error


def _model_dir(model_dir: str | None) -> Path | None:
    """The folder that holds the job's model, None for none."""
    if model_dir is None:
        return None
    path = Path(model_dir).absolute()
    if path.exists():
        return path if path.is_dir() else path.parent
    from batch_score.registry import Registry  # noqa: PLC0415 - as above

    return Registry().get(model_dir).folder


def _variables(output: Path, run_dir: Path, model_dir: Path | None) -> dict[str, str]:
    """What scripts look up of their job."""
    return {
        "AZUREML_BI_OUTPUT_PATH": str(output),
        "AZUREML_RUN_ID": run_dir.name,
        "AZUREML_CR_NODE_RANK": "0",
        "BATCH_SCORE_RUN_DIR": str(run_dir),
        **({"AZUREML_MODEL_DIR": str(model_dir)} if model_dir else {}),
    }


def _environment(
    config: ParallelRunConfig, assignment: Assignment, threads: int, variables: dict[str, str]
) -> dict[str, str]:
    """A worker's whole environment; the device mask wins over everything, defaults over nothing."""
    return {
        "OMP_NUM_THREADS": str(threads),
        **KEEP_MEMORY,
        **os.environ,
        **variables,
        **(config.environment_variables or {}),
        **assignment.environment,
    }


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
