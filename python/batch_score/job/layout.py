"""The names of what lies in a run directory, beside `outputs`."""

RUN_RECORD = "run.json"
PIPELINE_RECORD = "pipeline_run.json"  # of a run of a pipeline, whose steps have folders beside it
DRAFT = ".run.json."  # begins the name of a record that is being written
JOURNAL = "journal"
FAILED_ITEMS = "failed_items.jsonl"
SPOOL = "spool.arrow"
# What a run writes beside its output, files and folders; the last three are those of scripts' `Run`.
RESERVED = (
    *(RUN_RECORD, PIPELINE_RECORD, JOURNAL, FAILED_ITEMS, SPOOL, "logs"),
    *("metrics.jsonl", "events.jsonl", "uploads"),
)
