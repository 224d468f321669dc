"""Spans of requests: what each waited for, which engine had it, how it ended. Off unless OpenTelemetry's variables ask.

Names and attributes: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and
https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ampacity.observe.telemetry.opening import open_otlp
from ampacity.observe.telemetry.rounds import Rounds
from ampacity.observe.telemetry.settings import wanted
from ampacity.observe.telemetry.spans import Attribute, NumberedSpan, Span, SpanKind

from .desk import Counted
from .heads import RequestHead
from .sampling import Sampler, parent_of, sampler_of, traceparent

if TYPE_CHECKING:
    from .flight import Flight
    from .visit import Visit

SERVICE_NAME = "ampacity-gateway"
MOST_WAITING = 20_000
"""Spans that wait to be sent; what finds no room is lost, and said."""

LOT = 500
HELD_S = 0.001
"""A shorter time between arriving and being sent on is no waiting."""

OPERATIONS = {b"/v1/chat/completions": "chat", b"/v1/completions": "text_completion", b"/v1/embeddings": "embeddings"}

log = logging.getLogger(__name__)


class Exporter(Protocol):
    """As ``ampacity.observe.telemetry.otlp.Otlp``."""

    def send_spans(self, drafts: Sequence[Span]) -> bool: ...

    def close(self) -> None: ...


class Traced:
    """A request that is recorded. ``sent_at``: when an engine was first chosen (monotonic); 0 = never."""

    __slots__ = ("began_at", "parent_id", "sent_at", "span_id", "trace_id", "upstream_id")

    def __init__(self, trace_id: int, parent_id: int | None, span_id: int, upstream_id: int, began_at: float) -> None:
        self.trace_id, self.parent_id, self.span_id, self.upstream_id = trace_id, parent_id, span_id, upstream_id
        self.began_at, self.sent_at = began_at, 0.0


class Tracer:
    """Makes spans of what has ended, and sends them in a thread of its own."""

    def __init__(self, exporter: Exporter, sampler: Sampler, *, most_waiting: int = MOST_WAITING) -> None:
        self._exporter, self._sampler, self._most_waiting = exporter, sampler, most_waiting
        self._waiting: deque[Span] = deque()
        self._overflown = self._unsent = self._told = 0
        self._rounds = Rounds("tracing", lambda last: self._flush(), exporter.close)

    def start(self) -> None:
        self._rounds.start()

    def close(self) -> None:
        """Send what waits, for a short while, and end."""
        self._rounds.close()

    def begin(self, head: RequestHead) -> tuple[Traced | None, RequestHead]:
        """What is recorded of a request that has just come, and its head as engines are to hear it: theirs is a span
        below ours. ``None``: it is not recorded."""
        parent = parent_of(head.traceparent)
        trace_id = _new_id(128) if parent is None else parent.trace_id
        if not self._sampler.takes(trace_id, parent):
            return None, head
        traced = Traced(trace_id, None if parent is None else parent.span_id, _new_id(64), _new_id(64), time.time())
        line = b"traceparent: %s\r\n"
        others = head.forward.replace(line % head.traceparent, b"") if head.traceparent else head.forward
        return traced, replace(head, forward=others + line % traceparent(trace_id, traced.upstream_id))

    def ended(self, visit: Visit, flight: Flight | None, status: int, counted: Counted, now: float) -> None:
        """``status``: what the client was told; ``now`` (monotonic)."""
        traced = visit.traced
        assert traced is not None, "it is recorded"
        for span in _spans(traced, visit, flight, status, counted, now):
            if len(self._waiting) >= self._most_waiting:
                self._overflown += 1
            else:
                self._waiting.append(span)

    def _flush(self) -> None:
        while self._waiting:
            lot = [self._waiting.popleft() for _ in range(min(LOT, len(self._waiting)))]
            if not self._exporter.send_spans(lot):
                self._unsent += len(lot)
                break  # the others wait for the next round
        lost = self._overflown + self._unsent
        if lost != self._told:
            log.warning("spans could not be sent: %d lost so far", lost)
            self._told = lost


def open_tracer(environ: Mapping[str, str]) -> Tracer | None:
    """``None``: the environment does not ask for traces. What is missing for them is logged."""
    asked = wanted(environ)
    if asked is None or "traces" not in asked.signals:
        return None
    otlp = open_otlp(environ, ("traces",), service_name=SERVICE_NAME)
    return None if otlp is None else Tracer(otlp, sampler_of(environ))


def _new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1


def _spans(
    traced: Traced, visit: Visit, flight: Flight | None, status: int, counted: Counted, now: float
) -> Iterator[Span]:
    """The request's own, its wait where it had to, and the engines' part."""
    operation = OPERATIONS.get(visit.head.path) or visit.head.path.rpartition(b"/")[2].decode(errors="replace")
    name, failed = f"{operation} {visit.asked.model}", str(status) if status >= 500 else ""
    ended_at = traced.began_at + now - visit.arrived
    sent_at = traced.began_at + traced.sent_at - visit.arrived if traced.sent_at else ended_at
    told: dict[str, Attribute] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "ampacity",
        "gen_ai.request.model": visit.asked.model,
        **({"error.type": failed} if failed else {}),
        **_used(visit, flight, counted),
    }
    yield NumberedSpan(
        trace_id=traced.trace_id,
        span_id=traced.span_id,
        parent_id=traced.parent_id,
        kind=SpanKind.SERVER,
        name=name,
        began_at=traced.began_at,
        ended_at=ended_at,
        failed=failed,
        attributes={**told, **_of_http(visit.head, status), **_of_ampacity(visit)},
    )
    below = partial(NumberedSpan, trace_id=traced.trace_id, parent_id=traced.span_id)
    if sent_at - traced.began_at >= HELD_S:
        yield below(
            span_id=_new_id(64), kind=SpanKind.INTERNAL, name="wait", began_at=traced.began_at, ended_at=sent_at
        )
    if flight is not None and traced.sent_at:
        yield below(
            span_id=traced.upstream_id,
            kind=SpanKind.CLIENT,
            name=name,
            began_at=sent_at,
            ended_at=ended_at,
            failed=failed,
            attributes={**told, "ampacity.replica": flight.replica},
        )


def _used(visit: Visit, flight: Flight | None, counted: Counted) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    if visit.request.max_tokens is not None:
        found["gen_ai.request.max_tokens"] = visit.request.max_tokens
    if flight is not None:
        found["gen_ai.response.model"] = flight.route.name
        if flight.streamed and flight.first_at:
            found["gen_ai.response.time_to_first_chunk"] = flight.first_at - visit.arrived
    if counted.input_tokens is not None:
        found["gen_ai.usage.input_tokens"] = counted.input_tokens
    if counted.output_tokens is not None:
        found["gen_ai.usage.output_tokens"] = counted.output_tokens
    return found


def _of_http(head: RequestHead, status: int) -> dict[str, Attribute]:
    return {
        "http.request.method": head.method.decode(errors="replace"),
        "url.path": head.path.decode(errors="replace"),
        "http.response.status_code": status,
    }


def _of_ampacity(visit: Visit) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {}
    if visit.request.key is not None:
        found["ampacity.project"], found["ampacity.key"] = visit.request.key.project, visit.request.key.id
    if visit.choice is not None:
        found["ampacity.route"] = visit.choice.name
        if visit.choice.trouble is not None:
            found["ampacity.reason"] = visit.choice.trouble.value
    return found
