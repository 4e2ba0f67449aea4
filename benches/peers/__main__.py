"""`python -m benches.peers`: measures, compares the answers, prints a table, writes a record."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benches.peers import facts
from benches.peers.answers import check
from benches.peers.data import prepare
from benches.peers.measure import Measured, PeerError, measure
from benches.peers.peers import QUOTED, WORKS, Peer, Work
from benches.peers.table import figures, ratios, table

from batch_score import _native

if TYPE_CHECKING:
    from benches.peers.data import Data

BUSY = 0.5  # runnable processes per core
NAMES = sorted({peer.name for work in WORKS for peer in work.peers})


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benches.peers", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir(), "batch-score-peers"))
    parser.add_argument("--megabytes", type=int, default=1250, help="size of the CSV files with floats")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; one more comes before them")
    parser.add_argument("--processes", type=int, default=facts.usable_cores(), help="of each peer")
    parser.add_argument("--works", type=_listed, default=None, help=", ".join(work.name for work in WORKS))
    parser.add_argument("--peers", type=_listed, default=None, help=", ".join(NAMES))
    parser.add_argument("--results", type=Path, default=facts.RESULTS, help="where records are kept")
    return parser.parse_args(arguments)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; the exit code."""
    options = parsed(arguments)
    if _native.debug_build:
        return _refused("the native module is a debug build, whose figures say nothing; build with --release")
    unknown = {*(options.works or ())} - {work.name for work in WORKS} | {*(options.peers or ())} - set(NAMES)
    if unknown:
        return _refused(f"no work or peer is called {', '.join(sorted(unknown))}; --help lists them")
    machine = facts.machine_facts()  # now: later the peers themselves are the load
    if machine["load_average"][0] > BUSY * machine["usable_cores"]:
        _say("the machine is busy, so the figures say little; the record has the load average")
    data = prepare(options.data, options.megabytes)
    try:
        works = {work.name: found for work in WORKS if (found := _work(work, data, options))}
    except PeerError as error:
        return _refused(str(error))
    now = datetime.now(UTC)
    record = {
        "datetime": now.isoformat(timespec="seconds"),
        "machine": machine,
        "commit": facts.commit(),
        "packages": facts.packages(),
        "options": {"megabytes": options.megabytes, "rounds": options.rounds, "processes": options.processes},
        "works": works,
    }
    name = facts.slug(machine["cpu"], machine["usable_cores"])
    path = facts.place(name, now.date().isoformat(), options.results)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def _work(work: Work, data: Data, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one work, which are printed too; empty if nobody is to do it."""
    peers = _chosen(work, options)
    if not peers:
        return {}
    rounds: dict[str, list[Measured]] = defaultdict(list)
    for number in range(options.rounds + 1):
        shift = number % len(peers)  # everybody comes after everybody else once
        for peer in peers[shift:] + peers[:shift]:
            measured = _once(work, peer, data, options, watched=number == 0)
            rounds[peer.name].append(measured)
            _say(f"{work.name}  round {number}  {peer.name}  {measured.inside:.3f} s inside, {measured.wall:.3f} s")
    quoted = work.name == QUOTED
    size, rows = (data.quoted_bytes, data.quoted_rows) if quoted else (data.bytes, data.rows)
    found = {peer.name: figures(rounds[peer.name][1:], rounds[peer.name][0], size, rows) for peer in peers}
    sys.stdout.write(table(f"{work.title}, {rows:,} rows, {size / 1e6:,.0f} MB", found) + "\n")
    return {"bytes": size, "rows": rows, "peers": found, "times_of_ours": ratios(found)}


def _chosen(work: Work, options: argparse.Namespace) -> list[Peer]:
    """The peers of a work that are asked for and installed; says who is not."""
    if options.works and work.name not in options.works:
        return []
    wanted = [peer for peer in work.peers if options.peers is None or peer.name in options.peers]
    for peer in wanted:
        if peer.absent:
            _say(f"{work.name}  {peer.name} is skipped: {', '.join(peer.absent)} is not installed")
    return [peer for peer in wanted if not peer.absent]


def _once(work: Work, peer: Peer, data: Data, options: argparse.Namespace, *, watched: bool) -> Measured:
    """One peer, once, with its answer checked."""
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        out = Path(folder, "out")
        out.mkdir()
        job = work.job(peer, data, options.processes, str(out))
        measured = measure(job, Path(folder), watched=watched)
        check(work, job, data, measured)
    return measured


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _refused(text: str) -> int:
    _say(text)
    return 1


if __name__ == "__main__":
    sys.exit(main())
