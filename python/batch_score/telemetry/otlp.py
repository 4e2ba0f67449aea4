"""Telemetry by OpenTelemetry's protocol over HTTP; the one module that imports its packages.

Its standard variables decide where things go, how often, and what is sampled. The providers are our own: a script that
sets up OpenTelemetry for itself finds it untouched.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from batch_score._native import __version__
from batch_score.telemetry.base import METRIC_LEVEL, METRICS, Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from opentelemetry.trace import Span

    from batch_score.minibatch import Outcome

logger = logging.getLogger(__name__)

SCOPE = "batch_score"
# Those who carry telemetry: their own words about it would go round in circles.
CARRIERS = ("opentelemetry", "urllib3", "requests", __name__)
SEVERITIES = (
    (logging.CRITICAL, SeverityNumber.FATAL),
    (logging.ERROR, SeverityNumber.ERROR),
    (logging.WARNING, SeverityNumber.WARN),
    (logging.INFO, SeverityNumber.INFO),
)
UNITS = {"bytes_read": "By", "bytes_written": "By"}
NOT_IN_NAMES = re.compile(r"[^-_./A-Za-z0-9]")
LONGEST_NAME = 255
NS = 1_000_000_000
# How long the end of a process may wait for a collector.
CLOSE_S, GIVE_UP_S = 3.0, 1.0


class Otlp(Telemetry):
    """Sends telemetry of one process.

    Args:
        environment: Names the step that this process is part of, if it is part of one.
        process: What it is called.
    """

    def __init__(self, environment: Mapping[str, str], process: str) -> None:
        resource = Resource.create(_resource(environment, process))
        spans, values, records = self._exporters = OTLPSpanExporter(), OTLPMetricExporter(), OTLPLogExporter()
        self._traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._traces.add_span_processor(BatchSpanProcessor(spans))
        reader = PeriodicExportingMetricReader(values)
        self._metrics = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self._logs = LoggerProvider(resource=resource, shutdown_on_exit=False)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(records))
        self._tracer = self._traces.get_tracer(SCOPE, __version__)
        self._meter = self._metrics.get_meter(SCOPE, __version__)
        self._gauges: dict[str, Any] = {}
        self._durations = self._meter.create_histogram("batch_score.run.duration", "s", "seconds of one call of run()")
        self._context = TraceContextTextMapPropagator().extract({"traceparent": environment.get("TRACEPARENT", "")})
        self._step: Span | None = None

    def begin(self, name: str, attributes: Mapping[str, Any], *, kind: str = "step") -> None:
        """A step, or a pipeline of several, begins: all that follows is part of it."""
        self._step = self._tracer.start_span(f"{kind} {name}", self._context, attributes=_attributes(attributes))
        self._context = set_span_in_context(self._step, self._context)

    @property
    def carrier(self) -> dict[str, str]:
        """`TRACEPARENT`, if there is a step."""
        found: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(found, self._context)
        return {name.upper(): value for name, value in found.items()}

    def tried(self, outcome: Outcome, *, worker: str, device: str) -> None:
        """A try of a mini-batch ended just now; when its `run()` began is known to some milliseconds."""
        timings, end = outcome.timings, time.time()
        ran = max(timings.started + timings.load, end - timings.encode - timings.run)
        known = {"index": outcome.index, "attempt": outcome.attempt, "status": outcome.status.value}
        counts = {"items": outcome.total, "succeeded": outcome.succeeded, "bytes_read": outcome.bytes_read}
        seconds = {"load_s": timings.load, "waiting_s": timings.waiting, "encode_s": timings.encode}
        attributes = _attributes({**known, **counts, **seconds, "worker": worker, "device": device or None})
        span = self._tracer.start_span(
            "mini-batch", self._context, attributes=attributes, start_time=_ns(timings.started)
        )
        if timings.run > 0:
            inner = self._tracer.start_span("run()", set_span_in_context(span), start_time=_ns(ran))
            _failed(inner, outcome)
            inner.end(_ns(ran + timings.run))
            self._durations.record(timings.run, {"worker": worker})
        _failed(span, outcome)
        span.end(_ns(max(end, ran + timings.run)))

    def count(self, totals: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Numbers that grow, by name and state; asked for from another thread, now and then."""
        for name in {name for name, _ in totals()}:

            def look(_: CallbackOptions, name: str = name) -> Iterable[Observation]:
                states = {state: value for (one, state), value in totals().items() if one == name}
                return [Observation(value, {"state": state} if state else {}) for state, value in states.items()]

            self._meter.create_observable_counter(f"{SCOPE}.{name}", [look], UNITS.get(name, "1"))

    def end(self, status: str, cause: str, attributes: Mapping[str, Any]) -> None:
        """The step has ended; `cause` is empty if it has succeeded."""
        if self._step is not None:
            self._step.set_attributes(_attributes({"status": status, **attributes}))
            self._step.set_status(Status(StatusCode.ERROR, cause) if cause else Status(StatusCode.OK))
            self._step.end()

    @contextmanager
    def listening(self, loggers: Sequence[logging.Logger], *, scripts: bool) -> Iterator[None]:
        """Sends the records of these loggers, and the values of scripts if it is to; sends what is left at the end."""
        values = logging.getLogger(METRICS)
        with ExitStack() as stack:
            theirs = logging.getLogger("opentelemetry")
            _attach(stack, theirs, _Own())  # to the last: it speaks while it closes
            stack.callback(setattr, theirs, "propagate", theirs.propagate)
            theirs.propagate = False  # the entry script has nothing to do with it
            stack.callback(self._close)
            if scripts:
                stack.callback(values.setLevel, values.level)
                values.setLevel(METRIC_LEVEL)
                _attach(stack, values, _Values(self._value))
            for one in loggers:
                _attach(stack, one, _Records(self._emit))
            yield

    def _emit(self, body: str, severity: SeverityNumber, text: str, attributes: Mapping[str, Any], event: str) -> None:
        record = LogRecord(
            timestamp=time.time_ns(),
            context=self._context,
            severity_number=severity,
            severity_text=text,
            body=body,
            attributes=_attributes(attributes),
            event_name=event or None,
        )
        self._logs.get_logger(SCOPE, __version__).emit(record)

    def _value(self, record: Mapping[str, Any]) -> None:
        """A value that a script has logged: a record each, and of numbers also the last one as a metric."""
        name, value = record["name"], record["value"]
        known = {"run": record["run"], "name": name, "kind": record["kind"], "step": record.get("step")}
        text = str(value)
        self._emit(f"{name} = {text}", SeverityNumber.INFO, "INFO", {**known, "value": text}, "batch_score.metric")
        if record["kind"] == "scalar" and isinstance(value, (int, float)):
            instrument = NOT_IN_NAMES.sub("_", f"{SCOPE}.script.{name}")[:LONGEST_NAME]
            if instrument not in self._gauges:
                self._gauges[instrument] = self._meter.create_gauge(instrument)
            self._gauges[instrument].set(value, _attributes({"run": record["run"], "name": name}))

    def _close(self) -> None:
        """Sends what waits, for some seconds at most: a collector that does not answer is no reason to hang."""
        ends = (self._traces.shutdown, self._logs.shutdown, self._metrics.shutdown)
        threads = [threading.Thread(target=_quietly, args=(end,), daemon=True) for end in ends]
        for thread in threads:
            thread.start()
        if not _ended(threads, CLOSE_S):
            logger.warning("the collector of telemetry does not answer; what was left is not sent")
            for exporter in self._exporters:  # which would go on trying
                exporter.shutdown()
            _ended(threads, GIVE_UP_S)


def _ended(threads: Sequence[threading.Thread], seconds: float) -> bool:
    """Whether all threads end within so many seconds."""
    until = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


def _attach(stack: ExitStack, to: logging.Logger, handler: logging.Handler) -> None:
    to.addHandler(handler)
    stack.callback(to.removeHandler, handler)


class _Records(logging.Handler):
    """Log records as they are."""

    def __init__(self, emit: Callable[[str, SeverityNumber, str, Mapping[str, Any], str], None]) -> None:
        super().__init__()
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        """Sends a record, unless it is about the sending, or none that log files show."""
        if record.name.startswith(CARRIERS) or record.levelno <= METRIC_LEVEL:
            return
        severity = next((one for level, one in SEVERITIES if record.levelno >= level), SeverityNumber.DEBUG)
        known = {"logger": record.name, "thread": record.threadName}
        if record.exc_info:
            known["exception"] = logging.Formatter().formatException(record.exc_info)
        try:
            self._emit(record.getMessage(), severity, record.levelname, known, "")
        except Exception:  # noqa: BLE001 - as every handler
            self.handleError(record)


class _Values(logging.Handler):
    """What scripts log as values."""

    def __init__(self, take: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: logging.LogRecord) -> None:
        """Sends the value that a record carries."""
        try:
            self._take(record.metric)  # type: ignore[attr-defined] # whoever logs here gives it
        except Exception:  # noqa: BLE001 - as every handler
            self.handleError(record)


class _Own(logging.Handler):
    """What the packages of OpenTelemetry have to say, among our own records."""

    def emit(self, record: logging.LogRecord) -> None:
        """Passes a record on."""
        if record.levelno >= logging.WARNING and "already shutdown" not in record.msg:
            logger.log(record.levelno, "telemetry: %s", record.getMessage())


def _quietly(end: Callable[[], object]) -> None:
    try:
        end()
    except Exception as error:  # noqa: BLE001 - what cannot be sent is lost without harm
        logger.warning("telemetry: %s", error)


def _resource(environment: Mapping[str, str], process: str) -> dict[str, Any]:
    """Who is speaking; the standard variables may give the service another name."""
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    own = {"service.instance.id": process, "process.pid": os.getpid(), "service.version": __version__}
    run = environment.get("AZUREML_RUN_ID")
    return {**own, **({} if named else {"service.name": "batch-score"}), **({"batch_score.run": run} if run else {})}


def _failed(span: Span, outcome: Outcome) -> None:
    fault = outcome.fault
    if fault is None:
        return
    span.set_status(Status(StatusCode.ERROR, f"{fault.error}: {fault.message}"))
    known = {"exception.type": fault.error, "exception.message": fault.message, "exception.stacktrace": fault.traceback}
    span.add_event("exception", known)


def _attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names under our own roof, those that the conventions have as they are; no value, no attribute."""
    return {name if "." in name else f"{SCOPE}.{name}": value for name, value in values.items() if value is not None}


def _ns(seconds: float) -> int:
    return int(seconds * NS)
