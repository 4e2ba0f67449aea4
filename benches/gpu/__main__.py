"""`python -m benches.gpu`: jobs on one GPU against the model fed from memory, and a sweep over reading threads.

Where there is no usable GPU it says why and ends well. With `--device cpu` everything runs on the CPU instead, which
shows that the bench works and nothing about GPUs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benches.gpu.data import SMALL, Size
from benches.gpu.works import Bench, WrongAnswerError, devices_agree, score_images, score_table
from benches.peers import facts

from batch_score import _native
from batch_score.gpu.nvml import read_devices
from batch_score.gpu.placement import usable

SWEEP = (1, 2, 4, 8, 16)


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benches.gpu", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir(), "batch-score-gpu"))
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="a few rows and images, to see that it works")
    parser.add_argument("--megabytes", type=int, default=Size.megabytes, help="size of the tables; scored four times")
    parser.add_argument("--images", type=int, default=Size.images, help="how many images")
    parser.add_argument("--sweep", type=_numbers, default=SWEEP, help="numbers of reading threads, e.g. 1,2,4")
    parser.add_argument("--results", type=Path, default=facts.RESULTS, help="where records are kept")
    return parser.parse_args(arguments)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def main(arguments: list[str] | None = None) -> int:
    """Runs what the command line asks for; the exit code."""
    options = parsed(arguments)
    if _native.debug_build:
        return _ended("the native module is a debug build, whose figures say nothing; build with --release", 1)
    inventory = read_devices()
    units = usable(inventory.devices, os.environ.get("CUDA_VISIBLE_DEVICES"))
    if options.device == "cuda" and not units:
        return _ended(f"skipped, because no GPU is usable: {inventory.lacking or 'CUDA_VISIBLE_DEVICES hides all'}", 0)
    uuid = units[0].uuid if options.device == "cuda" else ""
    options.data.mkdir(parents=True, exist_ok=True)
    size = SMALL if options.small else Size(megabytes=options.megabytes, images=options.images)
    bench = Bench(options.data, size, options.device, uuid, facts.usable_cores())
    try:
        works = _measured(bench, options.sweep)
    except WrongAnswerError as error:
        return _ended(str(error), 1)
    now = datetime.now(UTC)
    machine = facts.machine_facts()
    record = {
        "datetime": now.isoformat(timespec="seconds"),
        "machine": {**machine, "gpu": units[0].product if uuid else None, "driver": inventory.driver},
        "commit": facts.commit(),
        "packages": facts.packages(),
        "options": {"device": options.device, **asdict(size)},
        "works": works,
    }
    name = facts.slug(machine["cpu"], machine["usable_cores"])
    path = options.results / name / "gpu" / f"{now.date().isoformat()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"{path}\n")
    return 0


def _measured(bench: Bench, sweep: tuple[int, ...]) -> dict[str, Any]:
    apart = devices_agree(bench)
    _say(f"scores on {bench.device} and on the CPU differ by at most {apart:.2g}")
    found = {"images": score_images(bench), "table": score_table(bench, (None, *sweep))}
    _say(f"{'work':8} {'readers':>8} {'alone /s':>12} {'steady /s':>12} {'of alone':>9} {'whole job':>10}   waited for")
    for work, cases in found.items():
        for readers, one in cases.items():
            times = one["times"]
            waited = f"read {times['waited_for_read']:.1f} s, encode {times['waited_for_encode']:.1f} s"
            _say(
                f"{work:8} {readers:>8} {one['alone_per_s']:12,.0f} {one['steady_per_s']:12,.0f} "
                f"{one['steady_of_alone']:9.2f} {one['job_of_alone']:10.2f}   {waited}"
            )
    return {"largest_difference_to_cpu": apart, **found}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _ended(text: str, code: int) -> int:
    sys.stderr.write(f"bench-gpu: {text}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
