"""Asking engines what they have to do, at ``/metrics``, for routers that want to know. Never on a request's way."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from ampacity.model.service_terms import Routing
from ampacity.serving.routing import Report
from ampacity.serving.routing.base import EngineId
from ampacity.serving.routing.reports import report_of
from ampacity.serving.table import RoutingTable

from .core import Core
from .desk import OwnDesk
from .engines import Engine
from .fleet import Fleet
from .heads import AnswerHead
from .question import Question
from .upstream import Upstream
from .wheel import Wheel

ASK_EVERY_S = 2.0
ASK_LIMIT_S = 2.0
SAYS_NOTHING_S = 60.0
"""When an engine that has no such page, or is away, is asked again."""

MOST_BYTES = 4 * 1024 * 1024

_NOTHING = Report()


class Reporter(Question):
    """One engine; ``tell`` gets its reports."""

    def __init__(self, engine: Engine, wheel: Wheel, tell: Callable[[Report, float], None]) -> None:
        # HTTP/1.0: the answer comes in one piece, without chunks between its lines.
        request = b"GET /metrics HTTP/1.0\r\nhost: %s\r\naccept: text/plain\r\n\r\n" % engine.host
        super().__init__(engine, request, wheel, limit_s=ASK_LIMIT_S)
        self._tell = tell
        self._bytes = 0
        self._text: list[bytes] = []

    def begin(self) -> None:
        self.again(ASK_EVERY_S)

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        super().headed(upstream, head)
        upstream.raw = None
        self._bytes, self._text = 0, []

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self._bytes += len(data)
        if self._bytes > MOST_BYTES:
            self.drop()
            self.failed(refused=False)
        else:
            self._text.append(data)

    def answered(self, data: bytes) -> None:
        report = report_of(b"".join((*self._text, data))) if self.status == 200 else _NOTHING
        self._text = []
        if report == _NOTHING:
            self.again(SAYS_NOTHING_S)
        else:
            self._tell(report, monotonic())
            self.again(ASK_EVERY_S)

    def failed(self, *, refused: bool) -> None:
        self.again(SAYS_NOTHING_S)


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
