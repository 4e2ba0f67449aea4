"""Files that the tests of the readers make."""

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def file(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def parquet(tmp_path):
    def write(table, name="t.parquet", **options):
        pq.write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write
