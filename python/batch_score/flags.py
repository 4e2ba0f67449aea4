"""The runtime flags among an entry script's arguments, and the arguments a worker puts on `sys.argv`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

from batch_score.config import ParallelRunConfig
from batch_score.errors import ConfigError
from batch_score.option import coerce, kinds, rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FLAGS = tuple(field.name for field in fields(ParallelRunConfig) if rules(field).flag)
# Flags of the ParallelRunStep contract that have no effect here, yet count when a prefix must be unique.
OTHERS = (
    *("amlbi_async_mode", "amlbi_dataframe_mixed_types", "amlbi_file_format", "amlbi_mini_batch_rows"),
    *("amlbi_pf_enabled", "amlbi_pf_run_mode", "append_row_safe_output", "copy_logs_to_parent"),
    *("metrics_name_prefix", "push_metrics_to_parent", "resume_from"),
)

# Of these, the ones whose effect a job would miss: refused rather than ignored. None stands for any value.
REFUSED = {"amlbi_async_mode": "true", "amlbi_pf_enabled": "true", "resume_from": None}
INSTEAD = {"resume_from": "go on with an earlier run by `batch-score resume RUN_DIR`"}


def with_flags(config: ParallelRunConfig, arguments: Sequence[str]) -> ParallelRunConfig:
    """The configuration after the runtime flags in `arguments`.

    A unique prefix of a flag counts as the flag when its value is valid for it; otherwise it is the script's
    own argument. The arguments themselves are left as they are.

    Raises:
        ConfigError: A flag has a value out of its range, or asks for what is not supported.
    """
    accepted = kinds(ParallelRunConfig)
    for text, value in _pairs(arguments):
        name = text.removeprefix("--").replace("-", "_")
        if name in REFUSED and REFUSED[name] in (None, value.lower()):
            advice = INSTEAD.get(name, "leave it out")
            raise ConfigError(f"argument {text} {value}: this version does not do that; {advice}")
        matches = [flag for flag in FLAGS if flag == name] or [flag for flag in FLAGS if flag.startswith(name)]
        if len(matches) != 1 or any(flag.startswith(name) for flag in OTHERS):
            continue
        try:
            config = replace(config, **{matches[0]: coerce(matches[0], value, accepted[matches[0]])})
        except ConfigError:
            if matches[0] == name:
                raise
    return config


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each `--name value` and `--name=value`; a flag without a value is no runtime flag."""
    for position, text in enumerate(arguments):
        if len(text) > 2 and text.startswith("--"):  # noqa: PLR2004 - a bare `--` ends a script's own options
            name, equals, value = text.partition("=")
            if equals:
                yield name, value
            elif position + 1 < len(arguments):
                yield name, arguments[position + 1]


def script_arguments(config: ParallelRunConfig, output: str | None, arguments: Sequence[object]) -> list[str]:
    """What follows the script's name on a worker's `sys.argv`: system arguments first, then the user's as text.

    The system's come first and as `--name=value`: argparse accepts prefixes, so a later `--output x` would
    overwrite a script's own `--output_dir`.
    """
    system = [
        f"--append_row_file_name={config.append_row_file_name}",
        f"--logging_level={config.logging_level}",
    ]
    if output is not None:
        system.insert(0, f"--output={output}")
    return [*system, *(str(argument) for argument in arguments)]
