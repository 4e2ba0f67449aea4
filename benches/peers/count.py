"""How many records CSV files have, found with each package as a user would ask for it.

Every function takes a job and returns the number. Packages are imported where they are used.
"""
# ruff: noqa: PLC0415 - only what is measured is imported

import subprocess


def with_batch_score(job):
    """The plan itself: every mini-batch with its exact range and number of records."""
    from batch_score._native import TextPlan

    plan, rows = TextPlan(job.files, max_bytes=1 << 20), 0
    while ranges := plan.next_batch(4096):
        rows += sum(one[-1] for one in ranges)
    return rows


def with_polars(job):
    import polars as pl

    return pl.scan_csv(job.files).select(pl.len()).collect().item()


def with_duckdb(job):
    import duckdb

    return duckdb.execute("select count(*) from read_csv(?)", [job.files]).fetchall()[0][0]


def with_pyarrow(job):
    import pyarrow.csv as pacsv
    import pyarrow.dataset as pads

    parse = pacsv.ParseOptions(newlines_in_values=job.quoted)
    return pads.dataset(job.files, format=pads.CsvFileFormat(parse_options=parse)).count_rows()


def with_wc(job):
    """Lines, not records: headers and line breaks inside quotes count too."""
    said = subprocess.run(["wc", "-l", *job.files], capture_output=True, text=True, check=True).stdout  # noqa: S607
    return int(said.splitlines()[-1].split()[0])
