"""The log tree of a run: `tree` names every file, `report` is the coordinator's side, `worker` a worker's.

Import from the modules; this package re-exports nothing.
"""
