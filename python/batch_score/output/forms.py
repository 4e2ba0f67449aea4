"""Which output form a file name selects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_score.errors import ConfigError
from batch_score.output.delimited import DelimitedEncoder
from batch_score.output.jsonl import JsonLinesEncoder
from batch_score.output.text import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from batch_score.output.encoder import Encoder, OutputOptions


def _parquet(_: OutputOptions) -> Encoder:
    from batch_score.output.parquet import ParquetEncoder  # noqa: PLC0415 - a tenth of our own imports, for one form

    return ParquetEncoder()


_FORMS: Mapping[str, Callable[[OutputOptions], Encoder]] = {
    ".txt": TextEncoder,
    ".csv": lambda _: DelimitedEncoder(".csv", ","),
    ".tsv": lambda _: DelimitedEncoder(".tsv", "\t"),
    ".jsonl": lambda _: JsonLinesEncoder(),
    ".parquet": _parquet,
}


def encoder_for(options: OutputOptions) -> Encoder:
    """Selects the output form.

    Args:
        options: How the results are written.

    Returns:
        The form that was asked for, or that the extension of the file name stands for, in any case of letters.

    Raises:
        ConfigError: If the extension stands for none, or the overrides of `to_csv` cannot be used.
    """
    suffix = options.suffix
    if suffix not in _FORMS:
        raise ConfigError(
            f"no output form for the file name {options.file_name!r}: end it in one of {', '.join(_FORMS)}, "
            "or give append_row_form"
        )
    return _FORMS[suffix](options)
