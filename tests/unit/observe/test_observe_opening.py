"""Asking for OpenTelemetry where it is not installed: it is said, and nothing is exported."""

from __future__ import annotations

import sys

import pytest

from ampacity.observe.telemetry.opening import open_otlp
from ampacity.serving.gateway.tracing import open_tracer

MODULE = "ampacity.observe.telemetry.otlp"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


def test_what_is_missing_is_logged_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert open_otlp(ENDPOINT, ("traces",), service_name="x") is None
    assert "pip install 'ampacity[telemetry]'" in caplog.text


@pytest.mark.parametrize("asked", [{}, ENDPOINT, {**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}])
def test_a_gateway_without_it_traces_nothing(asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULE, None)
    assert open_tracer(asked) is None
