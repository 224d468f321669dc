"""Shadow traffic: copies of requests to another model, whose answers are thrown away. Nobody waits for them."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic, time
from typing import TYPE_CHECKING

from ampacity.model.ids import SYSTEM_PROJECT
from ampacity.model.request_usage import RequestRecord
from ampacity.serving.routing.base import NO_ENGINES
from ampacity.serving.table import ModelRoute

from .body import with_model
from .engines import Engine, EngineLost, connect
from .heads import AnswerHead
from .upstream import Upstream
from .usage import counted_in, events_in

if TYPE_CHECKING:
    from .core import Core
    from .flight import Flight

log = logging.getLogger(__name__)

MOST_AT_ONCE = 64
"""More copies are never under way in one process: what comes beyond is left out, and counted."""

MOST_BYTES = 1024 * 1024
"""Longer requests are not copied."""

LIMIT_S = 300.0


class Shadows:
    """Those under way."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.live: set[Shadow] = set()

    def cast(self, flight: Flight, *, name: str, model: str) -> None:
        """Copy a request that has been sent, after what the loop has to do now. ``name``: the route's."""
        asyncio.get_running_loop().call_soon(self._cast, flight, name, model)

    def _cast(self, flight: Flight, name: str, model: str) -> None:
        route = self._core.tables.find(model)
        engine = None if route is None else self._core.fleet.pick(route, NO_ENGINES)
        full = engine is not None and route is not None and 0 < route.concurrency <= engine.in_flight
        if route is None or engine is None or full or len(self.live) >= MOST_AT_ONCE or len(flight.body) > MOST_BYTES:
            if self._core.recorder is not None:
                self._core.recorder.left_out += 1
            return
        shadow = Shadow(self._core, flight, name, route)
        self.live.add(shadow)
        shadow.ask(engine)


class Shadow:
    """One copy. Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` and
    :class:`ampacity.serving.gateway.wheel.Timed`."""

    def __init__(self, core: Core, flight: Flight, name: str, route: ModelRoute) -> None:
        self._core, self._name, self._route = core, name, route
        self._request, self._id = flight.request, flight.id
        self._tokens = flight.visit.request.tokens
        self._body = with_model(flight.body, flight.asked, route.upstream)
        self._began = monotonic()
        self._first_at = 0.0
        self._status = self._events = 0
        self._last = b""
        self._engine = ""
        self._asking: Upstream | asyncio.Task[None] | None = None
        self.due, self.slot = self._began + LIMIT_S, 0
        core.wheel.hasten(self)

    def ask(self, engine: Engine) -> None:
        self._engine = engine.id
        kept = engine.kept()
        if kept is not None:
            self._send(kept)
        else:
            self._asking = asyncio.get_running_loop().create_task(self._send_on_fresh(engine))

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost:
            self._over(502)
            return
        self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        request = self._request
        self._asking = upstream
        head = b"%s %s HTTP/1.1\r\nhost: %s\r\n%sx-request-id: %s\r\nx-ampacity-shadow: 1\r\ncontent-length: %d\r\n\r\n"
        values = (request.method, request.target, upstream.engine.host, request.forward, self._id, len(self._body))
        upstream.ask(head % values + self._body, self)
        self._body = b""

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        self._status = head.status
        upstream.engine.health.answered(head.status, monotonic())

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self._note(data)
        if upstream.raw is not None:
            upstream.raw.clear()  # nobody will go on with it: only its end is looked at

    def completed(self, upstream: Upstream, data: bytes) -> None:
        last = self._last
        self._note(data)
        self._asking = None
        self._over(self._status, last + data)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._asking = None
        self._over(502)

    def expire(self, now: float) -> None:
        asking, self._asking = self._asking, None
        if isinstance(asking, Upstream):
            asking.leave()
        elif asking is not None:
            asking.cancel()
        self._over(504)

    def _note(self, data: bytes) -> None:
        self._first_at = self._first_at or monotonic()
        self._events += events_in((), data)
        self._last = data

    def _over(self, status: int, end: bytes = b"") -> None:
        """Counted, and nobody's to pay."""
        self._core.wheel.forget(self)
        self._core.shadows.live.discard(self)
        if self._core.recorder is None:
            return
        counted = counted_in(end)
        output = self._events if counted.output_tokens is None else counted.output_tokens
        self._core.recorder.record(
            RequestRecord(
                at=time(),
                project=SYSTEM_PROJECT,
                model=self._route.name,
                replica=self._engine,
                status=status,
                input_tokens=self._tokens if counted.input_tokens is None else counted.input_tokens,
                cached_tokens=counted.cached_tokens or 0,
                output_tokens=output,
                counted=counted.input_tokens is not None,
                ttft_s=self._first_at - self._began if self._first_at else None,
                total_s=monotonic() - self._began,
                route=self._name,
                reason="shadow",
            )
        )
