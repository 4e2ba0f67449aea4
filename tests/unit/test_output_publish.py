import os

import pytest

from batch_score.errors import OutputError
from batch_score.output.publish import draft_of, is_published, publish, refuse_taken

TAKEN = "exists and is not of this run"


@pytest.fixture
def draft(tmp_path):
    """A file that is complete, beside the name it is to get."""
    path = draft_of(tmp_path / "out.parquet", bytes(16))
    path.write_text("rows")
    return path


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch):
    """One that has hard links, and one that has none."""

    def refused(*_):
        raise PermissionError(1, os.strerror(1))

    if request.param == "no links":
        monkeypatch.setattr(os, "link", refused)
    return request.param


def test_a_draft_gets_its_name(draft, file_system):
    target = draft.with_name("out.parquet")
    refuse_taken(draft, target)
    publish(draft, target)
    assert target.read_text() == "rows"
    assert is_published(draft, target) == (file_system == "links")


@pytest.mark.usefixtures("file_system")
@pytest.mark.parametrize("there", ["a file", "a link to nowhere"])
def test_a_name_that_is_taken_stays_as_it_is(there, draft):
    target = draft.with_name("out.parquet")
    target.write_text("mine") if there == "a file" else target.symlink_to("nowhere")
    for refused in (refuse_taken, publish):
        with pytest.raises(OutputError, match=TAKEN):
            refused(draft, target)
    assert draft.read_text() == "rows"
    assert there != "a file" or target.read_text() == "mine"


def test_a_draft_has_a_name_of_its_run_however_long_the_file_s_is(tmp_path):
    target = tmp_path / ("x" * 247 + ".parquet")
    drafts = {draft_of(target, bytes([run] * 16)) for run in range(3)}
    assert len(drafts) == 3
    assert {(one.parent, len(one.name)) for one in drafts} == {(tmp_path, 53)}
