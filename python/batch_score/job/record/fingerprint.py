"""What a run depends on, in named parts: a resumed run must find all of it as it was, or say what is not.

A part has a hash, and as much beside it as is needed to name what changed. The run id in the journal's header is made
of all parts, once, when a run begins.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from batch_score.dataset.origin import FILE
from batch_score.dataset.tabular import TabularDataset
from batch_score.job.record.sources import DIGITS, content_hash, model_states, source_states
from batch_score.option import fixed_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from batch_score.config import ParallelRunConfig
    from batch_score.dataset.base import Dataset
    from batch_score.job.record.sources import State

LISTED = 1000
SHOWN = 5
SOURCE = "the source file "


@dataclass(frozen=True)
class Listing:
    """Files and what tells their content.

    Attributes:
        states: (size, mtime in ns) or (hash,) by path; of a listing that was written down only the first LISTED.
        count: How many files there are.
        digest: Hash over all of them.
    """

    states: Mapping[str, State]
    count: int
    digest: str

    @classmethod
    def of(cls, states: Mapping[str, State]) -> Self:
        """The listing of all `states`."""
        digest = hashlib.sha256()
        for path, state in states.items():
            digest.update("\0".join((path, *map(str, state), "")).encode("utf-8", "surrogateescape"))
        return cls(states, len(states), digest.hexdigest()[:DIGITS])

    def as_json(self) -> dict[str, Any]:
        """What is written down."""
        return {"files": self.count, "hash": self.digest, "listed": dict(islice(self.states.items(), LISTED))}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What was written down."""
        return cls({path: tuple(state) for path, state in content["listed"].items()}, content["files"], content["hash"])

    def changes(self, now: Listing, what: str) -> Iterator[str]:
        """What is not as it was; `what` stands before a path."""
        if self.digest == now.digest:
            return
        found = False
        for path, was in self.states.items():
            state = now.states.get(path)
            if state != was:
                found = True
                yield f"{what}{path} is missing" if state is None else f"{what}{path} changed{_difference(was, state)}"
        if self.count == len(self.states):  # else a path that is not listed may have been there
            yield from (f"{what}{path} is new" for path in now.states if path not in self.states)
        elif not found:
            yield f"{what}files beyond the first {LISTED:,} changed, {now.count:,} are there (were {self.count:,})"


def _difference(was: State, state: State) -> str:
    if len(was) == 1 or len(state) == 1:
        return ""
    return f": {_described(*state)} (was {_described(*was)})"


def _described(size: int, mtime_ns: int) -> str:
    return f"{size:,} bytes, modified {datetime.fromtimestamp(mtime_ns / 1e9, UTC).isoformat(timespec='milliseconds')}"


@dataclass(frozen=True)
class DatasetPrint:
    """What a run depends on of one dataset.

    Attributes:
        kind: As in `Origin`.
        options: The reader options that differ from their defaults.
        columns: Settled types by name, as text; empty for files.
        files: The input files; for a FileDataset its inputs as given, made absolute.
    """

    kind: str
    options: Mapping[str, Any]
    columns: Mapping[str, str]
    files: Listing

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """What a run depends on of `dataset`; looks up size and time of every file of a table."""
        origin = dataset.origin
        content = {} if origin is None else origin.as_json()
        columns = {}
        if isinstance(dataset, TabularDataset):
            columns = {one.name: f"{one.type}{'' if one.nullable else ' not null'}" for one in dataset.schema}
        # Of a FileDataset only the inputs are compared here: looking at ten million files would hold up every run.
        # The journal has the identity of each mini-batch, with the paths of its files, and is compared while planning.
        base = os.getcwd() if dataset.kind == FILE else ""  # noqa: PTH109 - text is what is joined
        files = {str(Path(base, path)): (size, mtime) for path, size, mtime in dataset.fingerprint()}
        return cls(content.get("kind", dataset.kind), content.get("options", {}), columns, Listing.of(files))

    def as_json(self) -> dict[str, Any]:
        """What is written down."""
        return {"kind": self.kind, "options": self.options, "columns": self.columns, **self.files.as_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What was written down."""
        return cls(content["kind"], content["options"], content["columns"], Listing.from_json(content))

    def changes(self, now: DatasetPrint) -> Iterator[str]:
        """What is not as it was."""
        if self.kind != now.kind:
            yield f"the input is {now.kind} (was {self.kind})"
            return
        found = [
            f"{name} is {_value(now.options, name)} (was {_value(self.options, name)})"
            for name in dict.fromkeys([*self.options, *now.options])
            if self.options.get(name) != now.options.get(name)
        ]
        found += self.files.changes(now.files, "input ")
        yield from found
        # Other files and options explain other columns. Without them it is another version of the software.
        if not found and list(self.columns.items()) != list(now.columns.items()):
            yield "the columns or their types are not what they were"


def changed_meanwhile(before: Sequence[DatasetPrint], datasets: Sequence[Dataset]) -> list[str]:
    """Which files of tables are not what they were, each as a clause; of a FileDataset nobody looks at them."""
    found: list[str] = []
    for one, dataset in zip(before, datasets, strict=True):
        if isinstance(dataset, TabularDataset):
            states = {str(Path(path)): state for path in dataset.paths if (state := _state(path)) is not None}
            found += one.files.changes(Listing.of(states), "input ")
    return found


def _state(path: str) -> State | None:
    try:
        state = Path(path).stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _paths(dataset: Dataset) -> list[Path]:
    """The input files of a table; of files the inputs as given."""
    return [Path(path).resolve() for path, *_ in dataset.fingerprint()]


def _value(options: Mapping[str, Any], name: str) -> str:
    return repr(options[name]) if name in options else "the default"


@dataclass(frozen=True)
class ScorerPrint:
    """What a run depends on of the scorer.

    Attributes:
        name: The entry script or model as given.
        digest: Hash of its content; empty for a module whose file is not known.
        sources: What lies beside it and counts: the rest of `source_directory`, `parallel_run_step.settings.json`,
            the files in which a model keeps its weights, and what `model_dir` names.
    """

    name: str
    digest: str
    sources: Listing

    @classmethod
    def of(cls, config: ParallelRunConfig, path: str, apart: Collection[Path] = ()) -> Self:
        """What a run depends on of the scorer at `path`, whose content is read; `apart` is no source of it."""
        sources = source_states(Path(path), config.source_directory, apart)
        if config.model_dir is not None:
            sources |= model_states(config.model_dir, apart)
        return cls(str(config.entry_script), content_hash(Path(path)), Listing.of(sources))

    def as_json(self) -> dict[str, Any]:
        """What is written down."""
        return {"name": self.name, "hash": self.digest, "sources": self.sources.as_json()}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What was written down."""
        return cls(content["name"], content["hash"], Listing.from_json(content["sources"]))

    def changes(self, now: ScorerPrint) -> Iterator[str]:
        """What is not as it was; another name is another setting, which is named there."""
        if self.name == now.name and self.digest != now.digest:
            yield f"{'the model' if now.name.lower().endswith('.onnx') else 'the entry script'} {now.name} changed"
        twice = f"{SOURCE}{now.name} changed"
        yield from (text for text in self.sources.changes(now.sources, SOURCE) if text != twice)


@dataclass(frozen=True)
class Fingerprint:
    """All that a run depends on.

    Attributes:
        inputs: One part for each dataset.
        scorer: The entry script or model.
        settings: The settings that may not change when a run is resumed.
        arguments: The entry script's own arguments.
    """

    inputs: tuple[DatasetPrint, ...]
    scorer: ScorerPrint
    settings: Mapping[str, Any]
    arguments: tuple[str, ...]

    @classmethod
    def of(
        cls,
        config: ParallelRunConfig,
        datasets: Sequence[Dataset],
        scorer: str,
        arguments: Sequence[object],
        written: Collection[Path] = (),
    ) -> Self:
        """What a run depends on.

        Args:
            config: Settings, runtime flags among the arguments included.
            datasets: Inputs, all their columns included.
            scorer: File of the scorer, or a dotted name where no file is known.
            arguments: The entry script's own arguments.
            written: Folders that the run writes into, which may lie in its source directory as its input may.

        Raises:
            OSError: A file cannot be read.
        """
        inputs = tuple(DatasetPrint.of(dataset) for dataset in datasets)
        read = [] if config.source_directory is None else [path for dataset in datasets for path in _paths(dataset)]
        return cls(
            inputs,
            ScorerPrint.of(config, scorer, [*read, *written]),
            fixed_settings(config),
            tuple(map(str, arguments)),
        )

    @property
    def run_id(self) -> bytes:
        """16 bytes that tell a run of these parts from others."""
        content = self.as_json()
        for part in (*content["inputs"], content["scorer"]["sources"]):
            del part["listed"]  # of which `hash` is over all
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).digest()[:16]

    def as_json(self) -> dict[str, Any]:
        """The parts as JSON values."""
        return {
            "inputs": [one.as_json() for one in self.inputs],
            "scorer": self.scorer.as_json(),
            "settings": dict(self.settings),
            "arguments": list(self.arguments),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """What `as_json` was made of, with no more than the first files of each listing.

        Raises:
            KeyError, TypeError, AttributeError: The content is not of that form.
        """
        return cls(
            tuple(DatasetPrint.from_json(one) for one in content["inputs"]),
            ScorerPrint.from_json(content["scorer"]),
            content["settings"],
            tuple(content["arguments"]),
        )

    def changes(self, now: Fingerprint) -> list[str]:
        """What is not as it was when this fingerprint was taken, each as a clause; empty when all is."""
        found = []
        if len(self.inputs) != len(now.inputs):
            found.append(f"the number of datasets is {len(now.inputs)} (was {len(self.inputs)})")
        else:
            found += [text for was, one in zip(self.inputs, now.inputs, strict=True) for text in was.changes(one)]
        found += self.scorer.changes(now.scorer)
        found += [
            f"{name} is {_setting(now.settings.get(name))} (was {_setting(value)})"
            for name, value in self.settings.items()
            if now.settings.get(name) != value
        ]
        if self.arguments != now.arguments:  # which are not shown: one may be a secret
            found.append("the arguments of the entry script changed")
        return found


def _setting(value: Any) -> str:
    if value is None:
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def enumerated(changes: Sequence[str]) -> str:
    """The first few changes as one clause."""
    more = len(changes) - SHOWN
    return "; ".join(changes if more <= 0 else [*changes[:SHOWN], f"and {more:,} more"])
