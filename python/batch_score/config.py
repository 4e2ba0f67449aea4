"""Every option of a job, written once: name, type, default, range and help.

The command line, configuration files, the flags in `arguments` and the Python API are all made from the fields
below. The values and ranges are those of the ParallelRunStep contract; what it does not know is our own.
"""

from __future__ import annotations

import json
import re
import types
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Union, get_args, get_origin, get_type_hints

from batch_score.errors import ConfigError
from batch_score.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DEFAULT_FILES = 10
DEFAULT_BYTES = 1 << 20
LARGEST_BYTES = 1 << 62  # no file has more
UNITS = {"": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}
SIZE = re.compile(r"\s*(\d{1,19})\s*(kb|mb|gb)?\s*", re.IGNORECASE)
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
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


@dataclass(frozen=True, slots=True)
class Option:
    """What a field of a configuration class may hold.

    Attributes:
        help: One line for `--help` and the documentation.
        pairs: What an option of names and values takes, e.g. `NAME=VALUE`, and an example.
        minimum: Smallest value.
        maximum: Largest value.
        above: The value must be greater than this.
        choices: The only values; upper and lower case are the same.
        flag: Also recognised among the entry script's `arguments`.
        cli: Offered as an option of the command line.
        fixed: Decides mini-batches, rows or their form, so it may not change when a run is resumed.
    """

    help: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    pairs: tuple[str, str] = ("", "")
    flag: bool = False
    cli: bool = True
    fixed: bool = False


def option(default: Any, text: str, **rules: Any) -> Any:
    """Declares a field of a configuration class; `rules` are those of `Option`."""
    return field(default=default, metadata={"option": Option(text, **rules)})


class _Checked:
    """Refuses what is given without a name, and a keyword that is no field, with the nearest one that is."""

    def __new__(cls, *positional: Any, **given: Any) -> Self:
        if positional:
            example = f"{fields(cls)[0].name}=..."  # type: ignore[arg-type]  # every subclass is a dataclass
            raise ConfigError(
                f"{cls.__name__} takes names and values, as {example}; got {positional[0]!r} without a name"
            )
        _known(given, list(kinds(cls)), cls.__name__)
        return super().__new__(cls)


@dataclass(frozen=True, kw_only=True)
class ReaderOptions(_Checked):
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
class ParallelRunConfig(_Checked):
    """The settings of a job.

    Every parameter is an option of `batch-score run` with dashes for underscores, and a key of its
    `--config FILE.yml`.

    Raises:
        ConfigError: A value has the wrong type or is out of range; the message names the parameter and the range.
    """

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
        import yaml  # noqa: PLC0415 - as in `read_yaml`

        Path(path).write_text(yaml.safe_dump(plain(self), sort_keys=False), encoding="utf-8")

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


def rules(field_: Field[Any]) -> Option:
    """The `Option` that a field was declared with."""
    found: Option = field_.metadata["option"]
    return found


def kinds(cls: type) -> dict[str, tuple[type, ...]]:
    """The types each field accepts, NoneType among them where it is optional."""
    return {name: _flat(hint) for name, hint in get_type_hints(cls).items()}


def _flat(hint: Any) -> tuple[type, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(kind for part in get_args(hint) for kind in _flat(part))
    return (get_origin(hint) or hint,)


def check(config: Any) -> None:
    """Brings every field to its type and checks its range, in place, once, while the frozen object is made."""
    accepted = kinds(type(config))
    for field_ in fields(config):
        rule, value = rules(field_), getattr(config, field_.name)
        if dict in accepted[field_.name]:
            _check_pairs(field_.name, value, *rule.pairs)
        value = coerce(field_.name, value, accepted[field_.name])
        if rule.choices and value is not None:
            value = _choice(field_.name, value, rule.choices)
        _range(field_.name, value, rule)
        object.__setattr__(config, field_.name, value)


def coerce(name: str, value: Any, accepted: tuple[type, ...]) -> Any:
    """`value` as one of the accepted types; text is parsed, as it comes from YAML, flags and the command line."""
    if object in accepted or Any in accepted or (value is None and types.NoneType in accepted):
        return value
    for kind in accepted:
        parsed = _parse(kind, value)
        if parsed is not None:
            return parsed
    wanted = " or ".join(SHOWN.get(kind, kind.__name__) for kind in accepted if kind is not types.NoneType)
    raise ConfigError(f"{name} must be {wanted}, got {value!r}")


def _parse(kind: type, value: Any) -> Any:
    parser = PARSERS.get(kind)
    try:
        return parser(value) if parser else None
    except (ValueError, TypeError):
        return None


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    return int(value) if isinstance(value, (int, str)) or float(value).is_integer() else None


def _float(value: Any) -> float | None:
    number = None if isinstance(value, bool) else float(value)
    return None if number != number else number  # noqa: PLR0124 - NaN is in no range


def _bool(value: Any) -> bool | None:
    text = str(value).strip().lower()
    return True if text in TRUE else False if text in FALSE else None


def _str(value: Any) -> str | None:
    return str(value) if isinstance(value, (str, Path)) else None


def _names(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, str):
        listed = _json_list(value)
        value = [name for name in value.split(",") if name] if listed is None else listed
    return tuple(str(name) for name in value)


def _json_list(text: str) -> list[Any] | None:
    """The list of a text like `["a", "b"]`, as specifications have it; None for any other text."""
    if not text.lstrip().startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) else None


def _pairs(value: Any) -> dict[str, str] | None:
    if isinstance(value, (list, tuple)):
        value = dict(pair.split("=", 1) for pair in value)
    return {str(name): str(text) for name, text in value.items()} if isinstance(value, dict) else None


# How errors call what YAML has other words for.
SHOWN: dict[type, str] = {tuple: "a list of names", dict: "a mapping"}
PARSERS = {int: _int, float: _float, bool: _bool, str: _str, tuple: _names, dict: _pairs}


def _check_pairs(name: str, value: Any, form: str, example: str) -> None:
    """Refuses what is neither a mapping nor a list of texts like NAME=VALUE."""
    odd = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
    wrong = [one for one in odd if isinstance(value, str) or "=" not in str(one)]
    if wrong:
        raise ConfigError(f"{name} must be {form}, e.g. {example}; got {wrong[0]!r}")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    for choice in choices:
        if choice.lower() == value.lower():
            return choice
    raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _range(name: str, value: Any, rule: Option) -> None:
    if value is None:
        return
    if rule.minimum is not None and value < rule.minimum:
        raise ConfigError(f"{name} must be at least {rule.minimum}, got {value}")
    if rule.above is not None and value <= rule.above:
        raise ConfigError(f"{name} must be greater than {rule.above}, got {value}")
    if rule.maximum is not None and value > rule.maximum:
        raise ConfigError(f"{name} must be at most {rule.maximum}, got {value}")


def read_yaml(path: Path, *classes: type) -> dict[str, Any]:
    """The keys and values of a configuration file, checked against the fields of `classes`."""
    values = {str(name).replace("-", "_"): value for name, value in yaml_mapping(path).items()}
    _known(values, [field_.name for cls in classes for field_ in fields(cls)], str(path))
    return values


def yaml_mapping(path: Path) -> dict[Any, Any]:
    """What a YAML file holds, which must be names and values.

    Raises:
        ConfigError: The file cannot be read, is no YAML, or holds something else.
    """
    import yaml  # noqa: PLC0415 - few jobs have a configuration file, and each worker would import it

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}; give the path of a readable configuration file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        place = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}{place}: not a YAML file: {getattr(error, 'problem', error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a configuration file holds 'name: value' lines, found {type(content).__name__}")
    return content


def _known(names: Iterable[str], valid: Sequence[str], where: str) -> None:
    """Refuses a name that is not valid, with the nearest one that is."""
    for name in names:
        if name not in valid:
            if name in kinds(ReaderOptions):
                raise ConfigError(
                    f"{where} has no {name}: give it to TabularDataset.from_delimited_files() or its like"
                )
            near = nearest(name, valid)
            hint = f"; did you mean {near!r}?" if near else f"; known are {', '.join(valid)}"
            raise ConfigError(f"{where}: unknown parameter {name!r}{hint}")


def plain(config: Any) -> dict[str, Any]:
    """The fields that differ from their defaults, as plain YAML and JSON values."""
    values = {}
    for field_ in fields(config):
        value = getattr(config, field_.name)
        if field_.default is MISSING or value != field_.default:
            values[field_.name] = _as_list(value)
    return values


def fixed_settings(config: Any) -> dict[str, Any]:
    """The fields that may not change when a run is resumed, defaults included, as plain YAML and JSON values."""
    return {one.name: _as_list(getattr(config, one.name)) for one in fields(config) if rules(one).fixed}


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def yaml_value(text: str) -> Any:
    """What a piece of YAML stands for, text that is none for itself."""
    import yaml  # noqa: PLC0415 - as in `read_yaml`

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
