"""The files that every peer reads, and the answers they must come to; the same ones each time for a size."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
from benches import texts
from benches.peers import models
from benches.peers.score import FEATURES, session

FILES = 8
ROW_BYTES = 156  # about
PIECE = 100_000
FACTS = "data.json"
FORMAT = 1  # to be raised when what is made changes, so that older files are made anew


@dataclass(frozen=True)
class Data:
    """What lies in a folder of data.

    Attributes:
        folder: The folder.
        rows: Records of the files with floats; their ids are 0 to rows - 1.
        bytes: Size of these files together.
        quoted_rows: Records of the quoted text.
        quoted_lines: Its line breaks, header included.
        quoted_bytes: Its size.
    """

    folder: str
    rows: int
    bytes: int
    quoted_rows: int
    quoted_lines: int
    quoted_bytes: int

    @property
    def plain(self):
        """CSV files of a column `id` and 20 of floats with 4 decimals."""
        return [str(Path(self.folder, f"part-{number}.csv")) for number in range(FILES)]

    @property
    def quoted(self):
        """One CSV file; every fifth record has commas, quotes or a line break inside quotes."""
        return [str(Path(self.folder, "quoted.csv"))]

    @property
    def matrix(self):
        """The floats, `[rows, 20]` float32, as a .npy file."""
        return str(Path(self.folder, "matrix.npy"))

    def model(self, name):
        """The model `mlp` or `gbm`."""
        return str(Path(self.folder, f"{name}.onnx"))

    def answers(self, name):
        """What the model gives for every id: `[rows]` float32."""
        return np.load(Path(self.folder, f"{name}.npy"))


def prepare(folder, megabytes):
    """The data of a size, made if they are not there; the quoted text comes on top, with a quarter of the size."""
    folder = Path(folder).absolute() / f"{megabytes}mb"
    facts = folder / FACTS
    if facts.is_file():
        found = json.loads(facts.read_text(encoding="utf-8"))
        if found.pop("format") == FORMAT:
            return Data(folder=str(folder), **found)
    folder.mkdir(parents=True, exist_ok=True)
    facts.unlink(missing_ok=True)
    made = _made(folder, megabytes * 1_000_000)
    kept = {name: number for name, number in asdict(made).items() if name != "folder"}
    facts.write_text(json.dumps({"format": FORMAT, **kept}), encoding="utf-8")  # last: it says that all is there
    return made


def _made(folder, size):
    block = texts.delimited(quoted=True)
    quoted = block.write(folder / "quoted.csv", size // 4, texts.HEADER)
    blocks = quoted.stat().st_size // len(block.text)
    data = Data(
        folder=str(folder),
        rows=size // ROW_BYTES,
        bytes=0,
        quoted_rows=blocks * len(block.starts),
        quoted_lines=blocks * block.text.count(b"\n") + 1,
        quoted_bytes=quoted.stat().st_size,
    )
    matrix = np.lib.format.open_memmap(data.matrix, "w+", np.float32, (data.rows, models.INPUTS))
    for path, ids in zip(data.plain, np.array_split(np.arange(data.rows), FILES), strict=True):
        _write(path, ids, matrix)
    for name, make in (("mlp", models.mlp), ("gbm", models.gbm)):
        make(Path(data.model(name)))
        np.save(folder / f"{name}.npy", scored(data.model(name), matrix))
    return Data(**{**asdict(data), "bytes": sum(Path(path).stat().st_size for path in data.plain)})


def _write(path, ids, matrix):
    """One file, piece by piece; the seed of a piece is its first id."""
    schema = pa.schema([("id", pa.int64()), *((name, pa.float64()) for name in FEATURES)])
    with pacsv.CSVWriter(path, schema) as writer:
        for begin in range(0, len(ids), PIECE):
            piece = ids[begin : begin + PIECE]
            floats = np.random.default_rng(int(piece[0])).normal(size=(len(piece), models.INPUTS)).round(4)
            matrix[piece[0] : piece[-1] + 1] = floats
            writer.write_table(pa.table([piece, *floats.T], schema=schema))


def scored(model, matrix):
    """The model's answers to a matrix `[N, 20]`, as `[N]` float32."""
    opened = session(model)
    pieces = [opened.run(None, {"x": matrix[at : at + PIECE]})[0][:, 0] for at in range(0, len(matrix), PIECE)]
    return np.concatenate(pieces)
