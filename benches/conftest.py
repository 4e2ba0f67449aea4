"""What every benchmark shares: how large, on which build, on which machine, and the figures at the end."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
from tests import models

from batch_score import _native
from batch_score.gpu.nvml import read_devices

FIGURES = pytest.StashKey()
LOAD = pytest.StashKey()
FEATURES = [f"f{number:02d}" for number in range(20)]
PACKAGES = ("numpy", "onnxruntime", "pandas", "pyarrow", "pytest-benchmark")


def pytest_configure(config):
    if _native.debug_build:
        raise pytest.UsageError("the native module is a debug build, whose figures say nothing; build with --release")
    config.addinivalue_line("python_files", "bench_*.py")
    config.stash[FIGURES] = {}
    config.stash[LOAD] = os.getloadavg()  # now: later the benchmarks themselves are the load


def pytest_benchmark_update_machine_info(config, machine_info):
    """Facts of the run itself: a record made of it later must not ask another machine."""
    machine_info["usable_cores"] = len(os.sched_getaffinity(0))
    machine_info["memory_bytes"] = psutil.virtual_memory().total
    machine_info["load_average"] = config.stash[LOAD]
    machine_info["gpus"] = [device.name for device in read_devices().devices]
    machine_info["kernel"] = platform.release()
    machine_info["bench_mb"] = megabytes()
    machine_info["batch_score"] = _native.__version__
    machine_info["packages"] = {name: found for name in PACKAGES if (found := installed(name))}


def installed(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash[FIGURES]
    if not figures:
        return
    terminalreporter.section("figures (best round)")
    for name, values in figures.items():
        terminalreporter.write_line(name)
        for figure, value in values.items():
            text = f"{value:,.4g}" if isinstance(value, float) else value
            terminalreporter.write_line(f"    {figure:28} {text}")


def megabytes():
    return int(os.environ.get("BATCH_SCORE_BENCH_MB", "200"))


@dataclass(frozen=True)
class Scale:
    """How much is measured; everything follows from the one number of the environment."""

    megabytes: int

    @property
    def bytes(self):
        """Bytes of text that is planned."""
        return self.megabytes * 1_000_000

    def count(self, full):
        """`full` things at 200 MB, in proportion at other sizes, but enough to mean something."""
        return max(20, full * self.megabytes // 200)


@pytest.fixture(scope="session")
def scale():
    return Scale(megabytes())


class Measure:
    """Times something and notes figures; where benchmarks run as ordinary tests it runs it once."""

    def __init__(self, benchmark):
        self._benchmark = benchmark

    def run(self, target, *arguments, rounds=3, warmup_rounds=0, setup=None):
        """What `target` returned in the last round; by default as many rounds as do for whole jobs."""
        return self._benchmark.pedantic(target, arguments, setup=setup, rounds=rounds, warmup_rounds=warmup_rounds)

    def note(self, per_second=None, **values):
        """Keeps figures: `per_second` are amounts over the fastest round, the others stay as they are."""
        if self._benchmark.stats is not None:
            fastest = self._benchmark.stats.stats.min
            self._benchmark.extra_info |= {name: amount / fastest for name, amount in (per_second or {}).items()}
        self._benchmark.extra_info |= values


@pytest.fixture
def measure(benchmark, request):
    yield Measure(benchmark)
    if benchmark.stats is not None:
        request.config.stash[FIGURES][request.node.nodeid] = dict(benchmark.extra_info)


@pytest.fixture
def folders(tmp_path):
    """A new path at each call, for run directories."""
    numbers = iter(range(1_000_000))
    return lambda: tmp_path / f"run-{next(numbers)}"


@dataclass(frozen=True)
class Floats:
    """CSV files of a column `id` and 20 of floats, and what is in them: `ids` [N], `matrix` [N, 20] float32."""

    paths: list
    bytes: int
    ids: np.ndarray
    matrix: np.ndarray


@pytest.fixture(scope="session")
def floats(scale, tmp_path_factory):
    """Half of the benchmark's size in 4 files."""
    folder = tmp_path_factory.mktemp("floats")
    rows = scale.bytes // 2 // 145  # bytes of a row, about
    matrix = np.random.default_rng(7).normal(size=(rows, len(FEATURES))).round(4)
    ids = np.arange(rows)
    paths = []
    for part, chosen in enumerate(np.array_split(ids, 4)):
        columns = {"id": chosen, **{name: matrix[chosen, column] for column, name in enumerate(FEATURES)}}
        paths.append(folder / f"part-{part}.csv")
        pacsv.write_csv(pa.table(columns), paths[-1])
    size = sum(path.stat().st_size for path in paths)
    return Floats([str(path) for path in paths], size, ids, matrix.astype(np.float32))


@pytest.fixture(scope="session")
def mlp(tmp_path_factory):
    return models.mlp(tmp_path_factory.mktemp("model") / "mlp.onnx")


@dataclass(frozen=True)
class Many:
    """A folder of empty files, and their paths in order."""

    folder: str
    paths: list


@pytest.fixture(scope="session")
def many_files(scale, tmp_path_factory):
    """100,000 empty files in 100 folders."""
    folder = tmp_path_factory.mktemp("many")
    count = scale.count(100_000)
    paths = [folder / f"{number % 100:03d}" / f"{number:07d}.bin" for number in range(count)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return Many(str(folder), sorted(str(path) for path in paths))
