"""Pipelines on this machine: steps in the order of what they need, results of unchanged steps used again.

`core` and `steps` have the names of SDK v1; `task`, `key`, `record`, `place`, `work` and `execution` run what those,
and the YAML files of v2, describe.
"""
