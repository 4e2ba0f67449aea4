"""Paths whose bytes are not UTF-8, in what people and programs read."""

import io
import json
import os

from batch_score.cli.debug import _position
from batch_score.cli.plan import as_object, show_plan
from batch_score.job.failed_items import _line, _placed
from batch_score.minibatch import FailedItem, Fault, MiniBatch, Range, places

ODD = os.fsdecode(b"nu/\xff.csv")
TEXT = "nu/\\xff.csv"


def test_failed_items_name_them_as_the_output_does():
    minibatch = MiniBatch(0, ODD, 0, 10, 5, 2)
    line = _placed(_line(minibatch, FailedItem(ODD, 6, Fault("E", "m")), 1, ""), places(minibatch))
    assert (line["source"], line["row"]) == (TEXT, 6)
    assert _position(minibatch, line["source"], line["row"]) == 1


def test_items_of_several_files_are_found_again():
    minibatch = MiniBatch(0, "", 0, 10, 0, 4, ranges=(Range("a", 0, 5, 0, 2), Range(ODD, 0, 5, 3, 2)))
    line = _placed(_line(minibatch, FailedItem("", 3, Fault("E", "m")), 1, ""), places(minibatch))
    assert (line["source"], line["row"]) == (TEXT, 4)
    assert _position(minibatch, TEXT, 4) == 3


def test_files_are_found_again():
    minibatch = MiniBatch(0, "", 0, 0, 0, 2, files=("a", ODD))
    line = _placed(_line(minibatch, FailedItem(ODD, None, Fault("E", "m")), 1, ""), places(minibatch))
    assert _position(minibatch, line["source"], None) == 1
    assert as_object(minibatch)["files"] == ["a", TEXT]


def test_a_plan_is_valid_json(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.csv")).write_text("a\n1\n")
    stream = io.StringIO()
    show_plan({"inputs": [str(tmp_path)]}, stream, as_json=True)
    assert json.loads(stream.getvalue().encode())["source"] == f"{tmp_path}/\\xff.csv"
