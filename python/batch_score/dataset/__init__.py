"""Datasets: what is to be scored, how it is cut into mini-batches, and how a worker reads one."""
