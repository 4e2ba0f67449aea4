"""Reading `run.json`: what a run says of its earlier sessions."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score.config import ParallelRunConfig
from batch_score.errors import ConfigError, OutputError
from batch_score.job.layout import RUN_RECORD
from batch_score.job.record.fingerprint import Fingerprint
from batch_score.summary import COMPLETED

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
# What a session that goes on, or a result that is used again, is made of.
NEEDED = ("status", "started", "working_directory", "config", "arguments", "inputs", "output_folder", "output")


@dataclass(frozen=True)
class Recorded:
    """What `run.json` says of a run's earlier sessions.

    Attributes:
        run_dir: The run directory as it was found, absolute.
        content: The whole record.
        fingerprint: What the run depended on when its last session began.
        run_id: 16 bytes in the journal's header.
    """

    run_dir: Path
    content: Mapping[str, Any]
    fingerprint: Fingerprint
    run_id: bytes

    @classmethod
    def read(cls, run_dir: Path) -> Self:
        """The record of a run directory.

        Raises:
            OutputError: There is none, or it cannot be understood.
        """
        path = run_dir.absolute() / RUN_RECORD
        try:
            content = _content(path)
            fingerprint = Fingerprint.from_json(content["fingerprint"])
            return cls(path.parent, content, fingerprint, bytes.fromhex(content["run_id"]))
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{path.parent} is no run directory, for it has no {RUN_RECORD}; give the folder of a run"
            raise OutputError(message) from error
        except OSError as error:
            raise OutputError(f"{path}: {error.strerror}; give a run directory that can be read") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"{path} is not the record of a run ({error!r}); start a new run") from error

    @property
    def config(self) -> ParallelRunConfig:
        """The settings of the run's last session.

        Raises:
            OutputError: This version cannot have such settings.
        """
        given = self.content["config"]
        try:
            unknown = given.keys() - {field.name for field in fields(ParallelRunConfig)}
            if not unknown:
                return ParallelRunConfig(**given)
            reason = f"the setting {min(unknown)!r} is not known to this version"
        except (ConfigError, AttributeError, TypeError) as error:
            reason = str(error)
        raise OutputError(
            f"{self.path} cannot be used: {reason}; use the version of batch-score that wrote it, or start a new run"
        )

    @property
    def completed(self) -> bool:
        """The run has nothing left to do."""
        return bool(self.content["status"] == COMPLETED)

    @property
    def path(self) -> Path:
        """The file."""
        return self.run_dir / RUN_RECORD

    @property
    def output(self) -> Path | None:
        """The output file, also when the run directory was moved with it; None for `summary_only`."""
        found = self.content["output"]
        if found is None or self.content["output_folder"] is not None:
            return None if found is None else Path(found)
        return self.run_dir / "outputs" / Path(found).name


def _content(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if content["format"] != FORMAT:
        raise OutputError(f"{path} has format {content['format']}, which this version does not know; use the newer one")
    for name in NEEDED:
        content[name]  # a KeyError tells which one is missing
    return content
