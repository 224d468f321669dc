"""Spans of requests: what each waited for, which engine had it, how it ended.

Names and attributes: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/ and
https://opentelemetry.io/docs/specs/semconv/http/http-spans/.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from ampacity.observe.telemetry.spans import Attribute, NumberedSpan, Span, SpanKind

from .desk import Counted
from .heads import RequestHead

if TYPE_CHECKING:
    from .flight import Flight
    from .visit import Visit

HELD_S = 0.001
"""A shorter time between arriving and being sent on is no waiting."""

OPERATIONS = {b"/v1/chat/completions": "chat", b"/v1/completions": "text_completion", b"/v1/embeddings": "embeddings"}


class Traced:
    """A request that is recorded. ``sent_at``: when an engine was first chosen (monotonic); 0 = never."""

    __slots__ = ("began_at", "parent_id", "sent_at", "span_id", "trace_id", "upstream_id")

    def __init__(self, trace_id: int, parent_id: int | None, span_id: int, upstream_id: int, began_at: float) -> None:
        self.trace_id, self.parent_id, self.span_id, self.upstream_id = trace_id, parent_id, span_id, upstream_id
        self.began_at, self.sent_at = began_at, 0.0


def new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1


def spans_of(
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
        yield below(span_id=new_id(64), kind=SpanKind.INTERNAL, name="wait", began_at=traced.began_at, ended_at=sent_at)
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
