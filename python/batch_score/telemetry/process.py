"""Whether a process tells of itself: OpenTelemetry's variable `OTEL_EXPORTER_OTLP_ENDPOINT` asks for it."""

from __future__ import annotations

from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from batch_score.telemetry.base import Telemetry

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping, Sequence

ENDPOINT, DISABLED, PROTOCOL = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_EXPORTER_OTLP_PROTOCOL"
HTTP = "http/protobuf"


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether the environment asks for telemetry."""
    return bool(environment.get(ENDPOINT)) and environment.get(DISABLED, "").lower() != "true"


def notes(environment: Mapping[str, str]) -> list[str]:
    """Why nothing will be sent although the environment asks for it."""
    if not wanted(environment):
        return []
    if not _installed():
        return [f'{ENDPOINT} is set, but nothing is sent without OpenTelemetry: run `pip install "batch-score[otel]"`']
    protocol = environment.get(PROTOCOL, HTTP)
    return [] if protocol == HTTP else [f"{PROTOCOL} is {protocol}, but {HTTP} is what is sent"]


def _installed() -> bool:
    try:
        return (
            find_spec("opentelemetry.exporter.otlp.proto.http") is not None
            and find_spec("opentelemetry.sdk") is not None
        )
    except ModuleNotFoundError:
        return False


@contextmanager
def telemetry(
    environment: Mapping[str, str], *, process: str, loggers: Sequence[logging.Logger] = (), scripts: bool = True
) -> Iterator[Telemetry]:
    """Telemetry of this process, for a while; what waits to be sent is sent at the end, for some seconds at most.

    Args:
        environment: The environment of this process.
        process: What it is called, as in the log tree.
        loggers: Their records are sent too.
        scripts: It runs scripts, and the values that they log are sent.
    """
    if not wanted(environment) or not _installed():
        yield Telemetry()
        return
    from batch_score.telemetry.otlp import Otlp  # noqa: PLC0415 - an optional package, and half a second

    sender = Otlp(environment, process)
    with sender.listening(loggers, scripts=scripts):
        yield sender
