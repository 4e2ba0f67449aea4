"""The logic of `batch-score demo`, with a scorer in place of the job: it checks what a job claims to have done."""

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.cli.demo import compare, image_id, next_number, run_demo
from batch_score.demo import digit_identification
from batch_score.errors import JobFailedError, OutputError, ScorerError


def score_table(arguments):
    """Score the table with the model in one go: header and rows."""
    model, table = arguments[:2]
    with Path(table).open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["id", *(f"pixel_{i}" for i in range(64))]
    values = np.array(rows, dtype=np.float32)
    labels = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(["label"], {"pixels": values[:, 1:]})
    return [["id", "label"], *([row[0], label] for row, label in zip(rows, labels[0], strict=True))]


def score_images(arguments):
    """Score the files with the entry script in one go: header and rows."""
    script, folder = arguments[:2]
    assert Path(script).name == "digit_identification.py"
    paths = sorted(str(path) for path in Path(folder).iterdir())
    digit_identification.init()
    frame = digit_identification.run(paths)
    digit_identification.shutdown()
    columns = zip(paths, frame["digit"], frame["probability"], strict=True)
    return [["source", "digit", "probability"], *map(list, columns)]


class OneProcess:
    """Scores like a job would, in this process; `spoil` changes the records before they are written."""

    def __init__(self, spoil=lambda records: records, status="completed"):
        self.spoil = spoil
        self.status = status
        self.calls = []

    def __call__(self, argv):
        self.calls.append(argv)
        run_dir = Path(argv[argv.index("--run-dir") + 1])
        output = run_dir / "outputs" / "predictions.csv"
        output.parent.mkdir(parents=True)  # a run directory is never used twice
        header, *records = (score_table if argv[0].endswith(".onnx") else score_images)(argv)
        with output.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([header, *self.spoil(records)])
        return {"status": self.status, "run_dir": str(run_dir), "output": str(output), "elapsed_s": 0.5}


@pytest.fixture(autouse=True)
def no_script_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["worker"])


def test_both_jobs_score_the_unseen_half_and_agree(tmp_path):
    table, images = run_demo(tmp_path / "demo", OneProcess(), io.StringIO())
    assert (table.items, images.items) == (898, 898)
    assert table.correct == images.correct
    assert table.accuracy >= 0.97
    assert table.items_per_s == pytest.approx(898 / 0.5)
    assert table.first_lines[0] == "id,label"
    assert images.output == tmp_path / "demo" / "runs" / "png-1" / "outputs" / "predictions.csv"


def test_the_training_half_is_not_scored(tmp_path):
    table, images = run_demo(tmp_path, OneProcess(), io.StringIO())
    for run in (table, images):
        with run.output.open(encoding="utf-8") as file:
            ids = [image_id(row[run.job.key]) for row in csv.DictReader(file)]
        assert sorted(ids) == list(range(1, 1797, 2))


def test_the_labels_are_not_in_what_is_scored_as_a_table(tmp_path):
    run_demo(tmp_path, OneProcess(), io.StringIO())
    header = (tmp_path / "digits-test.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "label" not in header


def test_the_report_names_command_rate_accuracy_output_and_first_lines(tmp_path):
    report = io.StringIO()
    scorer = OneProcess()
    run_demo(tmp_path / "my demo", scorer, report)
    text = report.getvalue()
    assert f"$ batch-score run '{tmp_path}/my demo/digits.onnx' '{tmp_path}/my demo/digits-test.csv' --key id" in text
    assert f"$ batch-score run '{tmp_path}/my demo/digit_identification.py' '{tmp_path}/my demo/png'" in text
    assert "898 rows in 0.50 s, 1,796 a second, each exactly once" in text
    assert "898 files in 0.50 s" in text
    assert text.count("877 digits are right (97.7%)") == 2
    assert str(tmp_path / "my demo" / "runs" / "table-1" / "outputs" / "predictions.csv") in text
    assert "    id,label\n    1,1\n    3,3\n" in text
    assert "    source,digit,probability\n" in text
    assert [call[-2] for call in scorer.calls] == ["--run-dir", "--run-dir"]


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda records: records[1:], "1 missing, 0 repeated, 0 unknown"),
        (lambda records: [*records, records[0], records[5]], "0 missing, 2 repeated, 0 unknown"),
        (lambda records: [records[1], *records[1:]], "1 missing, 1 repeated, 0 unknown"),
        (lambda records: [["2", *records[0][1:]], *records[1:]], "1 missing, 0 repeated, 1 unknown"),
        (lambda _: [], "898 missing, 0 repeated, 0 unknown"),
    ],
)
def test_an_image_that_is_not_in_the_output_exactly_once_fails_the_demo(tmp_path, spoil, complaint):
    with pytest.raises(JobFailedError, match=complaint):
        run_demo(tmp_path, OneProcess(spoil), io.StringIO())


def test_a_job_that_did_not_complete_fails_the_demo(tmp_path):
    with pytest.raises(JobFailedError, match=r"ended as interrupted.*table-1"):
        run_demo(tmp_path, OneProcess(status="interrupted"), io.StringIO())


def test_an_earlier_demo_keeps_its_runs_and_its_edited_script(tmp_path):
    run_demo(tmp_path, OneProcess(), io.StringIO())
    script = tmp_path / "digit_identification.py"
    script.write_text("# edited\n", encoding="utf-8")
    earlier = (tmp_path / "runs" / "table-1" / "outputs" / "predictions.csv").read_bytes()
    table, images = run_demo(tmp_path, OneProcess(), io.StringIO())
    assert (table.output.parents[1].name, images.output.parents[1].name) == ("table-2", "png-2")
    assert (tmp_path / "runs" / "table-1" / "outputs" / "predictions.csv").read_bytes() == earlier
    assert script.read_text(encoding="utf-8") == "# edited\n"


def test_a_demo_that_was_interrupted_while_it_wrote_its_files_is_completed(tmp_path):
    run_demo(tmp_path, OneProcess(), io.StringIO())
    (tmp_path / "digits.onnx").unlink()
    (tmp_path / "png").rename(tmp_path / "png.partial")
    (tmp_path / "png.partial" / "digit-0001-label-1.png").unlink()
    (tmp_path / "digits-test.csv").unlink()
    (tmp_path / "digits-test.csv.partial").write_text("id,pix", encoding="utf-8")
    run_demo(tmp_path, OneProcess(), io.StringIO())
    assert not list(tmp_path.glob("*.partial"))
    with zipfile.ZipFile(Path(digit_identification.__file__).with_name("digits.zip")) as archive:
        assert sorted(path.name for path in (tmp_path / "png").iterdir()) == archive.namelist()


@pytest.mark.parametrize("name", ["notes.txt", "README.md", "digits.csv"])
def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path, name):
    (tmp_path / name).write_text("mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match="another folder"):
        run_demo(tmp_path, OneProcess(), io.StringIO())
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text(encoding="utf-8") == "mine\n"


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "demo").write_text("mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match="is a file"):
        run_demo(tmp_path / "demo", OneProcess(), io.StringIO())


@pytest.mark.parametrize("module", ["PIL", "onnxruntime"])
def test_a_missing_package_is_named_with_its_install_line_before_anything_is_written(tmp_path, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)  # what Python itself does for a module known to be absent
    with pytest.raises(ScorerError, match=rf'{module}; install with: pip install "batch-score\[demo\]"'):
        run_demo(tmp_path / "demo", OneProcess(), io.StringIO())
    assert not (tmp_path / "demo").exists()


def test_importing_the_demo_imports_neither_onnxruntime_nor_pillow():
    program = "import sys, batch_score.cli.demo; sys.exit(bool({'onnxruntime', 'PIL', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("taken", "number"), [([], 1), (["table-1"], 2), (["png-1"], 2), (["table-1", "png-1", "table-2"], 3)]
)
def test_the_next_run_has_a_number_that_neither_job_used(tmp_path, taken, number):
    for name in taken:
        (tmp_path / "runs" / name).mkdir(parents=True)
    assert next_number(tmp_path / "runs") == number


@given(
    answers=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2)), max_size=12),
    labels=st.dictionaries(st.integers(0, 8), st.integers(0, 2)),
)
def test_comparison_agrees_with_looking_at_every_id_in_turn(answers, labels):
    found = compare(answers, labels)
    for number in range(9):
        digits = [digit for key, digit in answers if key == number]
        assert (number in found.missing) == (number in labels and not digits)
        assert (number in found.repeated) == (len(digits) > 1)
        assert (number in found.unknown) == (number not in labels and bool(digits))
    assert found.correct == sum(label in {d for k, d in answers if k == n} for n, label in labels.items())
    assert found.exactly_once == (Counter(key for key, _ in answers) == Counter(labels.keys()))
