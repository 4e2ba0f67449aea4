"""A whole dataset, read in order by one worker, as the tests of the readers look at it."""

import pickle

import numpy as np
import pandas as pd

from batch_score.dataset.frame import frame
from batch_score.dataset.tabular import TabularDataset
from batch_score.job.plan import plan

TEXT = str(pd.Series(["a"]).dtype)  # str since pandas 3, object before


DELIMITED, JSONL, PARQUET = (
    TabularDataset.from_delimited_files,
    TabularDataset.from_json_lines_files,
    TabularDataset.from_parquet_files,
)


class Read:
    """All mini-batches of a dataset, read in order by one worker."""

    def __init__(self, dataset, size=None):
        reader = pickle.loads(pickle.dumps(dataset.reader("/")))
        self.minibatches = [one for chunk in plan([dataset], size) for one in chunk]
        self.batches = [reader.read(one) for one in self.minibatches]
        self.frames = [frame(batch.table) for batch in self.batches]
        self.failed = [(item.row, item.fault.message) for batch in self.batches for item in batch.failed_items]
        self.dropped = sum(batch.dropped for batch in self.batches)

    @property
    def whole(self):
        """All rows; the index is their place in their file."""
        places = np.concatenate([batch.ordinals for batch in self.batches])
        return pd.concat(self.frames).set_axis(pd.Index(places, name="row"))

    def column(self, name):
        return [None if pd.isna(value) else value for value in self.whole[name]]

    def dtypes(self):
        return {tuple(str(dtype) for dtype in one.dtypes) for one in self.frames}


def same_for_all_sizes(dataset):
    """The rows and failed items of `dataset`, which must not depend on the size of a mini-batch."""
    reads = [Read(dataset, size) for size in (1, 10, "1MB")]
    found = [(read.whole.to_dict("index"), sorted(read.failed)) for read in reads]
    assert found[0] == found[1] == found[2]
    return found[0]
