"""The plain text form of the ParallelRunStep contract, byte for byte.

A list-like is one `str(item)` a line; a DataFrame is what `to_csv(sep=" ", header=False, index=False)` writes.
Records carry no key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from batch_score.errors import ConfigError, ReturnTypeError
from batch_score.output.encoder import Encoded, OutputOptions
from batch_score.output.frames import is_frame, is_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from batch_score.output.align import Positions
    from batch_score.output.returned import Returned

_DEFAULTS: Mapping[str, object] = {"sep": " ", "index": False, "lineterminator": "\n"}


class TextEncoder:
    """Writes `.txt`."""

    suffix = ".txt"
    keyed = False
    spooled = False

    def __init__(self, options: OutputOptions) -> None:
        self._header = options.to_csv.get("header", False) or options.header_in_text
        self._to_csv: dict[str, Any] = {**_DEFAULTS, **options.to_csv, "header": False}
        self._check()
        self.separator: str | None = str(self._to_csv["sep"])

    def encode(self, returned: Returned, keys: pa.Table | None, positions: Positions | None) -> Encoded:  # noqa: ARG002 - this form has no keys
        """Encodes the elements; see `Encoder.encode`."""
        if returned.length == 0:
            return Encoded(b"", ())
        value = returned.value
        if isinstance(value, pa.Table):
            value = value.to_pandas(integer_object_nulls=True)  # else a null would turn integers into floats
        if is_frame(value):
            columns = self._labels(value) if self._header else ()
            return Encoded(_utf8(value.to_csv(**self._to_csv)), columns)
        items: Iterable[Any] = value.tolist() if isinstance(value, np.ndarray) or is_series(value) else value
        return Encoded(_utf8("".join([f"{item!s}\n" for item in items])), ())

    def preamble(self, columns: tuple[str, ...]) -> bytes:
        """Writes the header line, if one was asked for; see `Encoder.preamble`."""
        if not columns:
            return b""
        import pandas as pd  # noqa: PLC0415 - slow to import, and most jobs have no header line

        form = {name: self._to_csv[name] for name in _HEADER_FORM if name in self._to_csv}
        return _utf8(pd.DataFrame(columns=list(columns)).to_csv(index=False, **form))

    def _labels(self, frame: pd.DataFrame) -> tuple[str, ...]:
        """Names the fields of a header line the way `to_csv` does."""
        header = self._header
        names = header if isinstance(header, list) else self._to_csv.get("columns") or frame.columns
        return tuple(str(name) for name in (*self._index_labels(frame), *names))

    def _index_labels(self, frame: pd.DataFrame) -> list[Any]:
        label = self._to_csv.get("index_label")
        if not self._to_csv["index"] or label is False:
            return []
        if label is not None:
            return list(label) if isinstance(label, list | tuple) else [label]
        return ["" if name is None else name for name in frame.index.names]

    def _check(self) -> None:
        """Lets a wrong value of an override fail before anything is started."""
        if self._to_csv == {**_DEFAULTS, "header": False}:
            return
        import pandas as pd  # noqa: PLC0415 - slow to import, and few jobs have overrides

        try:
            pd.DataFrame({"a": [0.5], "b": ["x"]}).to_csv(**{**self._to_csv, "columns": None, "index_label": None})
        except (TypeError, ValueError, LookupError) as error:
            raise ConfigError(f"the settings of DataFrame.to_csv cannot be used: {error}") from error


_HEADER_FORM = ("sep", "quoting", "quotechar", "doublequote", "escapechar", "lineterminator")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ReturnTypeError(
            f"run() returned the character {text[error.start]!r}, which is not valid Unicode and cannot be written "
            "as UTF-8: replace lone surrogates first"
        ) from error
