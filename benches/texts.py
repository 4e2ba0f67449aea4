"""Large text files whose every record boundary is known without scanning them: they repeat one block of records."""

import csv
import itertools
import json
import random
from dataclasses import dataclass

import numpy as np

HEADER = b"id,text,amount\n"
WORDS = ["river", "stone", "north", "lamp", "paper", "quiet", "market", "seven", "cloud", "engine", "harbour"]


@dataclass(frozen=True)
class Block:
    """Some records: their bytes, and the offset in them at which each begins."""

    text: bytes
    starts: np.ndarray

    def write(self, path, size, header=b""):
        """A file of the header and as many blocks as fit into `size` bytes, at least one."""
        with path.open("wb") as file:
            file.write(header)
            for _ in range(max(1, size // len(self.text))):
                file.write(self.text)
        return path

    def rows(self, length):
        """Records in the first `length` bytes of the repeated blocks; each length must end a record."""
        blocks, within = np.divmod(length, len(self.text))
        position = np.searchsorted(self.starts, within)
        assert (self.starts[position] == within).all(), "a mini-batch begins or ends inside a record"
        return blocks * len(self.starts) + position

    def check(self, ranges, *, header, size, bound):
        """Asserts that `ranges` (offset, length, first_row, rows) are the one right plan of a file of `size` bytes."""
        offsets, lengths, first_rows, rows = np.array(ranges, dtype=np.int64).T
        begins, ends = offsets - header, offsets + lengths - header
        assert begins[0] == 0
        assert ends[-1] == size - header
        assert (begins[1:] == ends[:-1]).all(), "a gap or an overlap"
        assert lengths.max() <= bound
        assert (first_rows == self.rows(begins)).all()
        assert (first_rows + rows == self.rows(ends)).all()
        records = np.diff(self.starts, append=len(self.text))
        following = records[np.searchsorted(self.starts, begins[1:] % len(self.text))]
        assert (lengths[:-1] + following > bound).all(), "a mini-batch could have been longer"


def delimited(*, quoted):
    """About 1 MB of records; `quoted` ones have commas, quotes and line breaks in every fifth text.

    The boundaries are those that Python's own csv module finds.
    """
    chance = random.Random(7)  # noqa: S311 - the same text each time is the point
    lines = [_record(number, chance, quoted=quoted) for number in range(15_000)]
    text = "".join(lines)
    physical = [line + "\n" for line in text.split("\n")[:-1]]
    ends = [0, *itertools.accumulate(len(line) for line in physical)]
    reader = csv.reader(physical)
    starts = [0, *(ends[reader.line_num] for _ in reader)]
    assert starts.pop() == len(text)
    return Block(text.encode(), np.array(starts))


def _record(number, chance, *, quoted):
    words = " ".join(chance.choices(WORDS, k=chance.randrange(4, 14)))
    if quoted and number % 10 == 0:
        words = '"' + words.replace(" ", "\n", 1) + '"'
    elif quoted and number % 10 == 5:
        words = '"' + words.replace(" ", ', ""and"" ', 1) + '"'
    return f"{number},{words},{chance.randrange(100_000) / 100}\n"


def json_lines():
    """About 1 MB of objects, one a line."""
    chance = random.Random(7)  # noqa: S311 - the same text each time is the point
    lines = [
        json.dumps({"id": number, "text": " ".join(chance.choices(WORDS, k=8)), "amount": chance.random()}) + "\n"
        for number in range(10_000)
    ]
    starts = list(itertools.accumulate((len(line) for line in lines), initial=0))
    return Block("".join(lines).encode(), np.array(starts[:-1]))
