"""What a mini-batch costs beside `run()`, and how soon the first one is scored."""

import importlib.util
import json
import time

import pyarrow.csv as pacsv
import pytest
from benches.jobs import ENTRY_SCRIPTS, check_committed, score, steady_rate

from batch_score import FileDataset, TabularDataset
from batch_score.dataset.frame import frame

pytestmark = pytest.mark.timeout(600)
EMPTY, STAMPED = ENTRY_SCRIPTS / "empty.py", ENTRY_SCRIPTS / "stamped.py"
RUN_S = 0.020


@pytest.mark.parametrize(
    "config",
    [{"output_action": "summary_only"}, {"append_row_file_name": "predictions.csv"}],
    ids=["summary_only", "csv"],
)
def test_empty_run_over_files(measure, many_files, folders, scale, config):
    """Mini-batches of one file each, on 2 workers."""
    paths = many_files.paths[: scale.count(20_000)]
    rates = []

    def job():
        settings = {"mini_batch_size": 1, "process_count_per_node": 2, **config}
        result = score(folders(), EMPTY, FileDataset.from_files(paths), **settings)
        rates.append(steady_rate(result))
        return result

    result = measure.run(job)
    check_committed(result, len(paths))
    if result.output is not None:
        assert sorted(pacsv.read_csv(result.output)["source"].to_pylist()) == paths
    measure.note({"per_s_whole_job": len(paths)}, per_s=max(rates), ms_each=1000 / max(rates), mini_batches=len(paths))


def test_empty_run_over_rows(measure, tmp_path, folders, scale):
    """Mini-batches of one row each, on 2 workers: every one is read, parsed, made a DataFrame and encoded."""
    count, rates = scale.count(5_000), []
    path = tmp_path / "rows.csv"
    path.write_text("id,amount\n" + "".join(f"{row:07d},{row % 97:05.2f}\n" for row in range(count)), encoding="ascii")

    def job():
        settings = {"mini_batch_size": 14, "append_row_file_name": "predictions.csv", "process_count_per_node": 2}
        result = score(folders(), EMPTY, TabularDataset.from_delimited_files(path), **settings)
        rates.append(steady_rate(result))
        return result

    result = measure.run(job)
    check_committed(result, count)
    scored = pacsv.read_csv(result.output).sort_by("row")
    assert scored["row"].to_pylist() == scored["id"].to_pylist() == list(range(count))
    measure.note({"per_s_whole_job": count}, per_s=max(rates), ms_each=1000 / max(rates), mini_batches=count)


@pytest.mark.parametrize("engine", ["local", "inline"])
@pytest.mark.parametrize("kind", ["waiting", "counting"])
def test_against_a_bare_loop(measure, floats, folders, scale, engine, kind):
    """One worker and a `run()` of 20 ms, against a loop that calls the same function on frames in memory.

    `waiting` leaves the interpreter to the other stages, as a GPU's kernels do; `counting` never lets it go.
    The bare loop is run before each job, so that both see the same machine.
    """
    size = max(1, floats.bytes // max(20, scale.megabytes))
    dataset = TabularDataset.from_delimited_files(floats.paths)
    work = {"BENCH_WAIT_S": str(RUN_S)} if kind == "waiting" else {"BENCH_STEPS": str(steps_of(RUN_S))}
    frames = read_frames(dataset, size)
    ratios, bare = [], []

    def loop():
        bare.append(bare_loop(frames, work))

    def job():
        run_dir = folders()
        environment = {"environment_variables": {**work, "BENCH_STAMPS": str(run_dir)}, "engine": engine}
        result = score(run_dir, STAMPED, dataset, mini_batch_size=size, process_count_per_node=1, **environment)
        (stamps,) = read_stamps(run_dir)
        ratios.append(bare[-1] / (stamps["ends"][-1] - stamps["begins"][0]))
        return result

    result = measure.run(job, setup=loop)
    check_committed(result, len(frames))
    assert result.totals.returned == len(floats.ids)
    measure.note(of_bare_loop=max(ratios), of_bare_loop_worst=min(ratios), mini_batches=len(frames))


def steps_of(seconds):
    """How far the entry script counts in that time, here and now."""
    module = load_stamped({})
    steps = 100_000
    durations = []
    for _ in range(5):
        begin = time.perf_counter()
        module.count(steps)
        durations.append(time.perf_counter() - begin)
    return int(steps * seconds / min(durations))


def load_stamped(work):
    """The entry script as a fresh module of this process, set to `work`."""
    spec = importlib.util.spec_from_file_location("stamped", STAMPED)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.WAIT_S = float(work.get("BENCH_WAIT_S", "0"))
    module.STEPS = int(work.get("BENCH_STEPS", "0"))
    return module


def read_frames(dataset, size):
    """The DataFrames of all mini-batches, in memory."""
    reader = dataset.reader("/")
    batches = [reader.read(one) for chunk in dataset.plan(size, dataset=0, first_index=0) for one in chunk]
    return [frame(batch.table) for batch in batches]


def bare_loop(frames, work):
    """Seconds of a plain loop over the frames."""
    run = load_stamped(work).run
    begin = time.monotonic()
    for one in frames:
        run(one)
    return time.monotonic() - begin


def read_stamps(run_dir):
    """What each worker of a run has written down."""
    found = run_dir.parent.glob(f"{run_dir.name}-*.json")
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def test_time_to_the_first_run(measure, many_files, folders):
    """From naming a folder of 100,000 files to the first `run()`; the start of the interpreter is in it."""
    first, loaded = [], []

    def job():
        run_dir, begin = folders(), time.monotonic()
        settings = {"mini_batch_size": 100, "process_count_per_node": 2, "output_action": "summary_only"}
        environment = {"BENCH_STAMPS": str(run_dir)}
        dataset = FileDataset.from_files(many_files.folder)
        result = score(run_dir, STAMPED, dataset, environment_variables=environment, **settings)
        stamps = read_stamps(run_dir)
        first.append(min(min(one["begins"], default=float("inf")) for one in stamps) - begin)
        loaded.append(min(one["loaded"] for one in stamps) - begin)
        return result

    result = measure.run(job)
    check_committed(result, -(-len(many_files.paths) // 100))
    assert result.totals.items_succeeded == len(many_files.paths)
    measure.note(first_run_s=min(first), script_loaded_s=min(loaded), files=len(many_files.paths))
