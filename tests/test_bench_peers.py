"""The comparison with other packages measures those that are installed, says who is not, and refuses wrong answers."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benches.peers import answers, count, data, facts, peers, table
from benches.peers.measure import Measured, PeerError

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES = 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="module")
def made(folder):
    return data.prepare(folder / "data", MEGABYTES)


def compare(folder, *arguments):
    """Runs the comparison on data of 1 MB, one timed round."""
    places = [f"--data={folder / 'data'}", f"--results={folder / 'results'}"]
    return subprocess.run(
        [sys.executable, "-m", "benches.peers", f"--megabytes={MEGABYTES}", "--rounds=1", *places, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_peers_and_ours_do_the_same_work_and_are_recorded(folder, made):
    done = compare(folder, "--peers=batch-score,pyarrow,pandas,wc,model-alone", "--works=rows-quoted,mlp")
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "results").glob("*/peers/*.json")
    works = json.loads(path.read_text(encoding="utf-8"))["works"]
    assert set(works["rows-quoted"]["peers"]) == {"batch-score", "pyarrow", "wc"}
    assert set(works["mlp"]["peers"]) == {"batch-score", "pyarrow", "pandas", "model-alone"}
    for work in works.values():
        for found in work["peers"].values():
            assert len(found["inside_s"]) == len(found["wall_s"]) == 1
            assert 0 < found["median_inside_s"] < found["median_wall_s"]
            assert found["peak_bytes"] > 0
    assert works["mlp"]["rows"] == made.rows
    assert "pandas" in done.stdout


def test_the_data_are_the_same_each_time(made, tmp_path):
    again = data.prepare(tmp_path, MEGABYTES)
    assert replace(again, folder=made.folder) == made
    for ours, theirs in zip([*made.plain, *made.quoted], [*again.plain, *again.quoted], strict=True):
        assert Path(ours).read_bytes() == Path(theirs).read_bytes()
    for model in ("mlp", "gbm"):
        assert np.array_equal(made.answers(model), again.answers(model))
        assert made.answers(model).std() > 0.05, "a model that says the same to all shows no wrong answer"


def test_a_peer_that_is_not_installed_is_known_by_its_modules():
    peer = peers.Peer("nobody", ("json", "no_such_package_as_this"), count.with_wc)
    assert peer.absent == ["no_such_package_as_this"]


def test_a_name_that_nobody_has_is_refused(folder):
    done = compare(folder, "--peers=batch-score,nobody")
    assert done.returncode == 1
    assert "no work or peer is called nobody" in done.stderr


@pytest.mark.parametrize("wrong", ["lost", "twice", "score"])
def test_a_wrong_answer_is_refused(made, tmp_path, wrong):
    scores = made.answers("mlp").copy()
    ids = np.arange(made.rows)
    if wrong == "lost":
        ids, scores = ids[1:], scores[1:]
    elif wrong == "twice":
        ids[5] = 6
    else:
        scores[7] += 1e-3
    (tmp_path / "out.csv").write_text(
        "id,p\n" + "".join(f"{one},{score}\n" for one, score in zip(ids, scores, strict=True)), encoding="utf-8"
    )
    work = peers.work_named("mlp")
    job = work.job(work.peers[0], made, 1, str(tmp_path))
    with pytest.raises(PeerError, match="id 7" if wrong == "score" else "exactly once"):
        answers.check(work, job, made, Measured(1.0, 1.0, None))


def test_a_wrong_number_is_refused(made):
    work = peers.work_named("rows-quoted")
    for peer in work.peers:
        job = work.job(peer, made, 1, "")
        right = made.quoted_lines if peer.name == "wc" else made.quoted_rows
        answers.check(work, job, made, Measured(1.0, 1.0, right))
        with pytest.raises(PeerError, match="there are"):
            answers.check(work, job, made, Measured(1.0, 1.0, right + 1))


def test_figures_are_medians_and_ratios_are_times_of_ours():
    def found(*seconds):
        return table.figures([Measured(2 * one, one, 9) for one in seconds], Measured(1, 1, 9, 1 << 20), 10**9, 9)

    works = {"batch-score": found(1.0, 2.0, 9.0), "slow": found(6.0, 8.0, 7.0)}
    assert works["batch-score"]["gb_per_s"] == pytest.approx(0.5)
    assert table.ratios(works) == {
        "inside over batch-score": {"slow": pytest.approx(3.5)},
        "wall over batch-score": {"slow": pytest.approx(3.5)},
    }
    lines = table.table("work", works).splitlines()
    assert lines[2].split() == ["batch-score", "2.000", "1.000", "4.000", "500", "MB/s", "1", "1.00", "x"]
    assert lines[3].split()[-2:] == ["3.50", "x"]


@pytest.mark.parametrize(
    ("model", "cores", "slug"),
    [
        ("Intel(R) Xeon(R) Processor", 2, "intel-xeon-2c"),
        ("Intel(R) Core(TM) i7-9700K CPU @ 3.60GHz", 8, "intel-core-i7-9700k-8c"),
        ("AMD EPYC 7R13 Processor", 4, "amd-epyc-7r13-4c"),
    ],
)
def test_a_machine_has_a_short_name(model, cores, slug):
    assert facts.slug(model, cores) == slug
