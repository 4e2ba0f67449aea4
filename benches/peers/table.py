"""Figures from rounds, and the table that is printed."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from benches.peers.peers import ALONE, OURS, SCRIPT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benches.peers.measure import Measured

HEAD = ("", "inside s", "best", "wall s", "rate", "peak MiB", "of ours")


def figures(rounds: Sequence[Measured], watched: Measured, size: int, rows: int) -> dict[str, Any]:
    """What is kept of a peer's rounds.

    Args:
        rounds: The timed ones.
        watched: The one before them, whose memory was watched.
        size: Bytes of the input.
        rows: Records of the input.
    """
    inside, wall = [one.inside for one in rounds], [one.wall for one in rounds]
    return {
        "inside_s": inside,
        "wall_s": wall,
        "median_inside_s": median(inside),
        "median_wall_s": median(wall),
        "gb_per_s": size / 1e9 / median(inside),
        "rows_per_s": rows / median(inside),
        "peak_bytes": watched.peak,
    }


def ratios(peers: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """For each of ours how many times as long every other takes, by the medians inside the job and by wall time."""
    return {
        f"{time} over {ours}": {
            name: found[f"median_{time}_s"] / peers[ours][f"median_{time}_s"]
            for name, found in peers.items()
            if name != ours
        }
        for ours in (OURS, SCRIPT)
        if ours in peers
        for time in ("inside", "wall")
    }


def table(title: str, peers: Mapping[str, Mapping[str, Any]]) -> str:
    """The peers of one work, the fastest first; `of ours` is the time over that of batch-score with the model."""
    ours = peers.get(OURS)
    fastest = sorted(peers, key=lambda name: (name == ALONE, peers[name]["median_inside_s"]))
    lines = [HEAD, *(_row(name, peers[name], ours) for name in fastest)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join([title, *(_aligned(line, widths) for line in lines), ""])


def _row(name: str, found: Mapping[str, Any], ours: Mapping[str, Any] | None) -> tuple[str, ...]:
    inside = found["median_inside_s"]
    return (
        name,
        f"{inside:.3f}",
        f"{min(found['inside_s']):.3f}",
        f"{found['median_wall_s']:.3f}",
        f"{found['gb_per_s'] * 1e3:,.0f} MB/s",
        f"{found['peak_bytes'] / (1 << 20):,.0f}",
        f"{inside / ours['median_inside_s']:.2f} x" if ours else "",
    )


def _aligned(line: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(line, widths, strict=True)
    cells = [f"{first[0]:<{first[1]}}", *(f"{text:>{width}}" for text, width in others)]
    return "  " + "  ".join(cells).rstrip()
