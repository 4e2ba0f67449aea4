"""Every option of a job, written once: name, type, default, range and help.

The command line, configuration files, the flags in `arguments` and the Python API are all made from the fields
below. The values and ranges are those of the ParallelRunStep contract; what it does not know is our own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

from batch_score.config_file import read_yaml, write_yaml
from batch_score.errors import ConfigError
from batch_score.option import Checked, check, option, plain

DEFAULT_FILES = 10
DEFAULT_BYTES = 1 << 20
LARGEST_BYTES = 1 << 62  # no file has more
UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
SIZE = re.compile(r"\s*(\d{1,19})\s*(kb|mb|gb)?\s*", re.IGNORECASE)
LONGEST_TIMEOUT = 259_200.0

OUTPUT_ACTIONS = ("append_row", "summary_only")
LOGGING_LEVELS = ("DEBUG", "INFO", "WARNING", "WARN")
AZUREML_NAMES = ("installed", "ours")
ENGINES = ("local", "inline")
PROFILERS = ("cProfile", "profile")
FORMS = ("auto", "txt", "csv", "tsv", "jsonl", "parquet")
DEVICES = ("auto", "cpu", "cuda", "tensorrt")
PRECISIONS = ("fp32", "fp16")
ENCODINGS = ("utf8", "utf8bom", "ascii", "latin1", "iso88591", "windows1252", "utf16", "utf32")


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(Checked):
    """How text and Parquet files are read. Names and defaults are those of the TabularDataset factories.

    Raises:
        ConfigError: A value is out of range.
    """

    separator: str | None = option(None, "one character between fields; by default a tab for .tsv, else a comma")
    header: bool = option(True, "the first record of each file names the columns")
    encoding: str = option("utf8", "encoding of text files", choices=ENCODINGS)
    infer_column_types: bool = option(True, "settle column types from the first part of the input; else all text")
    set_column_types: dict[str, str] | None = option(
        None,
        "types of columns: int64 (int, long), int32, float64 (float, double), float32, bool (boolean), string (str), "
        "datetime",
        pairs=("NAME=TYPE", "amount=int64"),
    )
    empty_as_string: bool = option(False, "read an empty text field as an empty string instead of null")
    include_path: bool = option(False, "add the column Path")
    partition_format: str | None = option(
        None, "keys in the paths, {name} or {name:yyyy/MM/dd}, from the first key to the end; they become columns"
    )
    support_multi_line: bool = option(True, "honour line breaks inside quotes; off: every line break ends a record")
    invalid_lines: str = option("error", "JSON Lines that cannot be parsed", choices=("error", "drop"))

    def __post_init__(self) -> None:
        check(self)
        separator = self.separator
        if separator is not None and (len(separator) != 1 or not separator.isascii() or separator == "\0"):
            raise ConfigError(f"separator must be one ASCII character other than NUL, got {separator!r}")


@dataclass(frozen=True, kw_only=True)
class ParallelRunConfig(Checked):
    """The settings of a job.

    Every parameter is an option of `batch-score run` with dashes for underscores, and a key of its
    `--config FILE.yml`.

    Raises:
        ConfigError: A value has the wrong type or is out of range; the message names the parameter and the range.
    """

    elsewhere: ClassVar[dict[str, str]] = dict.fromkeys(
        (one.name for one in fields(ReaderOptions)), "give it to TabularDataset.from_delimited_files() or its like"
    )

    entry_script: str | None = option(None, "the entry script or ONNX model", cli=False, fixed=True)
    source_directory: str | None = option(
        None, "code root: working directory of the workers, first on sys.path", fixed=True
    )
    mini_batch_size: str | int | None = option(
        None,
        "bytes of a tabular mini-batch (1024, 100KB, 1MB, 1GB; default 1MB) or number of files (default 10)",
        fixed=True,
    )
    partition_keys: tuple[str, ...] | None = option(
        None, "one mini-batch for each combination of these keys of partition_format, a,b,c", fixed=True
    )
    error_threshold: int = option(
        -1, "failed items tolerated; the job stops above it; -1 = ignore", minimum=-1, flag=True
    )
    allowed_failed_count: int | None = option(None, "failed mini-batches tolerated; -1 = ignore", minimum=-1, flag=True)
    allowed_failed_percent: float | None = option(
        None, "failed mini-batches tolerated, in percent of all", minimum=0, maximum=100, flag=True
    )
    output_action: str = option(
        "append_row",
        "append_row: one output file; summary_only: the script stores results",
        choices=OUTPUT_ACTIONS,
        fixed=True,
    )
    append_row_file_name: str = option(
        "parallel_run_step.txt",
        "output file: .txt, .csv, .tsv, .jsonl or .parquet decides the form",
        flag=True,
        fixed=True,
    )
    append_row_form: str = option("auto", "form of the output file; auto: by its extension", choices=FORMS, fixed=True)
    append_row_dataframe_header: bool = option(
        False, "one header row in a .txt output when run() returns DataFrames", flag=True, fixed=True
    )
    key: str | tuple[str, ...] = option(
        "auto", "key columns of the output: auto (source and row), none, or input columns a,b,c", fixed=True
    )
    node_count: int = option(1, "nodes; this version runs on one", minimum=1)
    process_count_per_node: int | None = option(
        None, "workers; by default one per usable GPU, without GPUs one per usable core", minimum=1
    )
    run_invocation_timeout: float = option(60, "seconds one run() call may take", above=0)
    run_max_try: int = option(3, "tries of a mini-batch before it is failed for good", minimum=1)
    on_failure: str = option(
        "bisect",
        "a mini-batch that failed all its tries: bisect = split it until the bad items stand alone; "
        "skip = its items are failed items",
        choices=("bisect", "skip"),
    )
    reader_threads: int | None = option(
        None,
        "threads that read and parse mini-batches in one worker; by default one, and more, within its share of the "
        "cores, while run() waits for them",
        minimum=1,
        maximum=128,
    )
    task_overhead_timeout: float = option(600, "seconds to read a mini-batch or encode its results", above=0, flag=True)
    progress_update_timeout: float | None = option(
        None,
        "seconds without a finished try before the job fails; by default more than one full try",
        above=0,
        flag=True,
    )
    first_task_creation_timeout: float = option(
        600, "seconds from job start to the first mini-batch", above=0, flag=True
    )
    resource_monitor_interval: float = option(600, "seconds between resource samples; 0 = off", minimum=0, flag=True)
    gpu_monitor_interval: float = option(10, "seconds between samples of the GPUs' use; 0 = off", minimum=0)
    logging_level: str = option("INFO", "lowest level written", choices=LOGGING_LEVELS, flag=True)
    profiling_module: str | None = option(
        None, "profile init() and run() in each worker by this module", choices=PROFILERS, flag=True
    )
    environment_variables: dict[str, str] | None = option(
        None, "variables for the workers", pairs=("NAME=VALUE", "COLOUR=red")
    )
    model_dir: str | None = option(
        None,
        "AZUREML_MODEL_DIR of the workers: a folder, the folder of a model file, or a registered model, NAME or "
        "NAME:VERSION",
        fixed=True,
    )
    azureml_names: str = option(
        "installed",
        "azureml.core in scripts: installed = that of an installed package, else ours; ours = always ours",
        choices=AZUREML_NAMES,
    )
    engine: str = option("local", "local: worker processes; inline: this process, one worker", choices=ENGINES)
    features: tuple[str, ...] | None = option(None, "columns of an ONNX model's single matrix input, a,b,c", fixed=True)
    outputs: tuple[str, ...] | None = option(None, "outputs of an ONNX model to write, a,b,c", fixed=True)
    device: str = option("auto", "where an ONNX model runs", choices=DEVICES)
    model_batch_size: int | str | None = option(
        None,
        "rows that an ONNX model gets at once; auto = measured at the start, which is what a GPU gets by default; on "
        "the CPU by default what fits a core's cache",
    )
    precision: str = option(
        "fp32", "fp16: an ONNX model computes in half precision; what differs is told", choices=PRECISIONS, fixed=True
    )
    gpus: tuple[str, ...] | None = option(None, "GPUs to use, by index or UUID, a,b,c; by default all that are usable")
    processes_per_gpu: int = option(1, "workers on each GPU or MIG slice", minimum=1)
    gpu_names: str = option("uuid", "how CUDA_VISIBLE_DEVICES names a device", choices=("uuid", "index"))
    environment: Any = option(None, "recorded; the current interpreter is used", cli=False)
    compute_target: Any = option(None, "recorded; the job runs on this machine", cli=False)
    description: str | None = option(None, "recorded in run.json")

    def __post_init__(self) -> None:
        check(self)
        if self.node_count != 1:
            raise ConfigError(f"node_count is {self.node_count}, but engine {self.engine!r} runs on one node; use 1")
        if Path(self.append_row_file_name).name != self.append_row_file_name or self.append_row_file_name in ("", ".."):
            raise ConfigError(
                f"append_row_file_name must be a file name without a folder, got {self.append_row_file_name!r}; "
                "the folder is the output's"
            )
        if self.gpus and self.device == "cpu":
            raise ConfigError(f"gpus names {', '.join(self.gpus)}, but device is cpu: leave one of them out")
        if self.processes_per_gpu != 1 and self.process_count_per_node is not None:
            raise ConfigError(
                "processes_per_gpu and process_count_per_node both say how many workers to start: give one"
            )
        if self.mini_batch_size is not None:
            parse_size(self.mini_batch_size)
        size = self.model_batch_size
        if size not in (None, "auto") and not (isinstance(size, int) and size > 0):
            raise ConfigError(f"model_batch_size must be a number of rows of at least 1, or auto, got {size!r}")
        if self.partition_keys is not None:
            _check_partition(self.partition_keys, self.mini_batch_size)

    @classmethod
    def load_yaml(cls, path: str | Path) -> Self:
        """Reads a configuration file whose keys are parameter names."""
        return cls(**read_yaml(Path(path), cls))

    def save_to_yaml(self, path: str | Path) -> None:
        """Writes what differs from the defaults, so that `load_yaml` gives an equal configuration."""
        write_yaml(Path(path), plain(self))

    @property
    def tolerated_mini_batches(self) -> int | None:
        """`allowed_failed_count`, None when failed mini-batches are ignored."""
        return None if self.allowed_failed_count in (None, -1) else self.allowed_failed_count

    @property
    def long_timeouts(self) -> tuple[str, ...]:
        """Time limits longer than those that the ParallelRunStep contract knows: they work, but may be a slip."""
        limits = [(one.name, getattr(self, one.name)) for one in fields(self) if one.name.endswith("_timeout")]
        return tuple(
            f"{name} is {value:g} s, more than three days" for name, value in limits if (value or 0) > LONGEST_TIMEOUT
        )

    @property
    def stall_timeout(self) -> float:
        """Seconds without a finished try before the job fails.

        When derived it exceeds the longest `init()` that the breakers allow and one full try after it.
        """
        longest_init = 3 * self.run_invocation_timeout + 30
        derived = longest_init + self.task_overhead_timeout + self.run_invocation_timeout + 60
        return self.progress_update_timeout or derived


def _check_partition(keys: tuple[str, ...], mini_batch_size: str | int | None) -> None:
    if not keys or "" in keys or len(set(keys)) < len(keys):
        raise ConfigError(f"partition_keys must name different keys, got {', '.join(keys) or 'none'}")
    if mini_batch_size is not None:
        raise ConfigError(
            f"partition_keys and mini_batch_size ({mini_batch_size}) both say how the input is cut: give one of them"
        )


def parse_size(value: str | int) -> int:
    """Bytes of `1024`, `1024KB`, `10MB`, `1GB` or `100 kb`: any case, powers of 1024.

    Raises:
        ConfigError: The text is no size, or it is zero or larger than any file.
    """
    match = SIZE.fullmatch(str(value))
    size = int(match[1]) * UNITS[(match[2] or "").lower()] if match else 0
    if not 1 <= size <= LARGEST_BYTES:
        raise ConfigError(f"mini_batch_size must be like 1024, 100KB, 10MB or 1GB, got {value!r}")
    return size


def mini_batch_files(value: str | int | None) -> int:
    """Files of a mini-batch of a FileDataset; a value with a unit is an error."""
    if value is None:
        return DEFAULT_FILES
    if not str(value).strip().isdigit() or int(value) < 1:
        raise ConfigError(
            f"mini_batch_size counts files for a FileDataset: give an integer of at least 1, got {value!r}"
        )
    return int(value)


def mini_batch_bytes(value: str | int | None) -> int:
    """Bytes of a mini-batch of a TabularDataset."""
    return DEFAULT_BYTES if value is None else parse_size(value)
