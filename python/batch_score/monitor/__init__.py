"""Samples of what the machine does while a run goes on: `sample` reads, `perf` writes, `monitor` keeps time."""
