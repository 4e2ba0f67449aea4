"""`batch-score debug`: one mini-batch or one failed item in this process, under a debugger if wanted."""

import json
import re
import socket
import subprocess
import time

import pytest
from tests.integration.running import COMMAND, numbers, wait_for
from tests.models import weighted_sum

BAD = """
    import os, pathlib, sys

    def init():
        global limit
        limit = int(sys.argv[-1])

    def run(rows, context):
        found = []
        for number in rows["id"]:
            if number % limit == 5:
                here = pathlib.Path.cwd() / os.environ["COLOUR"]
                raise ValueError(f"bad {number} in {here} of {os.environ['AZUREML_RUN_ID']}, {sys.argv[1]}")
            found.append(number)
        return found
"""


@pytest.fixture
def failed(tmp_path, batch_score, script):
    """A run in `r` whose rows 5, 12 and 19 of `t.csv` failed; its script lies in a folder of its own."""
    numbers(tmp_path / "t.csv", 20)
    script(BAD, "code/score.py")
    options = ("--run-dir", "r", "--run-max-try", "1", "--mini-batch-size", "70", "--process-count-per-node", "1")
    variables = ("--environment-variables", "COLOUR=red")
    done = batch_score.run("code/score.py", "t.csv", *options, *variables, "--", "--every", "7")
    assert done.code == 0, done.err
    assert sorted(item["row"] for item in done.failed_items) == [5, 12, 19]
    return done


def debugged(folder, arguments, typed=""):
    """The command with lines typed into it."""
    done = subprocess.run(
        [*COMMAND, "debug", *map(str, arguments)], cwd=folder, input=typed, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("line", [1, 3])
def test_a_failed_item_is_run_alone_as_its_worker_had_it(line, failed, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code, out, err = debugged(elsewhere, [tmp_path / "r", "--failed-item", line])
    item = failed.failed_items[line - 1]
    assert code == 1
    assert re.fullmatch(rf"mini-batch {item['mini_batch']}: 1 of \d items?, from t.csv, row {item['row']}\n", out)
    assert (
        f"ValueError: {item['message']}" in err
    )  # the folder, the variables, the run's id and the arguments are in it
    assert str(tmp_path / "code" / "red") in item["message"]
    assert 'code/score.py", line 13, in run' in err


def test_pdb_begins_where_the_script_raised(failed, tmp_path):
    code, out, _ = debugged(tmp_path, ["r", "--failed-item", 2, "--pdb"], "p number, limit\nup\nq\n")
    assert code == 1
    assert "score.py(13)run()" in out
    assert f"({failed.failed_items[1]['row']}, 7)" in out


def test_pdb_begins_where_init_raised(tmp_path, script):
    numbers(tmp_path / "t.csv", 2)
    script("def init():\n    x = 41\n    return x / 0\n\ndef run(rows):\n    return rows\n")
    code, out, err = debugged(tmp_path, ["score.py", "t.csv", "--pdb"], "p x + 1\nq\n")
    assert code == 1
    assert "score.py(3)init()" in out
    assert "\n(Pdb) 42\n" in out
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize("body", ["    return list(rows['id'])\n", "    for one in rows['id']:\n        yield one\n"])
def test_break_stops_at_the_first_line_of_run(body, tmp_path, script):
    numbers(tmp_path / "t.csv", 3)
    script(f"def run(rows):\n    size = len(rows)\n{body}")
    code, out, err = debugged(tmp_path, ["score.py", "t.csv", "--break"], "n\np size * 100\nc\n")
    assert code == 0, err
    assert "score.py(2)run()" in out
    assert "300" in out
    assert "returned 3 elements" in out


def test_pdb_that_is_left_ends_the_command_in_one_line(tmp_path, script):
    numbers(tmp_path / "t.csv", 3)
    script("def run(rows):\n    return rows\n")
    code, _, err = debugged(tmp_path, ["score.py", "t.csv", "--break"], "q\n")
    assert (code, err) == (1, "pdb was left before the script had ended\n")


@pytest.mark.usefixtures("failed")
def test_a_mini_batch_of_a_run(tmp_path):
    code, out, err = debugged(tmp_path, ["r", "--mini-batch", 1])
    assert code in (0, 1), err
    assert "mini-batch 1: " in out
    assert (tmp_path / "r" / "failed_items.jsonl").read_text(encoding="utf-8").count("\n") == 3  # nothing was written


def test_what_a_script_logs_while_it_is_debugged_is_not_the_runs(tmp_path, batch_score, script):
    numbers(tmp_path / "t.csv", 3)
    text = """
        from azureml.core import Run
        def run(rows):
            Run.get_context().log("rows", len(rows))
            print("run", Run.get_context().id)
            return rows
    """
    done = batch_score.run(script(text), "t.csv", "--run-dir", "r")
    assert done.code == 0, done.err
    before = {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()}
    code, out, err = debugged(tmp_path, ["r"])
    assert code == 0, err
    assert "run r" in out
    assert {path: path.read_bytes() for path in (tmp_path / "r").rglob("*") if path.is_file()} == before


def test_a_script_that_was_mended_is_said_and_run(failed, tmp_path, script):
    script("def run(rows):\n    return [f'mended {one}' for one in rows['id']]\n", "code/score.py")
    code, out, err = debugged(tmp_path, ["r", "--failed-item", 2])
    assert code == 0, err
    assert "note: the entry script code/score.py changed" in err
    assert f"['mended {failed.failed_items[1]['row']}']" in out


def test_a_script_may_write_to_its_output_folder_of_which_nothing_is_kept(tmp_path, script):
    numbers(tmp_path / "t.csv", 3)
    text = """
        import os, pathlib
        def run(rows):
            (pathlib.Path(os.environ["AZUREML_BI_OUTPUT_PATH"]) / "mine.txt").write_text("here")
            return rows
    """
    before = {"t.csv", script(text)}
    code, _, err = debugged(tmp_path, ["score.py", "t.csv", "--output-action", "summary_only"])
    assert code == 0, err
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == before


def test_a_model_has_no_first_line(tmp_path):
    numbers(tmp_path / "t.csv", 3)
    weighted_sum(tmp_path / "m.onnx", 3)
    assert debugged(tmp_path, ["m.onnx", "t.csv"])[0] == 0
    code, _, err = debugged(tmp_path, ["m.onnx", "t.csv", "--break"])
    assert code == 2, err
    assert err.count("\n") == 1
    assert "a model has none" in err


def test_an_item_that_cannot_be_read_or_named_is_shown(tmp_path, batch_score, script):
    (tmp_path / "t.csv").write_text("id,v\n1,2\n2,many,3\n3,4\n", encoding="utf-8")
    done = batch_score.run(script("def run(rows):\n    return list(rows['id'])[:1]\n"), "t.csv", "--run-dir", "r")
    code, out, err = debugged(tmp_path, ["r", "--failed-item", 1])
    assert (code, err) == (1, "run() was not called: no readable item\n")
    assert "failed item: t.csv, row 1: " in out
    assert "returned" not in out
    # Of the whole mini-batch also the item that nobody can name.
    code, out, _ = debugged(tmp_path, ["r"])
    assert code == 0
    assert "failed item: t.csv, row 1: " in out
    [nameless] = [item for item in done.failed_items if item.get("items") == 1]
    assert f"failed items without a name, 1: {nameless['message']}" in out


def test_an_item_of_a_group_comes_with_its_group(tmp_path, batch_score, script):
    for name in ("a", "b"):
        path = numbers(tmp_path / f"{name}.csv", 4, first=0 if name == "a" else 4)
        path.rename(tmp_path / f"x_{name}.csv")
    script("def run(rows, context):\n    raise ValueError(str((len(rows), context.partition_key_value)))\n")
    keys = ("--partition-format", "{k}_{part}.csv", "--partition-keys", "k")
    done = batch_score.run("score.py", "x_a.csv", "x_b.csv", *keys, "--run-dir", "r", "--run-max-try", "1")
    assert (done.failed_items[5]["source"], done.failed_items[5]["row"]) == ("x_b.csv", 1)
    code, out, err = debugged(tmp_path, ["r", "--failed-item", 6])
    assert code == 1
    assert "mini-batch 0, k=x: 8 of 8 items" in out
    assert "ValueError: (8, {'k': 'x'})" in err


def test_a_failed_file_is_found_by_its_path(tmp_path, batch_score, script):
    for k in range(4):
        (tmp_path / f"{k}.bin").write_bytes(b"")
    script("def run(files):\n    assert not any('2.bin' in file for file in files), files\n    return files\n")
    done = batch_score.run("score.py", "*.bin", "--run-dir", "r", "--run-max-try", "1")
    assert len(done.failed_items) == 1
    code, out, err = debugged(tmp_path, ["r", "--failed-item", 1])
    assert code == 1
    assert "1 of 4 items, from 2.bin" in out
    assert f"AssertionError: ['{tmp_path}/2.bin']" in err


CANNOT = [
    (["r", "--failed-item", "4"], "has 3 lines, and no line 4"),
    (["r", "--mini-batch", "99"], "mini-batch 99 is not in the plan"),
    (["r", "--failed-item", "1", "--mini-batch", "0"], "leave out --mini-batch"),
    (["code/score.py", "t.csv", "--failed-item", "1"], "give its folder, and no INPUT"),
    (["code/score.py"], "is not the folder of a run; give INPUT"),
    (["code"], "is no run directory"),
    (["r", "--mini-batch-size", "1MB"], "leave out --mini-batch-size"),
    (["r", "--", "--every", "9"], "keeps the arguments"),
    (["r", "--listen", "many"], "PORT or HOST:PORT"),
    (["r", "--listen", "5678", "--pdb"], "leave out --pdb"),
]


@pytest.mark.usefixtures("failed")
def test_what_cannot_be_debugged_is_said_in_one_line(tmp_path):
    for arguments, message in CANNOT:
        code, _, err = debugged(tmp_path, arguments)
        assert (code, err.count("\n")) == (2, 1), arguments
        assert message in err


def test_an_input_that_is_another_one_now_is_said(failed, tmp_path):
    (tmp_path / "t.csv").write_text("id,a,b\n1,2,3\n", encoding="utf-8")
    line = 1 + [item["row"] for item in failed.failed_items].index(5)  # of the first mini-batch
    code, _, err = debugged(tmp_path, ["r", "--failed-item", line])
    assert code == 2
    assert "note: input t.csv changed" in err.replace(str(tmp_path) + "/", "")
    assert "not what it was in the run" in err


@pytest.mark.usefixtures("failed")
def test_without_debugpy_the_line_that_installs_it_is_shown(tmp_path):
    (tmp_path / "debugpy.py").write_text("raise ImportError('none here')\n", encoding="utf-8")
    done = subprocess.run(
        [COMMAND[0], "-c", f"import sys; sys.path.insert(0, '.'); {COMMAND[2]}", "debug", "r", "--listen", "0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert 'pip install "batch-score[debug]"' in done.stderr


class Client:
    """As much of the Debug Adapter Protocol as it takes to attach, stop and go on."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.sent = 0

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, command, **arguments):
        self.sent += 1
        body = json.dumps({"seq": self.sent, "type": "request", "command": command, "arguments": arguments}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def until(self, kind, name):
        """The next message of that kind, `event` or `command`."""
        while True:
            length = 0
            while line := self.file.readline().strip():
                length = int(line.rpartition(b":")[2])
            message = json.loads(self.file.read(length))
            if message.get(kind) == name:
                return message


def test_a_debugger_attaches_and_stops_in_the_script(tmp_path, script):
    pytest.importorskip("debugpy")
    numbers(tmp_path / "t.csv", 3)
    name = script("def run(rows):\n    size = len(rows)\n    return [size] * size\n")
    stderr = (tmp_path / "err").open("w")
    process = subprocess.Popen(
        [*COMMAND, "debug", name, "t.csv", "--listen", "0", "--run-invocation-timeout", "0.1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=stderr, text=True,
    )  # fmt: skip
    with stderr, process:
        try:
            said = wait_for(
                lambda: re.search(r"waiting for a debugger on 127.0.0.1:(\d+)", (tmp_path / "err").read_text())
            )
            client = Client(int(said[1]))
            client.send("initialize", adapterID="test", pathFormat="path")
            client.send("attach", justMyCode=False)
            client.until("event", "initialized")
            client.send("setBreakpoints", source={"path": str(tmp_path / name)}, breakpoints=[{"line": 3}])
            client.send("configurationDone")
            stopped = client.until("event", "stopped")["body"]
            assert stopped["reason"] == "breakpoint"
            time.sleep(0.3)  # longer than run() may take in a worker
            client.send("continue", threadId=stopped["threadId"])
            client.until("event", "terminated")
            client.close()
            out, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0, (tmp_path / "err").read_text()
    assert "[3, 3, 3]" in out
