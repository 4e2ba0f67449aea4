"""What datasets of SDK v1 can do and these cannot, and what to do instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

SOME = ("filter", "random_split", "skip", "take", "take_sample")
TIMES = ("time_after", "time_before", "time_between", "time_recent", "with_timestamp_columns")
FRAMES = ("to_csv_files", "to_dask_dataframe", "to_parquet_files", "to_spark_dataframe")

OF_ROWS: Mapping[str, str] = {
    **dict.fromkeys(
        (*SOME, *TIMES),
        "choose the rows of to_pandas_dataframe(), or write them into a file and make a dataset of that",
    ),
    **dict.fromkeys(FRAMES, "make what you need of to_pandas_dataframe()"),
}
OF_FILES: Mapping[str, str] = {
    **dict.fromkeys(SOME, "choose among the paths of to_path(), and give them to Dataset.File.from_files"),
    "mount": "the files are on this machine: use to_path(), or download() for copies",
}


class Advising:
    """A dataset that says what to do instead of what it cannot do; that stays an AttributeError."""

    _instead: ClassVar[Mapping[str, str]]

    if not TYPE_CHECKING:  # else every name would be an attribute to the type checker

        def __getattr__(self, name: str) -> Any:
            """Is only asked for what is not there."""
            kind = type(self).__name__
            if name in self._instead:
                raise AttributeError(f"{kind} has no {name} in this version: {self._instead[name]}")
            raise AttributeError(f"{kind!r} object has no attribute {name!r}")
