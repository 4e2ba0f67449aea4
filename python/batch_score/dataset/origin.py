"""How a dataset was asked for: what is written down of it, so that a resumed run can open it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from batch_score.config import ReaderOptions
from batch_score.option import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "file"


@dataclass(frozen=True)
class Origin:
    """The inputs of a dataset as the user gave them.

    Attributes:
        kind: `delimited`, `jsonl`, `parquet` or `file`.
        inputs: Files, folders and globs; relative ones are relative to the working directory of that time.
        options: How tables are read.
    """

    kind: str
    inputs: tuple[str, ...]
    options: ReaderOptions = ReaderOptions()

    def as_json(self) -> dict[str, Any]:
        """Kind, inputs and the options that differ from their defaults, as JSON values."""
        return {"kind": self.kind, "inputs": list(self.inputs), "options": plain(self.options)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `as_json` was made of.

        Raises:
            KeyError: `kind` or `inputs` is missing.
            ConfigError: An option is unknown or out of range.
        """
        inputs = tuple(str(one) for one in content["inputs"])
        return cls(str(content["kind"]), inputs, ReaderOptions(**content.get("options", {})))
