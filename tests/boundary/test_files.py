"""Files, folders and patterns as Python sees them."""

import glob
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score._native import FileList, count_by_suffix
from batch_score.errors import ConfigError, InputError


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def listing(*inputs, limit=3):
    files = FileList(inputs)
    found = []
    while portion := files.next_batch(limit):
        assert len(portion) <= limit
        found += portion
    assert files.next_batch(limit) == []
    return found


def names(root, *inputs):
    return [os.path.relpath(file, root) for file in listing(*(root / name for name in inputs))]


def test_a_folder_is_sorted_name_by_name_and_keeps_hidden_files_out(tmp_path):
    tree(tmp_path, "a.txt", "a/2", "a/10", "b/.hidden", "B", ".git/config", "a/.x/y", "é")
    assert names(tmp_path, ".") == ["B", "a/10", "a/2", "a.txt", "é"]
    assert names(tmp_path, "b/.hidden", ".git") == ["b/.hidden", ".git/config"]


FILES = ["1.csv", "2.txt", "a/1.csv", "a/b/3.csv", "a/b/c/1.csv", "ab/x.csv", ".h/4.csv", "a/.5.csv", "a/[x].csv"]
part = st.sampled_from(["*", "?", "a", "a*", "**", "*.csv", "[0-9].csv", "1.csv", "?.???", "[[]x].csv", "[!1].*"])


@given(st.lists(part, min_size=1, max_size=4).filter(lambda parts: any(glob.has_magic(name) for name in parts)))
def test_patterns_match_what_the_glob_module_matches(tmp_path_factory, parts):
    root = tree(tmp_path_factory.mktemp("glob"), *FILES)
    pattern = "/".join(parts)
    matches = glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207 - Path.glob finds hidden files
    # glob makes `1.csv/` of the file 1.csv for `1.csv/**`, which no system call would find.
    expected = {file for file in matches if (root / file).is_file() and not file.endswith("/")}
    try:
        found = names(root, pattern)
    except InputError:
        found = []
    assert found == sorted(expected, key=lambda file: Path(file).parts)


def test_relative_inputs_give_relative_paths(tmp_path, monkeypatch):
    tree(tmp_path, "data/1", "data/2", "3")
    monkeypatch.chdir(tmp_path)
    assert listing("data", "*", "./data/1") == ["data/1", "data/2", "3"]


def test_links_are_followed_and_loops_survived(tmp_path):
    tree(tmp_path, "data/1", "elsewhere/2")
    (tmp_path / "data" / "loop").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "broken").symlink_to(tmp_path / "nowhere")
    assert names(tmp_path, "data") == ["data/1", "data/more/2"]


def test_pipes_and_sockets_in_a_folder_are_no_files(tmp_path):
    os.mkfifo(tree(tmp_path, "1") / "pipe")
    assert names(tmp_path, ".") == ["1"]


def test_a_file_of_two_inputs_is_listed_once(tmp_path):
    tree(tmp_path, "a/1", "a/2", "b/3")
    (tmp_path / "same").symlink_to(tmp_path / "a")
    assert names(tmp_path, "a/2", "a", "[ab]/*", "same") == ["a/2", "a/1", "b/3"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone", "no such file or folder"),
        ("empty", "the folder has no files"),
        ("*.csv", "the pattern matches no file"),
    ],
)
def test_an_input_without_files_says_so(tmp_path, name, reason):
    tree(tmp_path, "1.txt", "empty/.hidden")
    with pytest.raises(InputError, match=reason) as raised:
        listing(tmp_path / "1.txt", tmp_path / name)
    assert name in str(raised.value)


def test_a_malformed_pattern_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="pattern"):
        FileList([tmp_path / "[a"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_an_unreadable_folder_is_an_error(tmp_path):
    tree(tmp_path, "a/1", "b/2")
    (tmp_path / "b").chmod(0)
    with pytest.raises(PermissionError):
        listing(tmp_path)


def test_names_that_are_not_utf8_come_back_as_they_went_in(tmp_path):
    name = os.fsdecode(b"caf\xe9.csv")
    tree(tmp_path, name)
    assert names(tmp_path, ".") == names(tmp_path, name) == [name]
    assert count_by_suffix([tmp_path], [".csv"]) == (1, 0, str(tmp_path / name), None)


def test_counting_by_suffix(tmp_path):
    tree(tmp_path, "a.CSV", "b.csv.gz", "c.jpg", "d/e.tsv", "csv")
    suffixes = [".csv", ".csv.gz", ".tsv"]
    assert count_by_suffix([tmp_path], suffixes) == (3, 2, str(tmp_path / "a.CSV"), str(tmp_path / "c.jpg"))
    with pytest.raises(InputError):
        count_by_suffix([tmp_path / "*.parquet"], suffixes)


def test_the_first_files_come_before_the_others_are_listed(tmp_path):
    for number in range(100):
        tree(tmp_path, *(f"{number:02}/{file}" for file in range(100)))
    first, others = [], []
    for _ in range(5):  # the best of several, for a machine that does something else at the wrong moment
        files = FileList([tmp_path])
        started = time.perf_counter()
        assert len(files.next_batch(10)) == 10
        between = time.perf_counter()
        assert len(files.next_batch(sys.maxsize)) == 9_990
        first.append(between - started)
        others.append(time.perf_counter() - between)
    assert min(first) < min(others) / 3


def test_a_list_made_in_one_thread_serves_another(tmp_path):
    files = FileList([tree(tmp_path, "1", "2")])
    found = []
    thread = threading.Thread(target=lambda: found.extend(files.next_batch(9)))
    thread.start()
    thread.join()
    assert found == [str(tmp_path / "1"), str(tmp_path / "2")]
