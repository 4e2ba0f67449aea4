"""Runs to disturb, each in a folder of its own; when all tests have ended, one line says what was done to them."""

import time

import pytest

pytest.register_assert_rewrite("tests.faults.scenario")

from tests.faults.scenario import SCENARIOS, Counts, Place  # noqa: E402 - after the line above, or nothing is rewritten

COUNTS = pytest.StashKey()


@pytest.fixture(scope="session")
def counts(request):
    """What is done to runs, and what comes of it, over all tests."""
    return request.config.stash.setdefault(COUNTS, Counts())


def pytest_terminal_summary(terminalreporter, config):
    if COUNTS in config.stash:
        terminalreporter.write_line(f"faults: {config.stash[COUNTS]}")


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What a scenario comes to when nothing happens to it, and the seconds it takes: `undisturbed(name)`."""
    known = {}

    def run(name):
        if name not in known:
            place = Place(SCENARIOS[name], tmp_path_factory.mktemp("undisturbed"))
            begin = time.monotonic()
            found = place.complete()
            known[name] = found, time.monotonic() - begin
        return known[name]

    return run


@pytest.fixture
def place(tmp_path, counts, undisturbed):
    """A folder for a run of a scenario: `place(name)`; no process may be left when the test ends."""
    made = []

    def make(name):
        made.append(Place(SCENARIOS[name], tmp_path, counts, undisturbed(name)[0]))
        return made[-1]

    yield make
    assert [process for one in made for process in one.close()] == []
