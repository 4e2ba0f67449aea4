"""The names of the files in a run directory, beside `logs` and `outputs`."""

RUN_RECORD = "run.json"
PIPELINE_RECORD = "pipeline_run.json"  # of a run of a pipeline, whose steps have folders beside it
DRAFT = ".run.json."  # begins the name of a record that is being written
JOURNAL = "journal"
FAILED_ITEMS = "failed_items.jsonl"
SPOOL = "spool.arrow"
