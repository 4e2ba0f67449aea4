"""What runs in a fresh interpreter: `python -m benches.peers.work JOB RESULT`, two files of JSON."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

from benches.peers.peers import Job, work_named


def main() -> None:
    """Lets one peer do its job; the result has `seconds` inside the job, and `rows` where they were counted."""
    job_file, result_file = (Path(argument) for argument in sys.argv[1:])
    job = Job(**json.loads(job_file.read_text(encoding="utf-8")))
    work = work_named(job.work)
    peer = next(peer for peer in work.peers if peer.name == job.peer)
    for module in peer.imports:
        importlib.import_module(module)
    times = []
    for _ in range(work.repeats):
        begin = time.perf_counter()
        answer = peer.function(job)
        times.append(answer if isinstance(answer, float) else time.perf_counter() - begin)
    rows = answer if isinstance(answer, int) else None
    result_file.write_text(json.dumps({"seconds": min(times), "rows": rows}), encoding="utf-8")


if __name__ == "__main__":  # the processes of a pool import this module too
    main()
