"""`azureml.core.Datastore`: a folder of the workspace."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from batch_score.azureml.core.workspace import Workspace

DEFAULT = "workspaceblobstore"


@dataclass(frozen=True)
class DataPath:
    """A path in a datastore, usable wherever a path is.

    Attributes:
        datastore: The datastore.
        path_on_datastore: The path in it.
    """

    datastore: Datastore
    path_on_datastore: str = ""

    def __fspath__(self) -> str:
        return str(self.datastore.folder / self.path_on_datastore)

    def __str__(self) -> str:
        return os.fspath(self)


class Datastore:
    """A folder in which data lies under names.

    Args:
        workspace: What it belongs to.
        name: Its name, by default that of the default datastore.
    """

    def __init__(self, workspace: Workspace, name: str | None = None) -> None:
        self.workspace = workspace
        self.name = name or DEFAULT
        if Path(self.name).name != self.name or self.name in (".", ".."):
            raise ConfigError(f"datastore {self.name!r}: give a name without slashes")
        self.folder = workspace.folder / "datastores" / self.name

    def __repr__(self) -> str:
        return f"Datastore(name={self.name!r}, folder={str(self.folder)!r})"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("register_"):
            raise ConfigError(
                f"Datastore.{name} is about storage in the cloud, which is not reached from here; mount or copy it and "
                f"give the folder, or put the files into {self.folder}"
            )
        raise AttributeError(f"a Datastore has no attribute {name!r}")

    @staticmethod
    def get(workspace: Workspace, datastore_name: str) -> Datastore:
        """The datastore of that name."""
        return Datastore(workspace, datastore_name)

    @staticmethod
    def get_default(workspace: Workspace) -> Datastore:
        """The default datastore."""
        return Datastore(workspace)

    def path(self, path: str | None = None, data_reference_name: str | None = None) -> DataPath:
        """A path in this datastore."""
        del data_reference_name
        return DataPath(self, path or "")

    def upload(
        self,
        src_dir: str | Path,
        target_path: str | None = None,
        overwrite: bool = False,  # noqa: FBT001, FBT002 - as existing code gives it
        show_progress: bool = True,  # noqa: FBT001, FBT002 - as above
    ) -> DataPath:
        """Copies a folder into the datastore; what is there already stays unless `overwrite` is true."""
        root = Path(src_dir)
        files = [str(one) for one in sorted(root.rglob("*")) if one.is_file()]
        return self.upload_files(files, str(root), target_path, overwrite, show_progress)

    def upload_files(
        self,
        files: Sequence[str],
        relative_root: str | None = None,
        target_path: str | None = None,
        overwrite: bool = False,  # noqa: FBT001, FBT002 - as above
        show_progress: bool = True,  # noqa: FBT001, FBT002 - as above
    ) -> DataPath:
        """Copies files into the datastore, by their paths below `relative_root` or by their names."""
        del show_progress
        for file in map(Path, files):
            inside = file.relative_to(relative_root) if relative_root else Path(file.name)
            target = self.folder / (target_path or "") / inside
            if overwrite or not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
        return DataPath(self, target_path or "")

    def download(self, target_path: str | Path, prefix: str | None = None, overwrite: bool = False, **_: Any) -> int:  # noqa: FBT001, FBT002 - as above
        """Copies what lies below `prefix` into a folder; gives the number of files."""
        count = 0
        for file in sorted(one for one in (self.folder / (prefix or "")).rglob("*") if one.is_file()):
            target = Path(target_path) / file.relative_to(self.folder)
            if overwrite or not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
                count += 1
        return count
