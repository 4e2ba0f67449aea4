"""Machines with GPUs that are not there: processes find a stand-in where the driver's library would be."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
needs_cargo = pytest.mark.skipif(shutil.which("cargo") is None, reason="no Rust to build the driver's stand-in with")


@cache
def stand_in():
    """The stand-in for libnvidia-ml.so.1, compiled."""
    cargo = shutil.which("cargo")
    subprocess.run([cargo, "build", "--release", "--locked", "--quiet", "--package", "fake-nvml"], cwd=ROOT, check=True)
    metadata = [cargo, "metadata", "--format-version=1", "--no-deps", "--locked"]
    told = subprocess.run(metadata, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return Path(json.loads(told.stdout)["target_directory"], "release", "libfake_nvml.so")


def environment(folder, machine):
    """What a process must find in its environment to see the GPUs of `machine` (rust/fake-nvml/src/machine.rs)."""
    folder.mkdir(exist_ok=True)
    description = folder / "machine.json"
    description.write_text(json.dumps(machine), encoding="utf-8")
    library = folder / "libnvidia-ml.so.1"
    library.unlink(missing_ok=True)
    library.symlink_to(stand_in())
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
    return {"LD_LIBRARY_PATH": path, "FAKE_NVML": str(description)}
