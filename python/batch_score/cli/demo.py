"""What `batch-score demo` does: score real images twice, with the same commands a user would type, and check.

The folder of a demo:

    README.md                  where the images come from, and their licence
    digits.csv                 all images with their labels
    digits-test.csv            the images that the model has not seen, without labels
    png/                       the same images as PNG files
    digits.onnx                the model
    digit_identification.py    the entry script for the PNG files
    runs/table-1, runs/png-1   the run directories; the next demo in this folder makes table-2 and png-2

Files that are there already are kept, so that a user may edit the entry script and start the demo again.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import itertools
import shlex
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, TextIO

from batch_score.errors import JobFailedError, OutputError, ScorerError

Score = Callable[[list[str]], Mapping[str, Any]]
"""Runs `batch-score run` with these arguments and returns the object that `--json` prints."""

DEFAULT_FOLDER = Path("batch-score-demo")
SHIPPED = ("README.md", "digits.csv", "digits.onnx", "digit_identification.py")  # README.md first, it marks the folder
MODULES = ("onnxruntime", "PIL")
SHOWN_LINES = 3


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One of the two jobs, before it runs.

    Attributes:
        name: First part of the run directory's name.
        title: What is scored with what.
        arguments: What follows `batch-score run`.
        unit: What the items are called.
        key: The output column that ties a record to its image.
        answer: The output column with the digit.
    """

    name: str
    title: str
    arguments: tuple[str, ...]
    unit: str
    key: str
    answer: str

    @property
    def command(self) -> str:
        """The command line, ready to be pasted into a shell."""
        return shlex.join(["batch-score", "run", *self.arguments])


@dataclass(frozen=True, slots=True)
class DemoRun:
    """One of the two jobs, after it ran and its output was found complete.

    Attributes:
        job: What was run.
        items: Images scored, each exactly once.
        correct: Images whose digit is the label.
        elapsed_s: Seconds the job took.
        output: The output file.
        first_lines: How that file begins.
    """

    job: DemoJob
    items: int
    correct: int
    elapsed_s: float
    output: Path
    first_lines: tuple[str, ...]

    @property
    def accuracy(self) -> float:
        """Share of correct digits, 0 to 1."""
        return self.correct / self.items

    @property
    def items_per_s(self) -> float:
        """Images scored in a second, the start of the workers included."""
        return self.items / self.elapsed_s


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers held against the labels.

    Attributes:
        correct: Ids whose digit is the label.
        missing: Ids without an answer, in order.
        repeated: Ids with more than one answer, in order.
        unknown: Ids that were answered and never asked, in order.
    """

    correct: int
    missing: tuple[int, ...]
    repeated: tuple[int, ...]
    unknown: tuple[int, ...]

    @property
    def exactly_once(self) -> bool:
        """Whether every id was answered once and nothing else was."""
        return not (self.missing or self.repeated or self.unknown)


def run_demo(folder: Path, score: Score, stream: TextIO) -> tuple[DemoRun, ...]:
    """Prepares the folder, runs both jobs, checks them and writes a short report.

    Args:
        folder: Where the demo lives; made if needed.
        score: Runs one job.
        stream: Where the report goes, a part as soon as it is known.

    Returns:
        The run over the table, then the run over the PNG files.

    Raises:
        ScorerError: ONNX Runtime or Pillow is not installed.
        OutputError: The folder holds something other than an earlier demo.
        JobFailedError: A job failed, or an image is not in its output exactly once.
    """
    require_modules()
    labels = prepare_folder(folder)
    print(f"{len(labels)} images of handwritten digits and a small model are in {folder}", file=stream)
    number = next_number(folder / "runs")
    runs = []
    for job in demo_jobs(folder):
        run = run_job(job, folder / "runs" / f"{job.name}-{number}", labels, score)
        print(described(run), file=stream, flush=True)
        runs.append(run)
    return tuple(runs)


def require_modules() -> None:
    """Checks that what the demo's model and script import is installed.

    Raises:
        ScorerError: It is not; the message has the install line.
    """
    absent = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if absent:
        raise ScorerError(
            f'the demo cannot import {" and ".join(absent)}; install with: pip install "batch-score[demo]"'
        )


def demo_jobs(folder: Path) -> tuple[DemoJob, DemoJob]:
    """The two jobs; both have several mini-batches so that the workers share them."""
    table = (str(folder / "digits.onnx"), str(folder / "digits-test.csv"))
    images = (str(folder / "digit_identification.py"), str(folder / "png"))
    return (
        DemoJob(
            name="table",
            title="Rows of a table, scored by an ONNX model without a script",
            arguments=(*table, "--key", "id", "--outputs", "label", "--mini-batch-size", "32KB"),
            unit="rows",
            key="id",
            answer="label",
        ),
        DemoJob(
            name="png",
            title="PNG files, scored by an entry script",
            arguments=(*images, "--mini-batch-size", "100"),
            unit="files",
            key="source",
            answer="digit",
        ),
    )


def prepare_folder(folder: Path) -> dict[int, int]:
    """Puts the demo's files into a folder, as far as they are not there yet.

    Args:
        folder: A new or empty folder, or that of an earlier demo.

    Returns:
        The label of each image to be scored, by its id.

    Raises:
        OutputError: The folder holds something else.
    """
    data = resources.files("batch_score.demo")
    table = data.joinpath("digits.csv").read_text(encoding="utf-8")
    mark = data.joinpath("README.md").read_text(encoding="utf-8").splitlines()[0]
    check_folder(folder, mark)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        write_once(folder / name, data.joinpath(name).read_bytes())
    write_once(folder / "digits-test.csv", test_half(table).encode())
    with data.joinpath("digits.zip").open("rb") as file, zipfile.ZipFile(file) as archive:
        extract_once(archive, folder / "png")
    rows = csv.DictReader(io.StringIO(table))
    return {int(row["id"]): int(row["label"]) for row in rows if is_test_image(int(row["id"]))}


def check_folder(folder: Path, mark: str) -> None:
    """Refuses a folder in which somebody keeps other things.

    Args:
        folder: Where the demo is to live.
        mark: First line of the README.md that every demo folder has.

    Raises:
        OutputError: It is a file, or it holds files and not that line.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file; give the demo a folder of its own")
    if not folder.exists() or not any(folder.iterdir()):
        return
    readme = folder / "README.md"
    lines = readme.read_text(encoding="utf-8", errors="replace").splitlines() if readme.is_file() else []
    if lines[:1] != [mark]:
        raise OutputError(f"{folder} holds files that are not from an earlier demo; give the demo another folder")


def is_test_image(number: int) -> bool:
    """Whether an image was kept from the model when it was trained."""
    return number % 2 == 1


def test_half(table: str) -> str:
    """Cuts the rows to be scored out of the whole table.

    Args:
        table: CSV text with the columns `id`, `label` and the pixels.

    Returns:
        The rows the model has not seen, without the column `label`, as CSV text.
    """
    reader = csv.DictReader(io.StringIO(table))
    kept = [name for name in reader.fieldnames or () if name != "label"]
    text = io.StringIO()
    writer = csv.DictWriter(text, kept, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in reader if is_test_image(int(row["id"])))
    return text.getvalue()


def write_once(path: Path, content: bytes) -> None:
    """Writes a file unless it is there; a name that is there always holds the whole content."""
    if not path.exists():
        partial = path.with_name(f"{path.name}.partial")
        partial.write_bytes(content)
        partial.replace(path)


def extract_once(archive: zipfile.ZipFile, folder: Path) -> None:
    """Unpacks into a folder unless it is there; a folder that is there always holds every file."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.partial")
        archive.extractall(partial)
        partial.replace(folder)


def next_number(runs: Path) -> int:
    """The first number, from 1, that no run directory ends with."""
    taken = {path.name.rpartition("-")[2] for path in runs.glob("*-*")}
    return next(number for number in itertools.count(1) if str(number) not in taken)


def run_job(job: DemoJob, run_dir: Path, labels: Mapping[int, int], score: Score) -> DemoRun:
    """Runs one job and holds its output against the labels.

    Args:
        job: What to run.
        run_dir: Its run directory, not there yet.
        labels: The label of each image, by its id.
        score: Runs the job.

    Returns:
        The run; every image is in its output exactly once.

    Raises:
        JobFailedError: The job did not complete, or an image is not in its output exactly once.
    """
    result = score([*job.arguments, "--run-dir", str(run_dir)])
    if result["status"] != "completed":
        raise JobFailedError(f"the demo's job ended as {result['status']}; read {run_dir / 'logs'} ({job.command})")
    output = Path(result["output"])
    with output.open(encoding="utf-8", newline="") as file:
        answers = [(image_id(row[job.key]), int(row[job.answer])) for row in csv.DictReader(file)]
    found = compare(answers, labels)
    if not found.exactly_once:
        raise JobFailedError(
            f"{output} does not hold each of the {len(labels)} {job.unit} exactly once: {len(found.missing)} missing, "
            f"{len(found.repeated)} repeated, {len(found.unknown)} unknown; read {run_dir / 'failed_items.jsonl'}"
        )
    with output.open(encoding="utf-8") as file:
        first_lines = tuple(line.rstrip("\n") for line in itertools.islice(file, SHOWN_LINES))
    return DemoRun(job, len(labels), found.correct, float(result["elapsed_s"]), output, first_lines)


def image_id(key: str) -> int:
    """The id in a key, which is the id itself or the path of `digit-<id>-label-<label>.png`."""
    name = Path(key).name
    return int(name.split("-")[1] if name.startswith("digit-") else name)


def compare(answers: Iterable[tuple[int, int]], labels: Mapping[int, int]) -> Comparison:
    """Holds answers against the labels.

    Args:
        answers: Pairs of id and digit, in any order.
        labels: The right digit by id.

    Returns:
        What is correct, missing, repeated and unknown.
    """
    digits = list(answers)
    counts = Counter(number for number, _ in digits)
    right = {number for number, digit in digits if labels.get(number) == digit}
    return Comparison(
        correct=len(right),
        missing=tuple(sorted(labels.keys() - counts.keys())),
        repeated=tuple(sorted(number for number, count in counts.items() if count > 1)),
        unknown=tuple(sorted(counts.keys() - labels.keys())),
    )


def described(run: DemoRun) -> str:
    """One run as lines for the user, with the command that does it again."""
    lines = [
        "",
        run.job.title,
        f"  $ {run.job.command}",
        f"  {run.items} {run.job.unit} in {run.elapsed_s:.2f} s, {run.items_per_s:,.0f} a second, each exactly once",
        f"  {run.correct} digits are right ({run.accuracy:.1%})",
        f"  {run.output}",
        *(f"    {line}" for line in run.first_lines),
    ]
    return "\n".join(lines)
