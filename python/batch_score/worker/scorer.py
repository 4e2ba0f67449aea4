"""The two kinds of scorer behind one face: the stages call its methods and never ask which it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol, cast

from batch_score import entry_script
from batch_score.dataset.base import FileBatch
from batch_score.entry_script import MiniBatchContext
from batch_score.gpu.placement import MASK
from batch_score.logs.tree import LogTree
from batch_score.worker.forked import ending_forks

if TYPE_CHECKING:
    from batch_score.dataset.base import Batch, TableBatch
    from batch_score.dataset.frame import Frames
    from batch_score.onnx.spec import ModelSpec
    from batch_score.worker.messages import Launch, Task


class Scorer(Protocol):
    """What a worker calls."""

    def init(self) -> None:
        """Once, before the first mini-batch."""
        ...

    def items(self, batch: Batch) -> Any:
        """The batch in the form that `run` takes; made by the reading stage, while another mini-batch runs."""
        ...

    def run(self, items: Any, task: Task) -> Any:
        """Scores one mini-batch."""
        ...

    def take_notes(self) -> dict[str, str]:
        """What the user should know since the last call, by subject."""
        ...

    def shutdown(self) -> None:
        """Once, in an orderly end."""
        ...


class ScriptScorer:
    """An entry script as the scorer."""

    def __init__(self, script: entry_script.EntryScript) -> None:
        self._script = script
        self._frames: Frames | None = None

    def init(self) -> None:
        """Calls the script's `init()`."""
        with ending_forks():
            self._script.init()

    def items(self, batch: Batch) -> Any:
        """A DataFrame or a list of paths."""
        if isinstance(batch, FileBatch):
            return list(batch.files)
        if self._frames is None:
            from batch_score.dataset.frame import Frames  # noqa: PLC0415 - pandas is needed for tables only

            self._frames = Frames()
        return self._frames.make(batch.table)

    def run(self, items: Any, task: Task) -> Any:
        """Calls the script's `run()`."""
        context = MiniBatchContext(
            minibatch_index=task.minibatch.index,
            global_row_index_lower_bound=task.first_item + task.span[0],
            retry_count=task.attempt,
            dataset=items,
            partition_key_value=dict(task.minibatch.partition),
        )
        return self._script.call(items, context)

    def take_notes(self) -> dict[str, str]:
        """Nothing: a script has its own ways to say what it wants."""
        return {}

    def shutdown(self) -> None:
        """Calls the script's `shutdown()`."""
        with ending_forks():
            self._script.shutdown()


class ModelScorer:
    """An ONNX model as the scorer."""

    def __init__(self, spec: ModelSpec) -> None:
        from batch_score.onnx.scorer import OnnxScorer  # noqa: PLC0415 - onnxruntime is an optional package

        self._model = OnnxScorer(spec.on(os.environ.get(MASK, "")))

    def init(self) -> None:
        """Loads the model."""
        self._model.init()

    def items(self, batch: Batch) -> Any:
        """What the model is fed, or the table it can be taken from; files are refused before anything is started."""
        table = cast("TableBatch", batch)
        return table.table if table.tensors is None else table.tensors

    def run(self, items: Any, task: Task) -> Any:  # noqa: ARG002 - as every scorer
        """Scores the table's rows."""
        return self._model.run(items)

    def take_notes(self) -> dict[str, str]:
        """What was found out about the model on its device."""
        notes = self._model.notes
        return dict(notes.popleft() for _ in range(len(notes)))

    def shutdown(self) -> None:
        """Lets the model go."""
        self._model.shutdown()


def load_scorer(spec: entry_script.ScriptLocation | ModelSpec) -> Scorer:
    """The scorer of a specification; an entry script is imported here."""
    if isinstance(spec, entry_script.ScriptLocation):
        with ending_forks():
            return ScriptScorer(entry_script.load(spec))
    return ModelScorer(spec)


def profiled(scorer: Scorer, launch: Launch) -> Scorer:
    """The scorer, with a profile of its calls in the log tree if the job asks for one."""
    if launch.spec.profiling_module is None:
        return scorer
    from batch_score.worker.profiling import ProfiledScorer  # noqa: PLC0415 - few jobs want it

    tree = LogTree(launch.spec.run_dir / "logs", launch.spec.node)
    return ProfiledScorer(scorer, launch.spec.profiling_module, tree.profile(launch.name))
