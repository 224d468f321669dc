"""What OpenTelemetry's environment variables ask for.

Source of the names: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/ and
https://opentelemetry.io/docs/specs/otel/protocol/exporter/. What is not read here (headers, timeouts, certificates,
resource attributes) is read by the SDK's exporters themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

SIGNALS = ("metrics", "traces", "logs")
OUTPUT_VARIABLE = "AMPACITY_OTEL_JOB_OUTPUT"
DEFAULT_INTERVAL_S = 60.0
_PROTOCOL = "http/protobuf"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which signals are exported. ``metrics_every_s``: how often metrics are. ``job_output``: lines of jobs' output
    are exported as logs, too."""

    signals: frozenset[str]
    metrics_every_s: float
    job_output: bool


def wanted(environ: Mapping[str, str]) -> Wanted | None:
    """What the variables switch on; ``None`` = nothing. What they ask for and cannot be had is logged."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    signals = frozenset(signal for signal in SIGNALS if _is_on(signal, environ))
    if not signals:
        return None
    return Wanted(
        signals=signals,
        metrics_every_s=_interval_s(environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")),
        job_output="logs" in signals and environ.get(OUTPUT_VARIABLE, "").strip().lower() in ("1", "true", "yes"),
    )


def _is_on(signal: str, environ: Mapping[str, str]) -> bool:
    name = signal.upper()
    own, general = f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
    exporter = environ.get(f"OTEL_{name}_EXPORTER", "").strip().lower()
    if not (environ.get(own) or environ.get(general)) or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        log.warning("OTEL_%s_EXPORTER is %r: only otlp and none are known, %s are not sent", name, exporter, signal)
        return False
    spoken = environ.get(f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if spoken not in (None, "", _PROTOCOL):
        log.warning("the protocol %r is not spoken here, only %s: %s are not sent", spoken, _PROTOCOL, signal)
        return False
    return True


def _interval_s(milliseconds: str) -> float:
    if not milliseconds.strip():
        return DEFAULT_INTERVAL_S
    try:
        return max(0.1, float(milliseconds) / 1000)
    except ValueError:
        log.warning("OTEL_METRIC_EXPORT_INTERVAL is no number of milliseconds: %r", milliseconds)
        return DEFAULT_INTERVAL_S
