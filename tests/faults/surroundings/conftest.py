"""Bad surroundings: full disks, clocks that jump, inputs that change, memory that runs out."""

import pytest
from tests.faults.surroundings.site import ECHO, Site, long, thorough


@pytest.fixture
def site(tmp_path):
    """A folder with a table and a script; no process may be left when the test ends."""
    site = Site(tmp_path)
    site.table()
    site.script(ECHO)
    yield site
    site.end()


def pytest_collection_modifyitems(config, items):
    """Tests that BATCH_SCORE_EFFORT leaves out are left out without a word."""
    out = [item for item in items if any(mark in item.own_markers for mark in left_out())]
    items[:] = [item for item in items if item not in out]
    config.hook.pytest_deselected(items=out)


def left_out():
    return [mark.mark for mark in (thorough, long) if mark.mark.args[0]]
