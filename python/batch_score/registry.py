"""Models under a name and a version, as folders on disk.

    ROOT/NAME/VERSION/model.json     content hash, tags, description, when and from where
    ROOT/NAME/VERSION/model/...      the file or folder that was registered, under its own name

A version is made beside the others under a name of its own and then renamed, which the kernel does at once and refuses
where that version is taken already: any number of processes may register at the same moment without a lock, a reader
never sees half of a model, and a process that is killed leaves a draft that nobody reads.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "BATCH_SCORE_MODELS"
RECORD, CONTENT, DRAFT = "model.json", "model", ".draft-"
NAME = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]{0,254}")
REFERENCE = re.compile(rf"(?:azureml:)?({NAME.pattern})(?::([1-9][0-9]*)|@latest)?")
FORMAT = 1
# After so long a draft is what a killed process has left.
STALE_S = 24 * 3600.0
SHOWN = 20


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a model.

    Attributes:
        name: Its name.
        version: Counted from 1.
        folder: The folder that holds the file or folder that was registered: what `AZUREML_MODEL_DIR` is.
        digest: SHA-256 in hexadecimal digits: of a file's content, of a folder over the paths and hashes of its files.
        size: Bytes of all files.
        files: How many there are.
        created: When it was registered, ISO 8601 in UTC.
        source: The path it was registered from.
        description: Words of whoever registered it.
        tags: The same as names and values.
        properties: As tags.
        framework: What can load it, e.g. `Onnx`.
        framework_version: Version of that.
        run_id: The run that registered it, empty for none.
    """

    name: str
    version: int
    folder: Path
    digest: str
    size: int
    files: int
    created: str
    source: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    framework: str = ""
    framework_version: str = ""
    run_id: str = ""

    @property
    def path(self) -> Path:
        """The file or folder that was registered."""
        return next(iter(self.folder.iterdir()))

    @property
    def id(self) -> str:
        """`NAME:VERSION`."""
        return f"{self.name}:{self.version}"

    def as_json(self) -> dict[str, Any]:
        """What `batch-score model show --json` prints."""
        return {**asdict(self), "folder": str(self.folder), "path": str(self.path)}


class Registry:
    """The models below one folder.

    Args:
        root: The folder, by default `BATCH_SCORE_MODELS`, or else `~/.batch-score/models`. Made when it is needed.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get(VARIABLE) or Path.home() / ".batch-score" / "models").absolute()

    def register(self, name: str, path: str | Path, **about: Any) -> RegisteredModel:
        """Copies a file or folder into the registry as the next version of `name`.

        Args:
            name: Letters, digits, dashes, underscores and dots, at most 255; begins with a letter or digit.
            path: What is registered; links are followed.
            about: Fields of `RegisteredModel` that describe it: description, tags, properties, framework,
                framework_version, run_id.

        Raises:
            ModelError: The name cannot be used, there is nothing at `path`, or the registry cannot be written.
        """
        if not NAME.fullmatch(name):
            raise ModelError(
                f"model name {name!r}: give at most 255 letters, digits, dashes, underscores and dots that begin with "
                "a letter or digit"
            )
        source = Path(os.path.abspath(path))  # noqa: PTH100 - unlike resolve() it keeps the name of a link
        if not source.exists():
            raise ModelError(f"model {name}: {source} does not exist; give a file or folder")
        if self.root.is_relative_to(source.resolve()):
            raise ModelError(f"model {name}: {source} holds the registry {self.root} itself; give a folder without it")
        try:
            return self._registered(name, source, about)
        except shutil.Error as error:
            raise ModelError(f"model {name}: {source} cannot be copied: {error.args[0][0][-1]}") from error
        except OSError as error:
            what = error.filename or self.root
            raise ModelError(f"model {name}: {what}: {error.strerror}; the registry is {self.root}") from error

    def _registered(self, name: str, source: Path, about: Mapping[str, Any]) -> RegisteredModel:
        place = self.root / name
        place.mkdir(parents=True, exist_ok=True)
        _sweep(place, time.time())
        draft = place / f"{DRAFT}{uuid.uuid4().hex}"
        try:
            content = draft / CONTENT
            content.mkdir(parents=True)
            _copy(source, content / source.name)
            digest, size, files = _measured(content)
            record = {
                "format": FORMAT,
                "digest": digest,
                "size": size,
                "files": files,
                "source": str(source),
                "created": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **_described(about),
            }
            _write(draft / RECORD, json.dumps(record, indent=2, ensure_ascii=False))
            version = self._claim(draft, place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return self._read(name, version)

    def _claim(self, draft: Path, place: Path) -> int:
        """Gives a finished draft the next version's number; the first process to take a number has it."""
        version = max(_versions(place), default=0)
        while True:
            version += 1
            try:
                draft.rename(place / str(version))
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    continue
                raise
            _sync(place)
            return version

    def names(self) -> list[str]:
        """The names that have a version, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(one.name for one in self.root.iterdir() if NAME.fullmatch(one.name) and _versions(one))

    def models(self, name: str | None = None) -> list[RegisteredModel]:
        """All versions of one name or of all, by name and then version; a version that cannot be read is left out."""
        found = []
        for each in self.names() if name is None else [name]:
            for version in sorted(self._versions(each)):
                with suppress(ModelError):
                    found.append(self._read(each, version))
        return found

    def find(self, name: str, version: int | None = None) -> RegisteredModel:
        """A model by name, the newest version if none is given.

        Raises:
            ModelError: There is none; the message lists what there is and the folder searched.
        """
        versions = self._versions(name)
        if version is None and versions:
            version = max(versions)
        if version is None or version not in versions:
            raise ModelError(f"model {name}{'' if version is None else f':{version}'} is not known; {self.known(name)}")
        return self._read(name, version)

    def get(self, reference: str) -> RegisteredModel:
        """A model by `NAME`, `NAME:VERSION` or `NAME@latest`, also with `azureml:` before it.

        Raises:
            ModelError: There is none.
        """
        match = REFERENCE.fullmatch(reference)
        if match is None:
            raise ModelError(f"{reference!r} is no model; give NAME or NAME:VERSION; {self.known('')}")
        return self.find(match[1], int(match[2]) if match[2] else None)

    def known(self, name: str) -> str:
        """What the registry has, as a clause of a message: the versions of `name`, or else the names."""
        if versions := self._versions(name):
            which = ", ".join(map(str, sorted(versions)))
            return f"{self.root} has version{'' if len(versions) == 1 else 's'} {which} of it"
        names = self.names()
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        return f"{self.root} has {', '.join(names[:SHOWN]) + more if names else 'no models'}"

    def _versions(self, name: str) -> list[int]:
        return _versions(self.root / name) if NAME.fullmatch(name) else []

    def _read(self, name: str, version: int) -> RegisteredModel:
        folder = self.root / name / str(version)
        try:
            content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if content.pop("format") != FORMAT:
                raise ModelError(f"{folder / RECORD} was written by a newer version of batch-score; use that one")
            return RegisteredModel(name=name, version=version, folder=folder / CONTENT, **content)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{folder} is not a registered model ({error}); remove it and register again") from error


def _described(about: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptive fields that were given, as texts."""
    found: dict[str, Any] = {}
    for name, value in about.items():
        if value:
            found[name] = {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else str(value)
    return found


def _versions(place: Path) -> list[int]:
    try:
        names = [one.name for one in place.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name) for name in names if name.isascii() and name.isdigit() and name[0] != "0"]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy2(source, target)


def _measured(content: Path) -> tuple[str, int, int]:
    """Digest, bytes and number of the files below a folder; each is on the disk afterwards."""
    listed, size, files, own = hashlib.sha256(), 0, 0, ""
    for path in _files(content):
        with path.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
            size += os.fstat(file.fileno()).st_size
            os.fsync(file.fileno())
        files += 1
        listed.update(f"{path.relative_to(content).as_posix()}\0{own}\n".encode("utf-8", "surrogateescape"))
    alone = files == 1 and next(content.iterdir()).is_file()
    return own if alone else listed.hexdigest(), size, files


def _files(content: Path) -> Iterator[Path]:
    """Regular files, in an order that does not depend on the file system."""
    yield from sorted(path for path in content.rglob("*") if path.is_file())


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(place: Path, now: float) -> None:
    """Removes drafts of processes that were killed long ago."""
    for draft in place.glob(f"{DRAFT}*"):
        with suppress(OSError):
            if now - draft.stat().st_mtime > STALE_S:
                shutil.rmtree(draft, ignore_errors=True)
