"""Whether a process tells of itself: OpenTelemetry's variable `OTEL_EXPORTER_OTLP_ENDPOINT` asks for it."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from batch_score.telemetry.base import Telemetry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from batch_score.telemetry.otlp import Otlp

logger = logging.getLogger(__name__)

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
    sender = _sender(environment, process) if wanted(environment) and _installed() else None
    if sender is None:
        yield Telemetry()
        return
    with sender.listening(loggers, scripts=scripts):
        yield sender


def _sender(environment: Mapping[str, str], process: str) -> Otlp | None:
    """What sends, None where a variable of OpenTelemetry has a value that it cannot work with."""
    from batch_score.telemetry.otlp import Otlp  # noqa: PLC0415 - an optional package, and half a second

    try:
        return Otlp(environment, process)
    except Exception as error:  # noqa: BLE001 - a job does not fail for it
        logger.warning("telemetry cannot be set up, nothing is sent: %s: %s", type(error).__name__, error)
        return None
