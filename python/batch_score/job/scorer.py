"""The scorer of a job: found, and bound to the columns of the input."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batch_score import entry_script
from batch_score.dataset.fields import Matrix
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError, ScorerError
from batch_score.job.placing import is_model, threads
from batch_score.option import plain

if TYPE_CHECKING:
    from batch_score.config import ParallelRunConfig
    from batch_score.dataset.base import Dataset
    from batch_score.entry_script import ScriptLocation
    from batch_score.gpu.placement import Assignment
    from batch_score.onnx.spec import ModelSpec
    from batch_score.output.keys import Key
# `device` is not among them: `cpu` keeps GPUs from scripts, too.
OF_MODELS = ("features", "outputs", "model_batch_size", "precision")


@dataclass(frozen=True)
class FoundScorer:
    """A scorer and what it needs of the input.

    Attributes:
        spec: What a worker must know of it.
        datasets: The inputs, reduced to the columns that it and the key need.
        code_root: Working directory of the workers.
        path: Its file, or its dotted name where no file is known.
    """

    spec: ScriptLocation | ModelSpec
    datasets: tuple[Dataset, ...]
    code_root: str
    path: str


def find_scorer(
    config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key, assignments: list[Assignment]
) -> FoundScorer:
    """Finds the entry script or model.

    Raises:
        ConfigError: None is named, or a setting of models stands beside a script.
        ScorerError: It is not there, or the columns do not fit it.
    """
    if not config.entry_script:
        raise ConfigError("entry_script is missing; name a script (score.py), a module (package.module) or model.onnx")
    if is_model(config):
        return _model(config, datasets, key, assignments)
    _check_without_model(config)
    location = entry_script.locate(config.entry_script, config.source_directory)
    return FoundScorer(location, datasets, location.code_root, location.path)


def _check_without_model(config: ParallelRunConfig) -> None:
    """Refuses settings that nothing would come of."""
    given = [name for name in OF_MODELS if name in plain(config)]
    if given:
        raise ConfigError(f"{given[0]} is for ONNX models, but the scorer is {config.entry_script}; leave it out")


def _model(
    config: ParallelRunConfig, datasets: tuple[Dataset, ...], key: Key, assignments: list[Assignment]
) -> FoundScorer:
    """An ONNX model bound to the columns; the datasets are reduced to what it and the key need."""
    from batch_score.onnx.binding import bind  # noqa: PLC0415 - onnxruntime is an optional package
    from batch_score.onnx.runtime import read_signature  # noqa: PLC0415 - as above
    from batch_score.onnx.spec import ModelSpec  # noqa: PLC0415 - as above

    path = Path(config.source_directory or ".", str(config.entry_script)).resolve()
    tables = [dataset for dataset in datasets if isinstance(dataset, TabularDataset)]
    if len(tables) != len(datasets):
        raise ScorerError(f"{path}: an ONNX model without a script scores tables; for files write an entry script")
    signature = read_signature(path)
    keys = () if isinstance(key, str) else key
    reduced = []
    for table in tables:
        columns = {column.name: column.type for column in table.schema}
        binding = bind(signature, columns, features=config.features, keys=keys, outputs=config.outputs)
        types = {name: kind for name, kind in binding.column_types.items() if name not in keys}
        matrices = [Matrix(plan.name, plan.dtype, plan.columns) for plan in binding.inputs]
        reduced.append(table.select(tuple(dict.fromkeys([*keys, *binding.columns])), types, matrices))
    spec = ModelSpec(
        path=str(path),
        binding=binding,
        device=config.device,
        threads=threads(assignments),
        gpus={one.visible: one.unit.product or "GPU" for one in assignments if one.unit is not None},
        batch_rows=config.model_batch_size,
        precision=config.precision,
        cache=str(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "batch-score")),
    )
    return FoundScorer(spec, tuple(reduced), str(path.parent), str(path))
