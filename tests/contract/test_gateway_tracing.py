"""Spans of requests, as a receiver of OpenTelemetry's data gets them from a gateway's process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_process import Gateway, eventually, running_gateway

from ampacity.model.access import ApiKey, Limits, digest_of, key_id
from ampacity.model.route import Fallback, Route, Share, Trouble
from engine_double import EngineDouble
from otlp_receiver import Receiver

pytest.importorskip("opentelemetry.sdk", reason="OpenTelemetry is missing: pip install 'ampacity[telemetry]'")

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RECORDED, NOT_RECORDED = f"00-{TRACE}-{CALLER}-01", f"00-{TRACE}-{CALLER}-00"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    yield found
    found.close()


@pytest.fixture
def gateway(receiver: Receiver, tmp_path: Path) -> Iterator[Gateway]:
    with running_gateway(tmp_path) as found:
        yield found


@pytest.fixture
def engine() -> Iterator[EngineDouble]:
    with EngineDouble("engine") as found:
        yield found


def values(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def of_kind(receiver: Receiver, kind: int) -> list[Any]:
    """2 = a server's, 3 = a client's (OpenTelemetry's protocol)."""
    return [span for span in receiver.spans() if span.kind == kind]


def test_a_request_is_a_span_below_its_callers_and_above_its_engines(
    gateway: Gateway, engine: EngineDouble, receiver: Receiver
) -> None:
    gateway.route({"tiny": [engine]})
    gateway.ask("tiny", headers={"traceparent": RECORDED, "tracestate": "a=b"}, max_tokens=7)
    eventually(lambda: len(receiver.spans()) >= 2)
    (own,), (below,) = of_kind(receiver, 2), of_kind(receiver, 3)
    assert (own.trace_id.hex(), own.parent_span_id.hex(), own.name) == (TRACE, CALLER, "text_completion tiny")
    assert (below.trace_id, below.parent_span_id) == (own.trace_id, own.span_id)
    heard = engine.seen[-1].headers
    assert heard["traceparent"] == f"00-{TRACE}-{below.span_id.hex()}-01"
    assert heard["tracestate"] == "a=b"
    assert own.start_time_unix_nano <= below.start_time_unix_nano <= below.end_time_unix_nano <= own.end_time_unix_nano
    told = values(own)
    assert told["gen_ai.operation.name"] == "text_completion"
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("tiny", "tiny")
    assert (told["gen_ai.request.max_tokens"], told["http.response.status_code"]) == (7, 200)
    assert told["gen_ai.usage.output_tokens"] > 0
    assert values(below)["ampacity.replica"].startswith("engine-")


def test_one_without_a_caller_begins_a_trace_and_one_that_is_not_recorded_passes_through(
    gateway: Gateway, engine: EngineDouble, receiver: Receiver
) -> None:
    gateway.route({"tiny": [engine]})
    gateway.ask("tiny", headers={"traceparent": NOT_RECORDED})
    assert engine.seen[-1].headers["traceparent"] == NOT_RECORDED
    gateway.ask("tiny", stream=True)
    eventually(lambda: len(receiver.spans()) >= 2)
    (own,) = of_kind(receiver, 2)
    assert own.trace_id.hex() != TRACE
    assert not own.parent_span_id
    assert values(own)["gen_ai.response.time_to_first_chunk"] > 0


def test_a_fallback_and_a_failure_are_told(gateway: Gateway, engine: EngineDouble, receiver: Receiver) -> None:
    with EngineDouble("broken", fault="error") as broken:
        rules = (Fallback(on=Trouble.ERROR, to="tiny"),)
        route = Route(name="chat", to=(Share(model="broken"),), fallback=rules)
        gateway.route({"broken": [broken], "tiny": [engine]}, routes=(route,))
        assert gateway.ask("chat").status_code == 200
        assert gateway.ask("broken").status_code == 500
    eventually(lambda: len(of_kind(receiver, 2)) >= 2)
    fallen, failed = sorted(of_kind(receiver, 2), key=lambda span: span.start_time_unix_nano)
    told = values(fallen)
    assert (told["gen_ai.request.model"], told["gen_ai.response.model"]) == ("chat", "tiny")
    assert (told["ampacity.route"], told["ampacity.reason"]) == ("chat", "error")
    assert (failed.status.code, values(failed)["error.type"]) == (2, "500")


def test_standing_in_line_is_a_span_and_a_refusal_has_none_below_it(
    gateway: Gateway, engine: EngineDouble, receiver: Receiver
) -> None:
    digest = digest_of("often")
    key = ApiKey(id=key_id(digest), name="often", digest=digest, limits=Limits(requests_per_minute=2))
    gateway.route({"tiny": [engine]}, keys=(key,), concurrency=1)
    body = {"model": "tiny", "prompt": "x", "stream": True, "pause_s": 0.1}
    sent = {"authorization": "Bearer often"}
    with httpx.stream("POST", gateway.url + "/v1/completions", json=body, headers=sent, timeout=60) as first:
        assert first.status_code == 200
        assert gateway.ask("tiny", key="often").status_code == 200
    assert gateway.ask("tiny", key="often").status_code == 429
    eventually(lambda: len(of_kind(receiver, 2)) == 3)
    (wait,) = of_kind(receiver, 1)
    by_status = {values(span)["http.response.status_code"]: span for span in of_kind(receiver, 2)}
    refused = by_status[429]
    assert wait.name == "wait"
    assert wait.parent_span_id == by_status[200].span_id, "of the second, which ended last"
    assert not [span for span in receiver.spans() if span.parent_span_id == refused.span_id]
    assert values(refused)["ampacity.key"] == key.id


def test_a_receiver_that_is_gone_costs_nobody_an_answer(
    gateway: Gateway, engine: EngineDouble, receiver: Receiver
) -> None:
    gateway.route({"tiny": [engine]})
    receiver.status = 400
    assert [gateway.ask("tiny").status_code for _ in range(5)] == [200] * 5
    eventually(lambda: "spans could not be sent" in gateway.log.read_text())
    assert gateway.ask("tiny").status_code == 200
