"""Tracing of requests: which are recorded, and the thread that sends their spans. Off unless OpenTelemetry's variables
ask."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ampacity.observe.telemetry.opening import open_otlp
from ampacity.observe.telemetry.rounds import Rounds
from ampacity.observe.telemetry.settings import wanted
from ampacity.observe.telemetry.spans import Span

from .desk import Counted
from .heads import RequestHead
from .request_spans import Traced, new_id, spans_of
from .sampling import Sampler, parent_of, sampler_of, traceparent

if TYPE_CHECKING:
    from .flight import Flight
    from .visit import Visit

SERVICE_NAME = "ampacity-gateway"
MOST_WAITING = 20_000
"""Spans that wait to be sent; what finds no room is lost, and said."""

LOT = 500
log = logging.getLogger(__name__)


class Exporter(Protocol):
    """As ``ampacity.observe.telemetry.otlp.Otlp``."""

    def send_spans(self, drafts: Sequence[Span]) -> bool: ...

    def close(self) -> None: ...


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
        trace_id = new_id(128) if parent is None else parent.trace_id
        if not self._sampler.takes(trace_id, parent):
            return None, head
        traced = Traced(trace_id, None if parent is None else parent.span_id, new_id(64), new_id(64), time.time())
        line = b"traceparent: %s\r\n"
        others = head.forward.replace(line % head.traceparent, b"") if head.traceparent else head.forward
        return traced, replace(head, forward=others + line % traceparent(trace_id, traced.upstream_id))

    def ended(self, visit: Visit, flight: Flight | None, status: int, counted: Counted, now: float) -> None:
        """``status``: what the client was told; ``now`` (monotonic)."""
        traced = visit.traced
        assert traced is not None, "it is recorded"
        for span in spans_of(traced, visit, flight, status, counted, now):
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
