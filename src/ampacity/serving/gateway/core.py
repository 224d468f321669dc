"""What all connections of one process share: the table, the engines, the routers, the clock of the time limits."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING

from ampacity.model.access import ApiKey
from ampacity.serving.admission import Refused
from ampacity.serving.routing.base import EngineId, Router, TicketId
from ampacity.serving.table import ModelRoute, RoutingTable

from .answers import refusal_of
from .engines import Engine
from .heads import RequestHead
from .lines import Line
from .tables import Tables
from .wheel import NEVER, Wheel

if TYPE_CHECKING:
    from .client import Client

log = logging.getLogger(__name__)


class Core:
    """One process's gateway, without its sockets."""

    def __init__(self, tables: Tables, router: Callable[[], Router]) -> None:
        self.tables, self._router = tables, router
        self.wheel = Wheel(monotonic())
        self.clients: set[Client] = set()
        self.engines: dict[EngineId, Engine] = {}
        self.draining = False
        self._lines: dict[str, Line] = {}
        self._id_prefix, self._last_id = secrets.token_hex(6).encode(), 0
        tables.on_change(self._follow)
        self._follow(tables.table)

    def who(self, head: RequestHead) -> ApiKey | None:
        """Whose key came with the request; ``None`` = nobody's, where none is asked for. Raises ``Refusal`` (401)."""
        who = self.tables.doorkeeper.who(head.authorization or None, time())
        if isinstance(who, Refused):
            raise refusal_of(who)
        return who

    def next_request_id(self) -> bytes:
        self._last_id += 1
        return b"%s%08x" % (self._id_prefix, self._last_id)

    def next_ticket(self) -> TicketId:
        self._last_id += 1
        return TicketId(self._last_id)

    def line(self, model: str) -> Line:
        """The line of a model that the table has."""
        return self._lines[model]

    def has_other(self, route: ModelRoute, excluded: frozenset[EngineId]) -> bool:
        return any(replica.id not in excluded for replica in route.replicas)

    def note_loss(self, engine: EngineId, why: str) -> None:
        found = self.engines.get(engine)
        if found is not None:  # it may have left the table meanwhile
            log.warning("replica %s at %s: %s", engine, found.url, why)
            found.close()

    def tick(self) -> None:
        """Called a few times a second: time limits, and what routers put off."""
        self.wheel.advance(monotonic())

    def _follow(self, table: RoutingTable) -> None:
        """A new table is in force."""
        now = monotonic()
        replicas = {EngineId(replica.id): replica for route in table.models for replica in route.replicas}
        for gone in self.engines.keys() - replicas.keys():
            self.engines.pop(gone).close()
        for id, replica in replicas.items():
            standing = self.engines.get(id)
            if standing is None or standing.url != replica.url:
                self.engines[id] = Engine(replica)
                if standing is not None:
                    standing.close()
        for route in table.models:
            line = self._lines.get(route.name)
            if line is None:
                line = self._lines[route.name] = self._new_line()
            line.set_engines([EngineId(replica.id) for replica in route.replicas], now)

    def _new_line(self) -> Line:
        alarm = _Alarm(self.wheel)
        alarm.line = line = Line(self._router(), alarm.set)
        return line


class _Alarm:
    """Wakes a line when its router wants to be asked again. Fulfils :class:`ampacity.serving.gateway.wheel.Timed`."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self.due, self.slot = NEVER, 0
        self.line: Line | None = None

    def set(self, due: float) -> None:
        if due < self.due:
            self.due = due
            self._wheel.hasten(self)

    def expire(self, now: float) -> None:
        if self.line is not None:
            self.line.pump(now)
