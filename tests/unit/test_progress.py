import io
import os
import pty
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_score.progress import Progress, Snapshot, eta, expected_items, fraction, line, overview, rates
from batch_score.summary import RunSummary, script_line, summary
from batch_score.wording import counted, duration, quantity, size

HALF = Snapshot(
    mini_batches_planned=20,
    mini_batches_succeeded=9,
    mini_batches_failed=1,
    items_succeeded=12_000_000,
    items_failed=0,
    bytes_done=1_880_000_000,
    bytes_total=3_760_000_000,
    elapsed_s=10.0,
    workers=2,
)

COUNTS = st.integers(0, 10**12)
SNAPSHOTS = st.builds(
    Snapshot,
    plan_complete=st.booleans(),
    items_succeeded=COUNTS,
    items_failed=COUNTS,
    items_total=st.none() | COUNTS,
    bytes_done=COUNTS,
    bytes_total=st.none() | COUNTS,
    elapsed_s=st.floats(0, 1e7),
    gpu_percent=st.lists(st.floats(0, 100), max_size=8).map(tuple),
)


def test_rates_are_averages_since_the_start():
    assert rates(HALF) == (1_200_000, 188_000_000)
    assert rates(Snapshot(items_succeeded=5)) == (0, 0)


def test_rates_leave_out_what_an_earlier_start_did():
    resumed = Snapshot(items_succeeded=1000, items_before=900, bytes_done=50, bytes_before=30, elapsed_s=10)
    assert rates(resumed) == (10, 2)


def test_the_eta_comes_from_bytes_when_their_total_is_known():
    both = Snapshot(items_succeeded=1, items_total=1000, bytes_done=50, bytes_total=100, elapsed_s=7)
    assert eta(both) == pytest.approx(7)


def test_the_eta_comes_from_items_otherwise():
    assert eta(Snapshot(items_succeeded=25, items_total=100, elapsed_s=5)) == pytest.approx(15)


def test_there_is_no_eta_without_a_total_or_without_a_rate():
    assert eta(Snapshot(items_succeeded=5, elapsed_s=1)) is None
    assert eta(Snapshot(items_total=5, elapsed_s=1)) is None
    assert eta(Snapshot(items_succeeded=5, items_total=5)) == 0


@given(done=st.integers(1, 10**9), left=st.integers(1, 10**9), elapsed=st.floats(0.1, 1e6))
def test_at_the_average_speed_the_eta_is_when_it_ends(done, left, elapsed):
    snapshot = Snapshot(items_succeeded=done, items_total=done + left, elapsed_s=elapsed)
    assert eta(snapshot) * done == pytest.approx(elapsed * left)


@given(snapshot=SNAPSHOTS)
def test_any_state_can_be_shown(snapshot):
    part, left, text = fraction(snapshot), eta(snapshot), line(snapshot)
    assert part is None or 0 <= part <= 1
    assert left is None or left >= 0
    assert "\n" not in text
    assert text.isascii()
    assert "None" not in text + overview(snapshot)


def test_a_line_while_the_plan_is_not_complete_estimates_the_total():
    assert expected_items(HALF) == 24_000_000
    assert line(HALF) == "12,000,000 of ~24,000,000 rows  1.20 M rows/s  188 MB/s  0 failed  ETA 0:10"


def test_a_line_with_an_exact_total_of_files_and_gpus():
    snapshot = Snapshot(
        items_succeeded=1_000,
        items_failed=200,
        items_total=1_234,
        plan_complete=True,
        elapsed_s=600,
        unit="files",
        gpu_percent=(93.4, 88.0),
    )
    assert line(snapshot) == "1,200 of 1,234 files  2 files/s  200 failed  ETA 0:17  GPU 93 88 %"


def test_a_line_before_anything_is_known():
    assert line(Snapshot()) == "0 rows  0 rows/s  0 failed"


def test_one_is_not_many():
    assert line(Snapshot(items_succeeded=1, items_total=1, plan_complete=True)).startswith("1 of 1 row  ")
    assert line(Snapshot(items_succeeded=1, unit="files")).startswith("1 file  ")
    assert [counted(number, "mini-batch") for number in (0, 1, 2000)] == [
        "0 mini-batches",
        "1 mini-batch",
        "2,000 mini-batches",
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.5, "0.50"), (9.996, "10.0"), (99.96, "100"), (999.4, "999"), (999.6, "1 k"), (1_234, "1.23 k"),
     (12_345, "12.3 k"), (999_600, "1 M"), (1.2e6, "1.20 M"), (3.5e9, "3.50 G"), (1e12, "1000 G")],
)  # fmt: skip
def test_quantities_have_three_digits(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 MB"), (530_000, "0.53 MB"), (188e6, "188 MB"), (999.6e6, "1 GB"), (1.25e9, "1.25 GB"), (2e12, "2 TB")],
)
def test_sizes_are_decimal(value, text):
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (12.4, "0:12"), (59.6, "1:00"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_durations_read_like_a_clock(seconds, text):
    assert duration(seconds) == text


TRACEBACK = """Traceback (most recent call last):
  File "/opt/batch_score/entry_script.py", line 9, in call
    return run(batch)
  File "/home/me/score.py", line 12, in run
    return helper(batch)
  File "/home/me/score.py", line 4, in helper
    frame.wrong()
  File "/opt/pandas/frame.py", line 99, in __getattr__
    raise AttributeError
AttributeError: wrong
"""


def test_the_script_line_is_the_deepest_one_in_the_script():
    assert script_line(TRACEBACK, "/home/me/score.py") == "score.py:4 in helper"
    assert script_line(TRACEBACK, "me/score.py") == "score.py:4 in helper"
    assert script_line(TRACEBACK, "core.py") == ""
    assert script_line("", "score.py") == ""


def ending(**changes):
    base = {"status": "completed", "output": Path("out/predictions.csv"), "run_dir": Path("runs/a"), "snapshot": HALF}
    return RunSummary(**base | changes)


def test_the_summary_of_a_completed_run():
    text = summary(ending(output_form="csv, separator ',', header"))
    assert text == (
        "status         completed after 0:10\n"
        f"output         {Path.cwd()}/out/predictions.csv\n"
        "               csv, separator ',', header\n"
        f"run directory  {Path.cwd()}/runs/a\n"
        "rows           12,000,000 succeeded, 0 failed\n"
        "mini-batches   9 succeeded, 1 failed\n"
        "rate           1.20 M rows/s, 188 MB/s\n"
    )


def test_the_last_lines_of_a_failed_run_are_cause_script_line_and_log():
    text = summary(
        ending(
            status="failed",
            cause="AttributeError: wrong",
            script_line="score.py:4 in helper",
            log=Path("runs/a/logs/user/error/node-0/process000.txt"),
            errors=(("AttributeError: wrong", 1_234),),
            advice="batch-score resume runs/a",
        )
    )
    assert text.splitlines()[-5:] == [
        "errors         1,234 x AttributeError: wrong",
        "next           batch-score resume runs/a",
        "cause          AttributeError: wrong",
        "script         score.py:4 in helper",
        f"log            {Path.cwd()}/runs/a/logs/user/error/node-0/process000.txt",
    ]


def test_the_summary_leads_to_the_failed_items_with_the_first_reason():
    failed = {"failed_items": Path("runs/a/failed_items.jsonl"), "first_failed": "t.csv, row 1: RecordError: no number"}
    assert summary(ending(**failed)).splitlines()[-2:] == [
        f"failed items   {Path.cwd()}/runs/a/failed_items.jsonl",
        "               the first: t.csv, row 1: RecordError: no number",
    ]
    told = summary(ending(**failed, errors=(("RecordError: no number", 3),)))
    assert "the first" not in told
    assert "errors         3 x RecordError: no number" in told


def test_of_mini_batches_that_were_split_the_summary_says_so():
    split = replace(HALF, mini_batches_succeeded=0, mini_batches_partly=1)
    assert "mini-batches   0 succeeded, 1 failed, 1 of them in part\n" in summary(ending(snapshot=split))


def test_a_long_error_that_is_the_cause_is_there_once_in_full():
    long = f"ValueError: {'x' * 100}"
    text = summary(
        ending(status="failed", errors=((long, 3), (f"{long}!", 1)), cause=f"failed items: 3; first error: {long}")
    )
    assert text.count(long) == 2  # in the cause, and in the other error
    assert "3 x ValueError: xxx" in text


def test_the_summary_fits_one_screen_whatever_went_wrong():
    errors = tuple((f"ValueError: {'x' * 1000}\n{i}", 1) for i in range(500))
    text = summary(ending(status="failed", errors=errors, cause="\n".join("y" * 3000), script_line="s", log=Path("l")))
    assert "and 495 other kinds" in text
    assert len(text.splitlines()) <= 24
    assert max(map(len, text.splitlines())) <= 1_100


def test_a_run_without_an_output_file_names_none():
    assert "output" not in summary(ending(output=None))


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_elsewhere_than_on_a_terminal_a_line_is_shown_at_most_every_interval():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, interval_s=5, clock=clock)
    for step in range(12):
        clock.now = 100.0 + step
        progress.update(Snapshot(items_succeeded=step))
    assert [text.split()[0] for text in stream.getvalue().splitlines()] == ["0", "5", "10"]
    progress.close()
    progress.close()
    assert [text.split()[0] for text in stream.getvalue().splitlines()] == ["0", "5", "10", "11"]


def test_a_note_is_a_line_of_its_own():
    stream = io.StringIO()
    Progress(stream).note("output /a/b.csv")
    assert stream.getvalue() == "output /a/b.csv\n"


def test_without_figures_there_are_notes_alone():
    stream = io.StringIO()
    progress = Progress(stream, interval_s=0, figures=False)
    progress.update(HALF)
    progress.detail("run directory /a")
    progress.note("warning: it changed")
    progress.close()
    assert stream.getvalue() == "warning: it changed\n"


def test_a_reader_that_goes_away_ends_the_display_and_not_the_run(caplog):
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w", buffering=1)
    progress = Progress(stream, interval_s=0)
    progress.update(HALF)
    progress.update(HALF)
    progress.close()
    assert caplog.text.count("progress display ended") == 1
    with pytest.raises(BrokenPipeError):
        stream.close()


def show_on_terminal(monkeypatch, kind, action, columns=160):
    """What `action` makes appear on a terminal of this kind."""
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", str(columns))
    keyboard, screen = pty.openpty()
    seen = bytearray()

    def read():
        try:
            while chunk := os.read(keyboard, 65536):
                seen.extend(chunk)
        except OSError:  # Linux tells the end of a terminal so
            pass

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(screen, "w") as stream:
        action(stream)
    reader.join()
    os.close(keyboard)
    return seen.decode()


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    clock = Clock()

    def action(stream):
        streams = sys.stdout, sys.stderr
        progress = Progress(stream, clock=clock)
        progress.update(Snapshot(items_succeeded=1))
        clock.now += 0.05
        progress.update(Snapshot(items_succeeded=2))
        clock.now += 0.06
        progress.update(HALF)
        progress.note("a [note]")
        progress.close()
        assert (sys.stdout, sys.stderr) == streams

    text = show_on_terminal(monkeypatch, "xterm", action)
    assert "━" in text
    assert "2 rows  0" not in text  # too soon after the first
    assert "12,000,000 of ~24,000,000 rows" in text
    assert "ETA 0:10" in text
    assert "a [note]" in text
    assert text.endswith("\x1b[?25h")  # the cursor is back


DONE = replace(
    HALF, mini_batches_succeeded=19, plan_complete=True, items_succeeded=24_000_000, items_total=24_000_000,
    bytes_done=3_759_999_900,
)  # fmt: skip


def test_the_bar_is_full_when_all_is_done_also_without_the_header():
    assert fraction(DONE) == 1.0
    assert fraction(replace(DONE, plan_complete=False)) < 1.0


@pytest.mark.parametrize("columns", [80, 160])
def test_the_bar_keeps_its_width_while_the_text_grows(columns, monkeypatch):
    def action(stream):
        clock = Clock()
        progress = Progress(stream, clock=clock)
        for snapshot in (Snapshot(bytes_total=3_760_000_000), HALF, replace(HALF, gpu_percent=(99.0,) * 8), DONE):
            progress.update(snapshot)
            clock.now += 1
        progress.close()

    text = show_on_terminal(monkeypatch, "xterm", action, columns)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", one) for one in re.split(r"[\r\n]+", text)]
    widths = {len(re.match("[━╸╺]*", one)[0]) for one in lines if "rows" in one}
    assert widths == {10 if columns == 80 else 30}
    assert max(map(len, lines)) <= columns
    assert f"\x1b[32m{'━' * max(widths)}\x1b[0m 24,000,000 of 24,000,000 rows" in text  # full and green at the end


def test_on_a_terminal_without_cursor_movement_there_are_lines(monkeypatch):
    def action(stream):
        progress = Progress(stream)
        progress.update(HALF)
        progress.close()

    assert show_on_terminal(monkeypatch, "dumb", action) == line(HALF) + "\r\n"


def test_rich_is_not_imported_without_a_terminal():
    code = (
        "import io, sys; from batch_score.progress import Progress, Snapshot\n"
        "p = Progress(io.StringIO()); p.update(Snapshot()); p.close(); sys.exit('rich' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
