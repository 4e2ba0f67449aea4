"""`azureml.core.Model`: a version of a model in the registry on disk, and how scripts find one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch_score.errors import ModelError
from batch_score.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from batch_score.azureml.core.workspace import Workspace
    from batch_score.registry import RegisteredModel

MODEL_DIR = "AZUREML_MODEL_DIR"


class Model:
    """One version of a registered model.

    Args:
        workspace: Not needed; accepted because existing code gives it.
        name: The model's name, or `NAME:VERSION`.
        id: `NAME:VERSION`, instead of `name`.
        version: The version, by default the newest.

    Raises:
        ModelError: There is no such model; the message lists those there are.
    """

    class Framework:
        """What can load a model, as `register` takes it."""

        CUSTOM = "Custom"
        TENSORFLOW = "TensorFlow"
        SCIKITLEARN = "ScikitLearn"
        ONNX = "Onnx"
        PYTORCH = "PyTorch"
        MULTI = "Multi"

    def __init__(
        self,
        workspace: Workspace | None = None,
        name: str | None = None,
        id: str | None = None,  # noqa: A002 - the name that existing code uses
        version: int | str | None = None,
        **_: Any,
    ) -> None:
        reference = id or name
        if reference is None:
            raise ModelError(f"Model() needs a name or an id; {Registry().known('')}")
        registry = Registry()
        found = registry.get(reference) if version is None else registry.find(reference, int(version))
        self._take(found, workspace)

    def _take(self, found: RegisteredModel, workspace: Workspace | None) -> None:
        self.workspace = workspace
        self.registered = found
        self.name, self.version, self.id = found.name, found.version, found.id
        self.description, self.run_id = found.description, found.run_id or None
        self.tags, self.properties = dict(found.tags), dict(found.properties)
        self.model_framework = found.framework or None
        self.model_framework_version = found.framework_version or None
        self.created_time = found.created
        self.url = found.path.as_uri()

    @classmethod
    def _of(cls, found: RegisteredModel, workspace: Workspace | None = None) -> Model:
        model = cls.__new__(cls)
        model._take(found, workspace)  # noqa: SLF001 - its own
        return model

    def __repr__(self) -> str:
        return f"Model(name={self.name!r}, version={self.version}, path={str(self.registered.path)!r})"

    @staticmethod
    def get_model_path(model_name: str, version: int | str | None = None, _workspace: Any = None) -> str:
        """The file or folder of a model: of the registry, else below `AZUREML_MODEL_DIR`.

        Args:
            model_name: Its name, also as `NAME:VERSION`.
            version: Its version, by default the newest.

        Raises:
            ModelError: It is in neither; the message lists what is known and the folders searched.
        """
        registry = Registry()
        number = _chosen(registry, model_name) if version is None else int(version)
        try:
            found = registry.get(model_name) if number is None else registry.find(model_name, number)
            return str(found.path)
        except ModelError as error:
            below = os.environ.get(MODEL_DIR)
            path = _below(Path(below), model_name.partition(":")[0], number) if below else None
            if path is None:
                raise ModelError(f"{error}; {_searched(below)}") from None
            return str(path)

    @staticmethod
    def register(  # noqa: PLR0913 - the parameters are those that existing code gives
        workspace: Workspace | None = None,
        model_path: str | Path = "",
        model_name: str = "",
        tags: Mapping[str, Any] | None = None,
        properties: Mapping[str, Any] | None = None,
        description: str | None = None,
        *_: Any,
        model_framework: str | None = None,
        model_framework_version: str | None = None,
        **_others: Any,
    ) -> Model:
        """Copies a file or folder into the registry as the next version of `model_name`.

        Raises:
            ModelError: There is nothing at `model_path`, or the name cannot be used.
        """
        found = Registry().register(
            model_name,
            model_path,
            tags=dict(tags or {}),
            properties=dict(properties or {}),
            description=description,
            framework=model_framework,
            framework_version=model_framework_version,
            run_id=os.environ.get("AZUREML_RUN_ID"),
        )
        return Model._of(found, workspace)

    @staticmethod
    def list(
        workspace: Workspace | None = None,
        name: str | None = None,
        tags: Sequence[Any] | None = None,
        properties: Sequence[Any] | None = None,
        run_id: str | None = None,
        latest: bool = False,  # noqa: FBT001, FBT002 - as above
        **_: Any,
    ) -> list[Model]:
        """The registered models, newest version first within a name.

        Args:
            workspace: Kept in what is returned.
            name: Only this one.
            tags: Only those that have all of these, each a name or a pair of name and value.
            properties: The same of properties.
            run_id: Only those registered by this run.
            latest: Only the newest version of each.
        """
        found = [
            one
            for one in reversed(Registry().models(name))
            if has_all(one.tags, tags) and has_all(one.properties, properties) and run_id in (None, one.run_id)
        ]
        if latest:
            newest = {one.name: one for one in reversed(found)}
            found = [one for one in found if newest[one.name] is one]
        return sorted((Model._of(one, workspace) for one in found), key=lambda model: model.name)

    def download(self, target_dir: str | Path = ".", exist_ok: bool = False, exists_ok: bool | None = None) -> str:  # noqa: FBT001, FBT002 - as above
        """Copies the model into a folder, which is made if it is not there.

        Returns:
            The path of the copy.

        Raises:
            ModelError: It is there already and `exist_ok` is false.
        """
        source = self.registered.path
        target = Path(target_dir).absolute() / source.name
        if target.exists() and not (exist_ok if exists_ok is None else exists_ok):
            raise ModelError(f"model {self.id}: {target} exists already; give another target_dir, or exist_ok=True")
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
        return str(target)


def has_all(given: Mapping[str, str], wanted: Sequence[Any] | None) -> bool:
    """Whether names and values have all that are wanted, each a name or a pair of name and value."""
    for one in wanted or ():
        name, value = (one, None) if isinstance(one, str) else (one[0], str(one[1]))
        if name not in given or value not in (None, given[name]):
            return False
    return True


def _chosen(registry: Registry, name: str) -> int | None:
    """The version that the job was given (`model_dir`), if it was given one of this name."""
    place = Path(os.environ.get(MODEL_DIR, "")).parent
    return int(place.name) if place.parent == registry.root / name and place.name.isdigit() else None


def _below(folder: Path, name: str, version: int | None) -> Path | None:
    """A model that lies in a folder under its name, with or without versions, or as the one file of that stem."""
    place = folder / name
    if place.is_dir():
        versions = [int(one.name) for one in place.iterdir() if one.is_dir() and one.name.isdigit()]
        if versions:
            chosen = place / str(max(versions) if version is None else version)
            inside = list(chosen.iterdir()) if chosen.is_dir() else []
            return inside[0] if len(inside) == 1 else chosen if inside else None
    if place.exists():
        return place
    files = [one for one in folder.glob("*") if one.is_file() and one.stem == name]
    return files[0] if len(files) == 1 else None


def _searched(below: str | None) -> str:
    if below is None:
        return f"{MODEL_DIR} is not set: register it (batch-score model register NAME PATH) or give --model-dir"
    try:
        inside = sorted(one.name for one in Path(below).iterdir())
    except OSError as error:
        return f"{MODEL_DIR}={below}: {error.strerror}"
    return f"{MODEL_DIR}={below} has {', '.join(inside) if inside else 'nothing in it'}"
