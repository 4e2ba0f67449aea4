"""What is said where OpenTelemetry is asked for and not installed, and that nothing of it is loaded unasked."""

import os
import subprocess
import sys

import pytest
from tests.integration.running import numbers

from batch_score.telemetry.process import notes

ECHO = "def run(rows):\n    return rows\n"


@pytest.fixture
def without(tmp_path):
    """A module path on which `opentelemetry` has nothing in it."""
    (tmp_path / "site" / "opentelemetry").mkdir(parents=True)
    (tmp_path / "site" / "opentelemetry" / "__init__.py").touch()
    return os.pathsep.join([str(tmp_path / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_the_line_that_installs_it_is_told(tmp_path, batch_score, script, without):
    script(ECHO)
    numbers(tmp_path / "t.csv", 3)
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": without}
    done = batch_score("run", "score.py", "t.csv", "--run-dir", "job", **asked)
    assert done.code == 0, done.err
    assert 'run `pip install "batch-score[otel]"`' in done.err
    assert "batch-score[otel]" in (tmp_path / "job" / "logs" / "sys" / "master_role.txt").read_text()


def test_another_protocol_than_ours_is_told():
    pytest.importorskip("opentelemetry.sdk", reason="needs [otel]")
    asked = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    assert notes(asked) == ["OTEL_EXPORTER_OTLP_PROTOCOL is grpc, but http/protobuf is what is sent"]


def test_nothing_of_it_is_loaded_where_nobody_asks(tmp_path, script):
    script(ECHO)
    numbers(tmp_path / "t.csv", 3)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    code = (
        "import sys\n"
        "from batch_score.cli.app import run_as_typed\n"
        "run_as_typed(['score.py', 't.csv', '--engine', 'inline'])\n"
        "print(*[name for name in sys.modules if name.startswith(('opentelemetry', 'requests'))])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
