"""`run.json`: what a run remembers of itself, so that it can be gone on with, or its result be used again.

versions      of what results may depend on
sources       the files beside a scorer that count
fingerprint   all that a run depends on, in named parts
writing       the record while the run goes on
reading       the record of an earlier run
"""
