"""The grammar of `partition_format`, and what is said about paths and keys that do not fit."""

import copy
import gzip
import pickle
from datetime import datetime
from pathlib import Path

import pytest

from batch_score import ParallelRunConfig
from batch_score.dataset.files import FileDataset
from batch_score.dataset.partition import PartitionFormat, combinations, in_lists
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import ConfigError, InputError
from batch_score.minibatch import MiniBatch, Range, places


@pytest.mark.parametrize(
    ("text", "path", "values"),
    [
        ("/{Department}/{d:yyyy/MM/dd}/data.csv", "a/Accounts/2019/01/31/data.csv", ("Accounts", (2019, 1, 31))),
        ("{Store}/{Brand}/{file_name}.{extension}", "x/1000/dominicks/a.tar.gz", ("1000", "dominicks", "a.tar", "gz")),
        ("{Store}/*.csv", "x/1000/part-0.csv", ("1000",)),
        ("{Store}.csv", "1000.csv", ("1000",)),
        ("part-{n}.csv", "x/part-7.csv", ("7",)),
        ("{a}_{b}.csv", "x_y_z.csv", ("x_y", "z")),
        ("{t:yyyy-MM-ddTHH-mm-ss}/f", "2020-02-29T23-59-58/f", ((2020, 2, 29, 23, 59, 58),)),
        ("{t:yyyyMMdd}.csv", "20200229.csv", ((2020, 2, 29),)),
        ("{t:ss.mm.HH}.csv", "58.59.23.csv", ((1900, 1, 1, 23, 59, 58),)),
        ("{y:yyyy}/{m:MM}/f", "2021/12/f", ((2021, 1, 1), (1900, 12, 1))),
        ("/{Key with spaces, and 'more'}/f", "é ü/f", ("é ü",)),
        ("/{k}/[a]+(b).csv", "v/[a]+(b).csv", ("v",)),
        ("/{k}/f", "not\nUTF-8 \udcff/f", ("not\nUTF-8 \\xff",)),
    ],
)
def test_what_a_path_says(text, path, values):
    found = PartitionFormat.parse(text).values(path, "/base")
    assert found == tuple(datetime(*value) if isinstance(value, tuple) else value for value in values)  # noqa: DTZ001


def test_folders_above_the_working_directory_have_keys_too():
    assert PartitionFormat.parse("/{a}/{b}/f.csv").values("f.csv", "/data/A/B") == ("A", "B")
    assert PartitionFormat.parse("/{a}/{b}/f.csv").values("./C/../B/f.csv", "/data/A") == ("A", "B")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/{a}/{b}.csv", "/x/y.tsv"),
        ("/{a}/{b}.csv", "/y.csv"),
        ("part-{n}.csv", "/x/mypart-7.csv"),
        ("/{a}/{d:yyyy/MM/dd}/f", "/x/2020/1/1/f"),
        ("/{a}/{d:yyyy/MM/dd}/f", "/x/٢٠٢٠/01/01/f"),
        ("/{a}/f", "/x/f/g"),
        ("/{a}.csv", "/.csv"),
    ],
)
def test_a_path_that_does_not_match_is_shown_with_the_format(text, path):
    with pytest.raises(InputError) as error:
        PartitionFormat.parse(text).values(path, "/")
    assert path in str(error.value)
    assert text in str(error.value)


@pytest.mark.parametrize("path", ["/x/2020/02/30/f", "/x/2020/13/01/f", "/x/0999/01/01/f", "/x/0000/01/01/f"])
def test_digits_that_are_no_date_are_an_error(path):
    with pytest.raises(InputError, match=rf"{path}.* is no date"):
        PartitionFormat.parse("/{a}/{d:yyyy/MM/dd}/f").values(path, "/")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/a/b.csv", "at least one"),
        ("", "at least one"),
        ("/{}/f", "cannot be read"),
        ("/{a/f", "cannot be read"),
        ("/{a}}/f", "cannot be read"),
        ("/{a}/{b/{c}}/f", "cannot be read"),
        ("/{a}/{a}/f", "'a' twice"),
        ("/{a}/{a:yyyy}/f", "'a' twice"),
        ("/{d:}/f", "made of yyyy"),
        ("/{d:words}/f", "made of yyyy"),
        ("/{d:yyyy/M/d}/f", "made of yyyy"),
        ("/{d:yyyy/yyyy}/f", "made of yyyy"),
        ("/{d:YYYY}/f", "made of yyyy"),
    ],
)
def test_a_format_that_cannot_be_read_is_an_error(text, message):
    with pytest.raises(ConfigError, match=message):
        PartitionFormat.parse(text)


def test_a_format_travels_also_after_use():
    used = PartitionFormat.parse("/{a}/{b}.csv")
    used.values("/x/y.csv", "/")
    travelled = pickle.loads(pickle.dumps(used))
    assert travelled == used
    assert travelled.values("/x/y.csv", "/") == ("x", "y")


def test_a_subset_of_the_keys_merges_in_the_order_of_appearance():
    partition = PartitionFormat.parse("/{a}/{b}/f")
    found = combinations(["/2/x/f", "/1/y/f", "/2/y/f", "/1/x/f"], partition, ["a"], "/")
    assert [(one.values, one.paths) for one in found] == [
        ((("a", "2"),), ("/2/x/f", "/2/y/f")),
        ((("a", "1"),), ("/1/y/f", "/1/x/f")),
    ]


def test_lists_are_bounded_by_number_and_by_bytes():
    made = [MiniBatch(number, "f", 0, length, 0, 1) for number, length in enumerate([0] * 7 + [60, 60, 1, 1])]
    lists = list(in_lists(iter(made), 3, 100))
    assert [one for some in lists for one in some] == made
    assert [len(some) for some in lists] == [3, 3, 3, 2]
    assert max(len(some) for some in in_lists(iter(made), 100, 10)) == 8


def test_the_rows_of_a_mini_batch_are_found_in_their_files():
    ranges = (Range("a", 5, 10, 0, 3), Range("b", 0, 10, 4, 2), Range("c", 0, 1, 0, 1))
    place = places(MiniBatch(0, "", 0, 21, 0, 6, ranges=ranges))
    assert [place(row) for row in range(6)] == [("a", 0), ("a", 1), ("a", 2), ("b", 4), ("b", 5), ("c", 0)]
    assert places(MiniBatch(0, "f", 0, 1, 7, 3))(8) == ("f", 8)


def test_a_mini_batch_of_other_files_is_another_one():
    one = MiniBatch(0, "", 0, 2, 0, 2, ranges=(Range("a", 0, 1, 0, 1), Range("b", 0, 1, 0, 1)))
    other = MiniBatch(0, "", 0, 2, 0, 2, ranges=(Range("a", 0, 1, 0, 1), Range("c", 0, 1, 0, 1)))
    assert one.identity != other.identity
    # Of a journal that an earlier version wrote: what is new does not count where it is empty.
    assert MiniBatch(3, "t.csv", 7, 100, 5, 10).identity == 248_134_508


@pytest.mark.parametrize("given", [["a", "b"], ("a", "b"), "a,b", '["a", "b"]', ' [ "a" , "b" ]'])
def test_partition_keys_are_a_list_or_its_text(given):
    assert ParallelRunConfig(partition_keys=given).partition_keys == ("a", "b")


@pytest.mark.parametrize("given", [[], "", "a,a", [""]])
def test_partition_keys_must_be_different_names(given):
    with pytest.raises(ConfigError, match="partition_keys"):
        ParallelRunConfig(partition_keys=given)


def test_keys_and_a_size_exclude_each_other():
    with pytest.raises(ConfigError, match=r"partition_keys and mini_batch_size \(10MB\)"):
        ParallelRunConfig(partition_keys=["a"], mini_batch_size="10MB")


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "A" / "t.csv"
    path.parent.mkdir()
    path.write_text("id,Store\n1,2\n", encoding="utf-8")
    return path


def test_keys_that_the_input_does_not_have_are_an_error_that_lists_what_there_is(table):
    for dataset in (
        TabularDataset.from_delimited_files(table, partition_format="/{Shop}/{name}.csv"),
        FileDataset.from_files(table, partition_format="/{Shop}/{name}.csv"),
    ):
        assert dataset.partition_keys == ("Shop", "name")
        with pytest.raises(ConfigError, match=r"'Store', but the keys of .* are Shop, name"):
            dataset.grouped(["Store"])
    for dataset in (TabularDataset.from_delimited_files(table), FileDataset.from_files(table)):
        with pytest.raises(ConfigError, match="give the partition_format"):
            dataset.grouped(["Store"])


def test_a_key_must_not_be_called_as_a_column_is(table):
    with pytest.raises(ConfigError, match=r"adds the column 'Store', but .*t\.csv has one already"):
        TabularDataset.from_delimited_files(table, partition_format="/{Store}/t.csv")
    with pytest.raises(ConfigError, match="'Path'"):
        TabularDataset.from_delimited_files(table, partition_format="/{Path}/t.csv", include_path=True)


def test_copies_of_a_reader_read_streams_at_the_same_time(tmp_path):
    for store in ("A", "B"):
        (tmp_path / store).mkdir()
        text = "id\n" + "".join(f"{store}{number}\n" for number in range(1000))
        (tmp_path / store / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    dataset = TabularDataset.from_delimited_files(tmp_path, partition_format="/{store}/t.csv.gz")
    minibatches = [one for chunk in dataset.plan(100, dataset=0, first_index=0) for one in chunk]
    first = dataset.reader("/")
    readers = {"A": first, "B": copy.copy(first)}
    opened = []
    for minibatch in sorted(minibatches, key=lambda one: one.first_row):  # of both files in turn
        batch = readers[Path(minibatch.source).parent.name].read(minibatch)
        assert set(batch.table["store"].to_pylist()) == {Path(minibatch.source).parent.name}
        opened.append(id(readers["A"]._reader._stream))  # noqa: SLF001 - that none is opened anew shows nowhere else
    assert len(set(opened)) == 1


@pytest.mark.usefixtures("table")
def test_the_path_of_every_file_is_looked_at(tmp_path):
    (tmp_path / "t.csv").write_text("id,Store\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"does not match the partition_format '/A/\{x\}'"):
        TabularDataset.from_delimited_files(tmp_path, partition_format="/A/{x}")
    files = FileDataset.from_files(tmp_path, partition_format="/A/{x}")  # of files, the first one only
    with pytest.raises(InputError, match="does not match"):
        list(files.plan(None, dataset=0, first_index=0))
    with pytest.raises(InputError, match="does not match"):
        list(files.grouped(["x"]).plan(None, dataset=0, first_index=0))


def test_keys_stand_behind_the_path(tmp_path):
    path = tmp_path / "A" / "t.csv"
    path.parent.mkdir()
    path.write_text("id\n1\n", encoding="utf-8")
    dataset = TabularDataset.from_delimited_files(path, partition_format="/{store}/t.csv", include_path=True)
    [[minibatch]] = dataset.plan(None, dataset=0, first_index=0)
    table = dataset.reader("/").read(minibatch).table
    assert dataset.schema.names == table.column_names == ["id", "Path", "store"]
    assert table.to_pylist() == [{"id": 1, "Path": str(path), "store": "A"}]
