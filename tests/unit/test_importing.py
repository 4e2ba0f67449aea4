"""Imports of the command line: nothing is collected meanwhile, everything as ever afterwards."""

import os
import subprocess
import sys

import pytest

from batch_score.importing import BLAS_PATIENCE

COLLECTIONS = """
import gc
from batch_score.importing import importing
begun = []
gc.callbacks.append(lambda phase, info: begun.append(phase))
with importing():
    many = [[number] for number in range(100_000)]
assert not begun, "garbage was looked for while importing"
assert gc.get_freeze_count() > 100_000
del gc.callbacks[:]

class Ring:
    def __del__(self):
        print("collected")

ring = Ring()
ring.itself = ring
del ring
gc.collect()
"""
KEPT = """
import gc
from batch_score.importing import importing
{before}
try:
    with importing():
        import no_such_module_as_this
except ImportError:
    print(gc.isenabled())
"""


def said(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_nothing_is_collected_while_importing_and_what_comes_later_is():
    assert said(COLLECTIONS) == ["collected"]


@pytest.mark.parametrize(("before", "after"), [("", "True"), ("gc.disable()", "False")])
def test_the_collector_is_left_as_it_was_also_after_a_failed_import(before, after):
    assert said(KEPT.format(before=before)) == [after]


PATIENCE = """
import os
from batch_score.importing import BLAS_PATIENCE, importing
with importing():
    with importing():
        print(os.environ[BLAS_PATIENCE])
print(os.environ.get(BLAS_PATIENCE))
"""


@pytest.mark.parametrize(("chosen", "seen"), [({}, ["4", "None"]), ({BLAS_PATIENCE: "4"}, ["4", "4"])])
def test_idle_blas_threads_sleep_soon_during_imports_unless_somebody_has_chosen(chosen, seen):
    environment = {name: value for name, value in os.environ.items() if name != BLAS_PATIENCE}
    command = [sys.executable, "-c", PATIENCE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**environment, **chosen})
    assert done.stdout.split() == seen
