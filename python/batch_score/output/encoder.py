"""What every output form offers to the worker and the coordinator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """How the results are written.

    Attributes:
        file_name: Name of the output file; its extension selects the form, unless `form` does.
        header_in_text: Whether the text form begins with the column names of the returned DataFrames
            (`append_row_dataframe_header`).
        to_csv: Arguments that override the text form's `DataFrame.to_csv` (from `parallel_run_step.settings.json`).
        form: Form of a file of any name, as an extension without its dot; `auto` looks at the name.
    """

    file_name: str
    header_in_text: bool = False
    to_csv: Mapping[str, object] = field(default_factory=dict)
    form: str = "auto"

    @property
    def suffix(self) -> str:
        """The extension that stands for the form, in small letters and with its dot."""
        return PurePath(self.file_name).suffix.lower() if self.form == "auto" else f".{self.form}"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The records of one mini-batch, ready to be appended.

    Attributes:
        payload: Whole records; empty when `run()` returned no element.
        columns: What the header line must name, in order; empty when there are no records, and in forms that
            have no header line.
    """

    payload: bytes
    columns: tuple[str, ...]


class Encoder(Protocol):
    """One output form.

    The bytes of a mini-batch depend on nothing but that mini-batch, so they may be appended in any order and
    made again by another try.
    """

    @property
    def suffix(self) -> str:
        """Extension of the output file that selects the form, with its dot."""

    @property
    def separator(self) -> str | None:
        """What stands between two fields of a record, None in forms that do not need it."""

    @property
    def keyed(self) -> bool:
        """Whether every record carries its key."""

    @property
    def spooled(self) -> bool:
        """Whether the payloads are segments of a spool file, from which the output file is made at the end."""

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:
        """Encodes what one call of `run()` returned.

        Args:
            returned: The elements.
            keys: One row per item of the mini-batch, None for no keys.
            positions: Item of every element, None when unknown.

        Returns:
            The records, without a header.

        Raises:
            ReturnTypeError: If the elements cannot be written in this form.
        """

    def preamble(self, columns: tuple[str, ...]) -> bytes:
        """Writes what stands once at the beginning of the output file.

        Args:
            columns: The first non-empty `Encoded.columns` of the job.

        Returns:
            The header line, empty when there is none.
        """


def check_columns(expected: tuple[str, ...], got: tuple[str, ...]) -> str | None:
    """Compares the columns of a mini-batch with those that the header names.

    Args:
        expected: Columns that the output file began with; empty while there are none.
        got: Columns of the mini-batch; empty when it has no records or its form no header.

    Returns:
        A message when the records would not fit under the header, else None.
    """
    if not expected or not got or expected == got:
        return None
    missing = [name for name in expected if name not in got]
    surplus = [name for name in got if name not in expected]
    if missing or surplus:
        parts = [f"without {_listed(missing)}"] * bool(missing) + [f"with the new {_listed(surplus)}"] * bool(surplus)
        difference = " and ".join(parts)
    else:
        difference = f"in the order {_listed(list(got))} instead of {_listed(list(expected))}"
    return (
        f"run() returned columns {difference}, but the output file began with other ones: return the same columns "
        "in the same order from every call, or write .jsonl or .parquet, where records name their own columns"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names))
