"""Test effort: BATCH_SCORE_EFFORT=quick (default), ci or full turns the number of generated examples up."""

import os
import textwrap

import pytest
from hypothesis import HealthCheck, settings

EFFORT = os.environ.get("BATCH_SCORE_EFFORT", "quick")

for name, examples in {"quick": 50, "ci": 200, "full": 5_000}.items():
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,  # two busy cores make single examples slow; pytest-timeout guards the whole test
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
settings.load_profile(EFFORT)


def pytest_collection_modifyitems(config, items):
    """Leaves out what is marked slow, unless all is asked for."""
    slow = [item for item in items if item.get_closest_marker("slow")] if EFFORT != "full" else []
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


@pytest.fixture
def write(tmp_path):
    """Writes a file below the test's folder, its text without the common indentation."""

    def written(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    return written
