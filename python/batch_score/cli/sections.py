"""The help of a command with many options: in sections, by what they are about."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from batch_score.config import ReaderOptions

if TYPE_CHECKING:
    from collections.abc import Iterator

# What is in no section is the command's own and comes first.
SECTIONS = {
    "Input": ("input_type", "mini_batch_size", "partition_keys", *(field.name for field in fields(ReaderOptions))),
    "Output": (
        *("append_row_file_name", "append_row_form", "append_row_dataframe_header", "key"),
        *("output_action", "description"),
    ),
    "Entry script": ("source_directory", "environment_variables", "model_dir", "azureml_names"),
    "ONNX models": ("features", "outputs", "model_batch_size", "precision"),
    "Failures": (
        *("error_threshold", "allowed_failed_count", "allowed_failed_percent", "run_max_try"),
        *("on_failure",),
    ),
    "Time limits": (
        *("run_invocation_timeout", "task_overhead_timeout", "first_task_creation_timeout"),
        *("progress_update_timeout",),
    ),
    "GPUs and workers": (
        *("device", "gpus", "processes_per_gpu", "gpu_names", "process_count_per_node", "reader_threads"),
        *("engine", "node_count"),
    ),
    "Logs": ("logging_level", "resource_monitor_interval", "gpu_monitor_interval", "profiling_module"),
}


class Sectioned(click.Command):
    """A command whose help has sections.

    Args:
        script: What follows `--` is passed on to the entry script.
    """

    def __init__(self, *given: Any, script: bool = False, **named: Any) -> None:
        super().__init__(*given, **named)
        self._script = script

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
