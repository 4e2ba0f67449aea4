"""Inputs that change while they are scored.

A mini-batch is a range of a file. A reader notices that the file is another one where the range does not end with a
record, has another number of records, or is not there; of Parquet also where row groups lie. It cannot notice values
that were replaced where they stood: a file of the same size with the same record ends, and the part of a shorter or
longer file in which records still end where they did. A file that a worker holds open (compressed text, UTF-16,
Parquet) is read to its end as it was, also when its name has gone to another one. At its end the run compares size and
time with those at its beginning and warns; a resumed run does so, and refuses.
"""

import gzip
import hashlib
import os
import shutil

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.faults.surroundings.site import EFFORT, thorough
from tests.integration.running import wait_for

ROWS = 4_000
# Of every row: its number and a text which nobody can compress. `version` is in the text, so that an output shows what
# it was made of.
WAITING = """
    import os, pathlib, time

    def run(rows):
        pathlib.Path("begun").touch()
        while not os.path.exists("changed"):
            time.sleep(0.01)
        return rows
"""


def text(number, version):
    return f"{version}{hashlib.sha256(b'%d' % number).hexdigest()[:40]}"


def csv(path, rows, version):
    path.write_text("".join(["id,a\n", *(f"{i},{text(i, version)}\n" for i in range(rows))]), encoding="utf-8")


def jsonl(path, rows, version):
    path.write_text("".join(f'{{"id": {i}, "a": "{text(i, version)}"}}\n' for i in range(rows)), encoding="utf-8")


def gz(path, rows, version):
    csv(path, rows, version)
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def columns(path, rows, version):
    table = pa.table({"id": range(rows), "a": [text(i, version) for i in range(rows)]})
    parquet.write_table(table, path, row_group_size=100, compression="none", use_dictionary=False)


FORMS = {"t.csv": csv, "t.jsonl": jsonl, "t.csv.gz": gz, "t.parquet": columns}


def truncate(path, _write):
    os.truncate(path, path.stat().st_size // 2)


def grow(path, _write):
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(content[-5_000:])


def replace(rows, version):
    def change(path, write):
        fresh = path.with_name(f"fresh-{path.name}")
        write(fresh, rows, version)
        fresh.replace(path)

    return change


def overwrite(rows, version):
    """Other content in the same file, which whoever has it open sees."""

    def change(path, write):
        fresh = path.with_name(f"fresh-{path.name}")
        write(fresh, rows, version)
        with path.open("r+b") as file:
            file.write(fresh.read_bytes())
            file.truncate()
        fresh.unlink()

    return change


def remove(path, _write):
    path.unlink()


CHANGES = {
    "truncated": truncate,
    "grown": grow,
    "replaced by one of the same size": replace(ROWS, "n"),
    "replaced by a shorter one": replace(ROWS // 2, "n"),
    "replaced by another one": replace(ROWS, "another "),
    "overwritten by a shorter one": overwrite(ROWS // 2, "n"),
    "overwritten by another one": overwrite(ROWS, "another "),
    "removed": remove,
}
EVERYTHING = [(form, change) for form in FORMS for change in CHANGES]
QUICK = [("t.csv", "truncated"), ("t.csv", "replaced by one of the same size")]


def scored(site, name, change, *options):
    """A run during which the input changes, right after the first mini-batches were read."""
    site.script(WAITING)
    FORMS[name](site.folder / name, ROWS, "o")
    process = site.begin(*options, source=name, size="4KB")
    wait_for((site.folder / "begun").exists)
    CHANGES[change](site.folder / name, FORMS[name])
    (site.folder / "changed").touch()
    return site.ended(process)


def check_rows(site):
    """Every row is in the output under its own key with its own values, old or new, or failed with a reason."""
    frame = pd.read_csv(site.output)
    assert (frame["id"] == frame["row"]).all()
    known = [{text(i, version) for version in ("o", "n", "another ")} for i in range(ROWS)]
    assert all(value in known[i] for i, value in zip(frame["id"], frame["a"], strict=True))
    failed = {item["row"] for item in site.failed_items}
    assert not failed & set(frame["row"])
    assert sorted([*failed, *frame["row"]]) == list(range(ROWS))
    return frame


@pytest.mark.parametrize(("name", "change"), EVERYTHING if EFFORT != "quick" else QUICK)
def test_no_row_gets_the_values_of_another_one(name, change, site):
    done = scored(site, name, change)
    assert done.code == 0, done.err + done.out
    frame = check_rows(site)
    what = "is missing" if change == "removed" else "changed: "
    assert f"while it was scored, input {name} {what}" in site.master_log
    for item in site.failed_items:
        assert item["source"] == name
        assert name in item["message"]
        reasons = ("changed", "shorter", "No such file", "cannot be read as planned", "unexpected end of file")
        assert any(reason in item["message"] for reason in reasons), item
    if change == "grown":
        assert len(frame) == ROWS
    if change == "truncated" and name != "t.csv.gz":  # of which all may be in a buffer
        assert 0 < len(frame) < ROWS


@thorough
@pytest.mark.parametrize("name", FORMS)
def test_a_run_that_failed_for_it_is_not_resumed_unless_forced(name, site):
    """The file is longer at its end, which concerns no mini-batch: with --force the run completes."""
    site.script("""
        import os, pathlib, time

        def run(rows):
            pathlib.Path("begun").touch()
            while not os.path.exists("changed"):
                time.sleep(0.01)
            assert rows["id"].iloc[0] < 2_000 or os.path.exists("mended")
            return rows
    """)
    FORMS[name](site.folder / name, ROWS, "o")
    process = site.begin("--error-threshold", 0, "--run-max-try", 1, source=name, size="4KB")
    wait_for((site.folder / "begun").exists)
    (site.folder / "changed").touch()
    assert site.ended(process).code == 1
    (site.folder / "mended").touch()
    before = len(site.journal)
    replace(ROWS, "n")(site.folder / name, FORMS[name])
    os.utime(site.folder / name, ns=(0, 0))
    done = site.resume("--error-threshold", -1)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert f"input {name} changed: " in done.err
    assert "modified 1970-01-01" in done.err
    assert len(site.journal) == before
    done = site.resume("--error-threshold", -1, "--force")
    assert done.code == 0, done.err
    check_rows(site)


@thorough
def test_forced_on_other_mini_batches_it_ends_without_a_row(site):
    """What has ended stands under the index of other rows: that is said, and nothing is appended."""
    site.script(WAITING)
    FORMS["t.csv"](site.folder / "t.csv", ROWS, "o")
    process = site.begin(size="4KB")
    wait_for((site.folder / "begun").exists)
    (site.folder / "changed").touch()
    wait_for(lambda: len(site.journal) > 5)
    process.kill()
    site.ended(process)
    replace(ROWS, "another ")(site.folder / "t.csv", csv)
    content = site.output.read_bytes()
    done = site.resume("--force")
    assert done.code == 1
    assert "the input is not that of the run to resume" in done.err + done.out
    assert content.startswith(site.output.read_bytes())


FILES = """
    import os, pathlib, time

    def run(paths):
        pathlib.Path("begun").touch()
        while not os.path.exists("changed"):
            time.sleep(0.01)
        return [pathlib.Path(path).read_text() for path in paths]
"""


def test_of_files_the_script_decides_and_one_that_is_gone_fails_alone(site):
    shutil.rmtree(site.folder / "in", ignore_errors=True)
    (site.folder / "in").mkdir()
    for number in range(40):
        (site.folder / "in" / f"{number:02}.txt").write_text(f"old {number}")
    site.script(FILES)
    process = site.begin("--run-max-try", 1, source="in", size=8)
    wait_for((site.folder / "begun").exists)
    (site.folder / "in" / "30.txt").unlink()
    (site.folder / "in" / "31.txt").write_text("new 31")
    (site.folder / "in" / "99.txt").write_text("of another time")
    (site.folder / "changed").touch()
    done = site.ended(process)
    assert done.code == 0, done.err
    frame = pd.read_csv(site.output)
    wanted = {f"in/{i:02}.txt": f"old {i}" for i in range(40) if i != 30} | {"in/31.txt": "new 31"}
    assert dict(zip(frame["source"], frame["prediction"], strict=True)) == wanted
    [failed] = site.failed_items
    assert failed["source"] == "in/30.txt"
    assert failed["error"] == "FileNotFoundError"
