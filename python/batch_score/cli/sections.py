"""The help of a command with many options: in sections, by what they are about."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from batch_score.cli.options import told
from batch_score.config import ParallelRunConfig, ReaderOptions
from batch_score.errors import ConfigError
from batch_score.option import rules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OPTIONS = {field.name for cls in (ParallelRunConfig, ReaderOptions) for field in fields(cls) if rules(field).cli}
# What is in no section is the command's own and comes first.
SECTIONS = {
    "Input": ("input_type", "mini_batch_size", "partition_keys", *(field.name for field in fields(ReaderOptions))),
    "Output": (
        *("append_row_file_name", "append_row_form", "append_row_dataframe_header"),
        *("key", "output_action", "description"),
    ),
    "Entry script": ("source_directory", "environment_variables", "model_dir", "azureml_names"),
    "ONNX models": ("features", "outputs", "model_batch_size", "precision"),
    "Failures": (
        *("error_threshold", "allowed_failed_count", "allowed_failed_percent"),
        *("run_max_try", "on_failure"),
    ),
    "Time limits": (
        *("run_invocation_timeout", "task_overhead_timeout"),
        *("first_task_creation_timeout", "progress_update_timeout"),
    ),
    "GPUs and workers": (
        *("device", "gpus", "processes_per_gpu", "gpu_names", "process_count_per_node", "reader_threads"),
        *("engine", "node_count"),
    ),
    "Logs": ("logging_level", "resource_monitor_interval", "gpu_monitor_interval", "profiling_module"),
}


def as_typed(message: str, given: Mapping[str, Any]) -> str:
    """A message in which the parameters that the command line has given are its options.

    Args:
        message: With parameters as they are called in Python and in files.
        given: Values by parameter.
    """
    for name, value in given.items():
        if name in OPTIONS:
            typed = f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
            message = re.sub(rf"(?<![\w'\"./-]){name}(?![\w'\"/=-])", typed, message)
    return message


class JobCommand(click.Command):
    """A command with the options of a job: its help has sections, and its errors name options as they were typed.

    Args:
        script: What follows `--` is passed on to the entry script.
    """

    def __init__(self, *given: Any, script: bool = False, **named: Any) -> None:
        super().__init__(*given, **named)
        self._script = script

    def invoke(self, ctx: click.Context) -> Any:
        """Carries the command out."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise ConfigError(as_typed(str(error), told(ctx.params))) from error

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """The words of the usage line."""
        return [*super().collect_usage_pieces(ctx), *(["[-- SCRIPT ARGUMENTS]"] if self._script else [])]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, those of each section in its order."""
        options = (param for param in self.get_params(ctx) if isinstance(param, click.Option))
        rows = {str(option.name): option.get_help_record(ctx) for option in options}
        for title, names in self._sections(list(rows)):
            found = [row for name in names if (row := rows[name]) is not None]
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)

    def _sections(self, names: list[str]) -> Iterator[tuple[str, list[str]]]:
        placed = {name for section in SECTIONS.values() for name in section}
        yield "Options", [name for name in names if name not in placed]
        for title, section in SECTIONS.items():
            yield title, [name for name in section if name in names]
