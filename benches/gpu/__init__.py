"""Whole jobs on a GPU against the same model fed from memory. Run it with `python -m benches.gpu` from the root."""
