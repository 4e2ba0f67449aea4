"""The laws of keys in paths, against slow obvious twins."""

import bz2
import gzip
import json
import shutil
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.dataset.files import FileDataset
from batch_score.dataset.frame import frame
from batch_score.dataset.partition import PartitionFormat
from batch_score.dataset.tabular import TabularDataset
from batch_score.errors import InputError
from batch_score.minibatch import places
from batch_score.output.keys import joined_keys, tabular_keys

# Formats: literals and keys that stand side by side in every way, and paths that nearly match them.
letters = st.text("ab.-", min_size=0, max_size=3)
formats = st.lists(st.sampled_from(["{}", "/", "/", "*", "a", "b.", "-"]), min_size=1, max_size=7).filter(
    lambda parts: "{}" in parts
)
paths = st.lists(st.sampled_from(["/", "a", "b", ".", "-", "x"]), max_size=9).map("".join)


def twin(parts, path):
    """The values of the keys where the parts cover `path` from its beginning, the first key as long as it can be."""
    if not parts:
        return () if not path else None
    part, *rest = parts
    if part in ("{}", "*"):
        name = path.partition("/")[0]
        for length in range(len(name), -1 if part == "*" else 0, -1):
            found = twin(rest, path[length:])
            if found is not None:
                return (name[:length], *found) if part == "{}" else found
        return None
    return twin(rest, path[len(part) :]) if path.startswith(part) else None


def twin_values(parts, path):
    """From where a name begins, the earliest such place."""
    begins = [at for at, char in enumerate(path) if char == "/"]
    skip = 0 if parts[0] == "/" else 1
    return next((found for at in begins if (found := twin(parts, path[at + skip :])) is not None), None)


@given(formats, paths)
def test_a_path_is_read_as_the_twin_reads_it(parts, path):
    keys = iter(range(10))
    text = "".join(f"{{k{next(keys)}}}" if part == "{}" else part for part in parts)
    absolute = str(Path("/", path.lstrip("/")))
    if absolute != "/" + path.lstrip("/") or ".." in absolute:
        return  # the twin knows nothing of . and ..
    wanted = twin_values(parts, absolute)
    try:
        assert PartitionFormat.parse(text).values(absolute, "/") == wanted
    except InputError:
        assert wanted is None


# Trees of tables.
names = st.sampled_from(["A", "B", "with space", "é", "x=1"])
tables = st.lists(st.integers(-5, 5), max_size=6)
trees = st.dictionaries(st.tuples(names, names, st.sampled_from(["2020-01-02", "2021-12-31"])), tables, min_size=1)
forms = st.sampled_from([".csv", ".csv.gz", ".jsonl", ".jsonl.bz2", ".parquet"])
KEYS = ("store", "day", "brand")
some_keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True)


def written(path, values):
    """Writes a table `v,w`; its rows as they come back."""
    rows = [{"v": value, "w": f"{value}!"} for value in values]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".parquet"):
        schema = pa.schema([pa.field("v", pa.int64(), nullable=False), pa.field("w", pa.string())])
        pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=2)
        return
    if ".jsonl" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        text = "v,w\n" + "".join(f"{row['v']},{row['w']}\n" for row in rows)
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(text.encode()))


class Tree:
    """A tree of tables below a new folder, and all that is in it."""

    def __init__(self, tree, form):
        self.folder = Path(tempfile.mkdtemp())
        self.format = "/{store}/{day:yyyy-MM-dd}/{brand}/t" + form
        self.rows = {}  # by file and ordinal
        for (store, brand, day), values in tree.items():
            path = self.folder / store / day / brand / f"t{form}"
            written(path, values)
            keys = {"store": store, "day": pd.Timestamp(day), "brand": brand}
            self.rows |= {(str(path), row): {"v": value, "w": f"{value}!", **keys} for row, value in enumerate(values)}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def table(self, form):
        make = {".csv": TabularDataset.from_delimited_files, ".jso": TabularDataset.from_json_lines_files}
        return make.get(form[:4], TabularDataset.from_parquet_files)(self.folder, partition_format=self.format)


def planned(dataset):
    return [one for chunk in dataset.plan(None, dataset=0, first_index=0) for one in chunk]


@given(trees, forms, some_keys)
def test_every_row_is_in_the_one_mini_batch_of_its_combination(tree, form, keys):
    with Tree(tree, form) as made:
        if not made.rows:
            return
        dataset = made.table(form).grouped(keys)
        reader = dataset.reader("/")
        seen, combinations = {}, []
        for number, minibatch in enumerate(planned(dataset)):
            assert minibatch.index == number
            assert minibatch.whole
            assert tuple(name for name, _ in minibatch.partition) == tuple(keys)
            batch = reader.read(minibatch)
            table = frame(batch.table)
            assert list(table.columns) == ["v", "w", *KEYS]
            assert list(table.index) == batch.ordinals.tolist() == list(range(minibatch.rows))
            assert list(map(str, table.dtypes)) == list(map(str, frame(dataset.schema.empty_table()).dtypes))
            assert all((table[name] == value).all() for name, value in minibatch.partition)
            place = places(minibatch)
            for ordinal, row in zip(table.index, table.to_dict("records"), strict=True):
                assert place(ordinal) not in seen
                seen[place(ordinal)] = row
            combinations.append(minibatch.partition)
        assert seen == made.rows
        wanted = {tuple(row[name] for name in keys) for row in made.rows.values()}
        assert len(combinations) == len(set(combinations)) == len(wanted)


@given(trees, forms, some_keys)
def test_keys_of_the_output_name_file_and_row(tree, form, keys):
    with Tree(tree, form) as made:
        if not made.rows:
            return
        dataset = made.table(form).grouped(keys)
        for minibatch in planned(dataset):
            batch = dataset.reader("/").read(minibatch)
            ordinals = batch.ordinals[::2]
            table = batch.table.take(list(range(0, len(batch.ordinals), 2)))
            if minibatch.ranges:
                found = joined_keys("auto", minibatch.ranges, ordinals, table)
            else:
                found = tabular_keys("auto", minibatch.source, ordinals, table)
            assert [(row["source"], row["row"]) for row in found.to_pylist()] == list(map(places(minibatch), ordinals))
            described = batch.describe(range(minibatch.rows), ["v", "store"])
            for position, one in enumerate(described):
                row = made.rows[places(minibatch)(position)]
                assert one.key == {"v": row["v"], "store": row["store"]}
                assert f"{row['v']}!" in one.record


@given(trees, st.booleans(), some_keys)
def test_every_file_is_in_the_one_mini_batch_of_its_combination(tree, merged, keys):
    with Tree(tree, ".csv") as made:
        dataset = FileDataset.from_files(made.folder, partition_format=made.format)
        minibatches = planned(dataset.grouped(keys if merged else KEYS))
        for minibatch in minibatches:
            for path in minibatch.files:
                store, day, brand = Path(path).parts[-4:-1]
                own = {"store": store, "day": pd.Timestamp(day), "brand": brand}
                assert dict(minibatch.partition).items() <= own.items()
        found = [path for minibatch in minibatches for path in minibatch.files]
        assert sorted(found) == sorted(map(str, made.folder.rglob("t.csv")))
        assert len({minibatch.partition for minibatch in minibatches}) == len(minibatches)


rows = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.sampled_from(["A", "b c", "%20", "é*", "{k}"]),
            "number": st.integers(-2, 2),
            "moment": st.sampled_from(["2020-01-02 03:04:05", "1999-12-31 23:59:59"]),
            "value": st.one_of(st.none(), st.floats(-1, 1)),
        }
    ),
    min_size=1,
    max_size=30,
)


@given(rows, st.lists(st.sampled_from(["text", "number", "moment"]), min_size=1, max_size=3, unique=True))
def test_what_partition_by_writes_reads_back_as_the_same_rows(content, keys):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "t.csv")
        table = pd.DataFrame({"id": range(len(content)), **{name: [row[name] for row in content] for name in
                              ("text", "number", "moment", "value")}})  # fmt: skip
        table.to_csv(path, index=False)
        types = {"moment": "datetime", "value": "float64"}
        dataset = TabularDataset.from_delimited_files(path, set_column_types=types)
        back = dataset.partition_by(keys, folder, "by")
        rest = [name for name in ("id", "text", "number", "moment", "value") if name not in keys]
        assert back.schema.names == [*rest, *keys]
        assert set(pq.read_schema(back.paths[0]).names) == set(rest)
        reader, found = back.reader("/"), []
        for minibatch in planned(back.grouped(keys)):
            batch = reader.read(minibatch)
            found.append(frame(batch.table))
        read = pd.concat(found).sort_values("id", ignore_index=True)
        if "number" in keys:
            read["number"] = read["number"].astype("int64")
        wanted = table.assign(
            moment=pd.to_datetime(table["moment"]).astype(read["moment"].dtype), value=table["value"].astype(float)
        )
        pd.testing.assert_frame_equal(read[table.columns], wanted, check_dtype=False)
        folders = {tuple(Path(one).parts[-1 - len(keys) : -1]) for one in back.paths}
        assert len(folders) == len(table[keys].drop_duplicates())


@pytest.mark.parametrize("value", ["a/b", ".hidden", "..", "", "x" * 300])
def test_a_value_that_cannot_name_a_folder_leaves_nothing_behind(value, tmp_path):
    pd.DataFrame({"k": ["fine", value], "v": [1, 2]}).to_csv(tmp_path / "t.csv", index=False)
    dataset = TabularDataset.from_delimited_files(tmp_path / "t.csv")
    with pytest.raises(InputError, match="column 'k' cannot name a folder"):
        dataset.partition_by(["k"], tmp_path / "by")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
