"""What a job sends by OpenTelemetry, to a receiver that is really there, is not there, or does not answer."""

import http.server
import re
import socket
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from tests.integration.running import numbers

logs_service = pytest.importorskip("opentelemetry.proto.collector.logs.v1.logs_service_pb2", reason="needs [otel]")
metrics_service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
trace_service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs [otel]")

MESSAGES = {
    "/v1/logs": logs_service.ExportLogsServiceRequest,
    "/v1/metrics": metrics_service.ExportMetricsServiceRequest,
    "/v1/traces": trace_service.ExportTraceServiceRequest,
}


def plain(attributes):
    """The attributes of a message as a dict."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@dataclass
class Collector:
    """What has arrived."""

    endpoint: str
    requests: dict = field(default_factory=lambda: defaultdict(list))

    def resources(self):
        """(resource attributes, scope's content) of all requests of a kind, with the kind."""
        for path, messages in self.requests.items():
            kind = path.rpartition("/")[2]
            for message in messages:
                for resource in getattr(message, {"traces": "resource_spans"}.get(kind, f"resource_{kind}")):
                    yield kind, plain(resource.resource.attributes), resource

    @property
    def spans(self):
        return [
            span
            for kind, _, resource in self.resources()
            if kind == "traces"
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def logs(self):
        """(process, record) of every log record."""
        return [
            (who["service.instance.id"], record)
            for kind, who, resource in self.resources()
            if kind == "logs"
            for scope in resource.scope_logs
            for record in scope.log_records
        ]

    @property
    def metrics(self):
        """By name the points that came last from each process."""
        found = defaultdict(dict)
        for kind, who, resource in self.resources():
            if kind == "metrics":
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        found[metric.name][who["service.instance.id"]] = data.data_points
        return {name: [point for points in by.values() for point in points] for name, by in found.items()}


@contextmanager
def served(handle):
    """A receiver on a free port of this machine; `handle(request handler)` does its work."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            handle(self)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def collector():
    found = Collector("")

    def handle(request):
        message = MESSAGES[request.path]()
        message.ParseFromString(request.rfile.read(int(request.headers["Content-Length"])))
        found.requests[request.path].append(message)
        request.send_response(200)
        request.send_header("Content-Length", "0")
        request.end_headers()

    with served(handle) as found.endpoint:
        yield found


SCORE = """
    import logging

    from azureml.core import Run
    from azureml_user.parallel_run import EntryScript

    def init():
        EntryScript().logger.info("written by the script")
        logging.getLogger("my.module").warning("logged %s", "by a module")
        logging.debug("too low")

    def run(rows):
        run = Run.get_context()
        run.log("mean of a", float(rows["a"].mean()))
        run.log_row("seen", first=rows["id"].iloc[0])
        if rows["id"].iloc[0] == 0 and len(rows) == 1:
            raise ValueError("zero")
        return rows
"""


PIPELINE = """
    type: pipeline
    jobs:
      first:
        type: command
        code: code
        command: python first.py ${{outputs.made}}
        outputs: {made: {type: uri_folder}}
      second:
        type: parallel
        inputs: {rows: "${{parent.jobs.first.outputs.made}}"}
        input_data: ${{inputs.rows}}
        task: {type: run_function, code: code, entry_script: second.py}
"""


def test_the_steps_of_a_pipeline_are_parts_of_its_trace(batch_score, script, collector):
    script(PIPELINE, "pipe.yml")
    script("import pathlib, sys\npathlib.Path(sys.argv[1], 'a.txt').write_text('x')\n", "code/first.py")
    script("def run(files):\n    return files\n", "code/second.py")
    done = batch_score("pipeline", "pipe.yml", "--quiet", **telling(collector.endpoint))
    assert done.code == 0, done.err
    [whole] = [span for span in collector.spans if span.name == "pipeline pipe"]
    steps = [span for span in collector.spans if span.name.startswith("step ")]
    assert len(steps) == 2
    assert {span.parent_span_id for span in steps} == {whole.span_id}
    assert {span.trace_id for span in collector.spans} == {whole.trace_id}
    assert plain(whole.attributes)["batch_score.status"] == "completed"


def telling(endpoint, **others):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **others}


@pytest.mark.parametrize("engine", ["local", "inline"])
def test_a_job_sends_traces_metrics_and_logs(engine, tmp_path, batch_score, script, collector):
    script(SCORE)
    numbers(tmp_path / "t.csv", 100)
    ask = ("score.py", "t.csv", "--mini-batch-size", 100, "--run-dir", "job", "--run-max-try", 1, "--engine", engine)
    done = batch_score.run(*ask, **telling(collector.endpoint))
    assert done.code == 0, done.err
    tries = done.json["mini_batches"]["total"]
    _check_spans(collector.spans, tries)
    values = {
        name: {plain(point.attributes).get("state", ""): point.as_int for point in points if not hasattr(point, "sum")}
        for name, points in collector.metrics.items()
        if name.startswith("batch_score.") and "script" not in name
    }
    assert values["batch_score.items"] == {"succeeded": done.json["items"]["succeeded"], "failed": 0}
    assert values["batch_score.mini_batches"] == {"succeeded": tries, "failed": 0}
    assert values["batch_score.bytes_read"] == {"": done.json["bytes_read"]}
    assert values["batch_score.bytes_written"] == {"": done.json["bytes_written"]}
    assert sum(point.count for point in collector.metrics["batch_score.run.duration"]) == tries
    gauge = collector.metrics["batch_score.script.mean_of_a"]
    assert {plain(point.attributes)["batch_score.name"] for point in gauge} == {"mean of a"}
    _check_logs(collector.logs, tries)


def _check_spans(spans, tries):
    by_name = defaultdict(list)
    for span in spans:
        by_name[span.name].append(span)
    assert set(by_name) == {"step job", "mini-batch", "run()"}
    (step,) = by_name["step job"]
    assert plain(step.attributes)["batch_score.status"] == "completed"
    assert len(by_name["mini-batch"]) == len(by_name["run()"]) == tries
    assert {span.trace_id for span in spans} == {step.trace_id}
    assert {span.parent_span_id for span in by_name["mini-batch"]} == {step.span_id}
    outer = {span.span_id: span for span in by_name["mini-batch"]}
    for span in by_name["run()"]:
        around = outer.pop(span.parent_span_id)
        assert around.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= around.end_time_unix_nano
    assert {plain(span.attributes)["batch_score.index"] for span in by_name["mini-batch"]} == set(range(tries))
    assert step.start_time_unix_nano < min(span.start_time_unix_nano for span in by_name["run()"])


def _check_logs(logs, tries):
    told = [(process, record.body.string_value, record.severity_text) for process, record in logs]
    assert sum(text == "written by the script" for process, text, _ in told if process != "manager") >= 1
    assert ("WARNING", "my.module") in {
        (record.severity_text, plain(record.attributes)["batch_score.logger"])
        for _, record in logs
        if record.body.string_value == "logged by a module"
    }
    assert not [text for _, text, _ in told if text == "too low"]
    assert any(process == "manager" and text.startswith("started: run directory") for process, text, _ in told)
    events = [plain(record.attributes) for _, record in logs if record.event_name == "batch_score.metric"]
    assert sum(one["batch_score.name"] == "mean of a" for one in events) == tries
    assert sum(one["batch_score.kind"] == "row" for one in events) == tries
    # All of it belongs to the trace of the job, what workers said too.
    assert len({record.trace_id for _, record in logs}) == 1


def test_what_failed_is_an_error_with_its_traceback(tmp_path, batch_score, script, collector):
    script(SCORE)
    (tmp_path / "t.csv").write_text("id,a\n0,1\n")
    done = batch_score.run("score.py", "t.csv", "--run-dir", "job", "--run-max-try", 2, **telling(collector.endpoint))
    assert done.code == 1
    step, *others = sorted(collector.spans, key=lambda span: span.name != "step job")
    assert plain(step.attributes)["batch_score.status"] == "failed"
    assert step.status.code == 2
    assert "ValueError: zero" in step.status.message
    assert len(others) == 4
    for span in others:
        assert (span.status.code, span.status.message) == (2, "ValueError: zero")
        known = plain(span.events[0].attributes)
        assert (known["exception.type"], known["exception.message"]) == ("ValueError", "zero")
        assert "score.py" in known["exception.stacktrace"]


def test_a_job_is_part_of_the_trace_that_it_is_started_in(tmp_path, batch_score, script, collector):
    script(SCORE)
    numbers(tmp_path / "t.csv", 3)
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    others = {"TRACEPARENT": f"00-{trace}-{parent}-01", "OTEL_SERVICE_NAME": "mine"}
    assert batch_score.run("score.py", "t.csv", **telling(collector.endpoint, **others)).code == 0
    assert {span.trace_id.hex() for span in collector.spans} == {trace}
    (step,) = [span for span in collector.spans if span.name.startswith("step ")]
    assert step.parent_span_id.hex() == parent
    assert {who["service.name"] for _, who, _ in collector.resources()} == {"mine"}


STEP = """
    from azureml.core import Run

    Run.get_context().log("value", 7)
"""


def test_a_script_as_a_step_sends_what_it_logs(tmp_path, batch_score, script, collector):
    script(STEP)
    code = "import sys; from batch_score.azureml.script import main; main(sys.argv[1:])"
    where = {"BATCH_SCORE_RUN_DIR": str(tmp_path / "step"), "AZUREML_RUN_ID": "step-1"}
    done = batch_score.program(code, "score.py", **telling(collector.endpoint), **where)
    assert done.code == 0, done.err
    (point,) = collector.metrics["batch_score.script.value"]
    assert (point.as_int, plain(point.attributes)["batch_score.run"]) == (7, "step-1")
    (span,) = collector.spans
    assert (span.name, span.status.code) == ("step step-1", 1)
    script("raise SystemExit(3)\n")
    assert batch_score.program(code, "score.py", **telling(collector.endpoint), **where).code == 3
    assert (collector.spans[1].status.code, collector.spans[1].status.message) == (2, "exit code 3")


@contextmanager
def unreachable():
    """A port of this machine on which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def never_answering():
    return served(lambda _: time.sleep(30))


@pytest.mark.parametrize("collector_that_fails", [pytest.param(unreachable, marks=pytest.mark.slow), never_answering])
def test_no_job_waits_for_a_collector(collector_that_fails, tmp_path, batch_score, script):
    script(SCORE)
    numbers(tmp_path / "t.csv", 100)
    with collector_that_fails() as endpoint:
        begin = time.monotonic()
        done = batch_score.run("score.py", "t.csv", "--run-dir", "job", **telling(endpoint))
        assert time.monotonic() - begin < 20
    assert done.code == 0, done.err
    assert done.json["items"]["succeeded"] == 100
    assert re.fullmatch(r"(everything is scored; waiting [^\n]* for telemetry, [^\n]*\n)?", done.err)
    assert not list(done.logs.glob("user/stderr/*/*")) or "Connection" not in "".join(
        path.read_text() for path in done.logs.glob("user/stderr/*/*")
    )
    assert "does not answer" in (done.logs / "sys" / "master_role.txt").read_text()


def test_a_variable_of_opentelemetry_that_is_wrong_costs_no_job(tmp_path, batch_score, script, collector):
    script(SCORE)
    numbers(tmp_path / "t.csv", 3)
    asked = telling(collector.endpoint, OTEL_BSP_MAX_QUEUE_SIZE="-1", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="7")
    done = batch_score.run("score.py", "t.csv", "--run-dir", "job", **asked)
    assert done.code == 0, done.err
    assert "telemetry cannot be set up" in (done.logs / "sys" / "master_role.txt").read_text()


@pytest.mark.parametrize(
    ("variables", "sent"),
    [({}, True), ({"OTEL_SDK_DISABLED": "true"}, False), ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False)],
)
def test_whether_anything_is_sent(variables, sent, tmp_path, batch_score, script, collector):
    script(SCORE)
    numbers(tmp_path / "t.csv", 3)
    done = batch_score.run("score.py", "t.csv", **{**telling(collector.endpoint), **variables})
    assert done.code == 0, done.err
    assert bool(collector.requests) == sent
