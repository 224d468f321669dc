"""Asking engines what they have to do, at ``/metrics``, for routers that want to know. Never on a request's way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic

from ampacity.model.service_terms import Routing
from ampacity.serving.routing import Report
from ampacity.serving.routing.base import EngineId
from ampacity.serving.routing.reports import report_of
from ampacity.serving.table import RoutingTable

from .core import Core
from .desk import OwnDesk
from .engines import Engine, EngineLost, connect
from .fleet import Fleet
from .heads import AnswerHead
from .upstream import Upstream
from .wheel import NEVER, Wheel

ASK_EVERY_S = 2.0
ASK_LIMIT_S = 2.0
SAYS_NOTHING_S = 60.0
"""When an engine that has no such page, or is away, is asked again."""

MOST_BYTES = 4 * 1024 * 1024

_NOTHING = Report()


class Reporter:
    """One engine. Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` and
    :class:`ampacity.serving.gateway.wheel.Timed`; ``tell`` gets its reports."""

    def __init__(self, engine: Engine, wheel: Wheel, tell: Callable[[Report, float], None]) -> None:
        self.engine, self._wheel, self._tell = engine, wheel, tell
        # HTTP/1.0: the answer comes in one piece, without chunks between its lines.
        self._request = b"GET /metrics HTTP/1.0\r\nhost: %s\r\naccept: text/plain\r\n\r\n" % engine.host
        self._asking: Upstream | asyncio.Task[None] | None = None
        self._status = self._bytes = 0
        self._text: list[bytes] = []
        self.due, self.slot = NEVER, 0

    def begin(self) -> None:
        self._again(ASK_EVERY_S)

    def stop(self) -> None:
        self._wheel.forget(self)
        self._drop()

    def expire(self, now: float) -> None:
        if self._asking is not None:
            self._drop()
            self._again(SAYS_NOTHING_S)
            return
        self.due = now + ASK_LIMIT_S
        self._status, self._bytes, self._text = 0, 0, []
        self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        try:
            upstream = await connect(self.engine, Upstream)
        except EngineLost:
            self._asking = None
            self._again(SAYS_NOTHING_S)
            return
        self._asking = upstream
        upstream.ask(self._request, self)

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        self._status = head.status
        upstream.raw = None

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self._drop()
            self._again(SAYS_NOTHING_S)
        else:
            self._text.append(data)

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._asking = None
        report = report_of(b"".join((*self._text, data))) if self._status == 200 else _NOTHING
        self._text = []
        if report == _NOTHING:
            self._again(SAYS_NOTHING_S)
        else:
            self._tell(report, monotonic())
            self._again(ASK_EVERY_S)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._asking = None
        self._again(SAYS_NOTHING_S)

    def _again(self, pause_s: float) -> None:
        self.due = monotonic() + pause_s
        self._wheel.hasten(self)

    def _drop(self) -> None:
        asking, self._asking = self._asking, None
        if isinstance(asking, Upstream):
            asking.leave()
        elif asking is not None:
            asking.cancel()


class Reporters:
    """Those of the engines whose router heeds them. ``routing``: the policy of models that name none; ``tell`` gets the
    model's name, the engine's id, its report and the time."""

    def __init__(
        self, fleet: Fleet, wheel: Wheel, routing: str, tell: Callable[[str, EngineId, Report, float], None]
    ) -> None:
        self._fleet, self._wheel, self._routing, self._tell = fleet, wheel, routing, tell
        self._each: dict[Engine, Reporter] = {}

    def follow(self, table: RoutingTable) -> None:
        """The fleet has followed this table."""
        heeded = [route for route in table.models if (route.routing or self._routing) == Routing.PREFIX]
        named = {EngineId(replica.id): route.name for route in heeded for replica in route.replicas}
        engines = {engine: named[id] for id, engine in self._fleet.engines.items() if id in named}
        for gone in self._each.keys() - engines.keys():
            self._each.pop(gone).stop()
        for engine, model in engines.items():
            if engine not in self._each:
                self._each[engine] = self._reporter(engine, model)

    def _reporter(self, engine: Engine, model: str) -> Reporter:
        made = Reporter(engine, self._wheel, lambda report, now: self._tell(model, engine.id, report, now))
        made.begin()
        return made


def heed_reports(core: Core, desk: OwnDesk) -> None:
    """Ask the engines, where a policy wants to know, and tell the desk."""
    reporters = Reporters(core.fleet, core.wheel, core.routing, desk.report)
    core.tables.on_change(reporters.follow)
    reporters.follow(core.tables.table)
