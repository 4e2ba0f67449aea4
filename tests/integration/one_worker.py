"""A worker and its engine without a job: what they say to each other, message by message."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from batch_score.dataset.files import FileReader
from batch_score.engine.base import Said
from batch_score.engine.local import LocalEngine
from batch_score.entry_script import ScriptLocation
from batch_score.logs.tree import LogTree
from batch_score.minibatch import MiniBatch
from batch_score.output.keys import parse_key
from batch_score.worker.messages import Done, Launch, Task, WorkerSpec


class OneWorker:
    """A worker of an engine, without a job: mini-batches of one file each."""

    def __init__(self, engine, folder, name, reader, reader_threads):
        self.engine = engine
        self.tree = LogTree(folder / "r" / "logs", "node-0")
        spec = WorkerSpec(
            scorer=ScriptLocation(str(folder), Path(name).stem, str(folder / name)),
            readers=(reader,),
            key=parse_key("auto"),
            output=None,
            argv=(name,),
            output_dir=str(folder),
            code_root=str(folder),
            run_dir=folder / "r",
            node="node-0",
            logging_level="INFO",
            reader_threads=reader_threads,
        )
        self.tree.create()
        self.launch = Launch(0, {**os.environ}, spec)
        self.engine.start(self.launch)

    def send(self, *indices, files=1, to=0):
        """Tasks whose tickets are 100 more than the index of their mini-batch."""
        tasks = []
        for index in indices:
            minibatch = MiniBatch(index, "", 0, 0, index, files, files=(f"file-{index}",) * files)
            tasks.append(Task(minibatch, 0, index, ticket=100 + index))
        self.engine.send(to, tasks)

    def events(self, kind, timeout=20.0):
        """What happens until a message of this class, or the end, has come."""
        found = []
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            found += self.engine.poll(0.05)
            if any(isinstance(getattr(event, "message", event), kind) for event in found):
                return found
        return pytest.fail(f"no {kind.__name__} after {timeout} s: {found}")


@contextmanager
def starter(folder, script):
    """Gives a function that starts a worker with the text of a script; the workers have ended when the block has."""
    engines = []

    def start(text, engine=LocalEngine, reader=None, reader_threads=(1, 1)):
        engines.append(engine())
        return OneWorker(engines[-1], folder, script(text), reader or FileReader(str(folder)), reader_threads)

    try:
        yield start
    finally:
        for engine in engines:
            engine.close()


def outcomes(events):
    """The outcomes among events."""
    return [event.message.outcome for event in events if isinstance(event, Said) and isinstance(event.message, Done)]
