"""What all connections of one process share: the table, the engines, the routers, the clock of the time limits."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING

from ampacity.model.access import ApiKey
from ampacity.serving.admission import Refused
from ampacity.serving.routing.base import EngineId, Router, Ticket, TicketId
from ampacity.serving.table import RoutingTable

from .answers import refusal_of
from .fleet import Fleet
from .gate import Gate
from .heads import RequestHead
from .lines import Line
from .tables import Tables
from .wheel import NEVER, Wheel

if TYPE_CHECKING:
    from .client import Client


class Core:
    """One process's gateway, without its sockets."""

    def __init__(self, tables: Tables, router: Callable[[], Router]) -> None:
        self.tables, self._router = tables, router
        self.wheel = Wheel(monotonic())
        self.clients: set[Client] = set()
        self.gate = Gate()
        self.fleet = Fleet(self.wheel, self._spread, self._silent)
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

    def ticket_like(self, ticket: Ticket, excluded: frozenset[EngineId]) -> Ticket:
        """A new ticket for the same request, that is not to go to these engines."""
        return Ticket(
            self.next_ticket(),
            arrived=ticket.arrived,
            tokens=ticket.tokens,
            blocks=ticket.blocks,
            session=ticket.session,
            priority=ticket.priority,
            deadline=ticket.deadline,
            excluded=excluded,
        )

    def line(self, model: str) -> Line:
        """The line of a model that the table has."""
        return self._lines[model]

    def tick(self) -> None:
        """Called a few times a second: time limits, what routers put off, and who has stood in line for too long."""
        now = monotonic()
        self.wheel.advance(now)
        self.gate.tick(now)

    def _follow(self, table: RoutingTable) -> None:
        """A new table is in force."""
        self.fleet.follow(table)
        self.gate.follow(table)

    def _spread(self) -> None:
        """Tell the routers of their engines."""
        now = monotonic()
        routes = self.tables.table.models
        for route in routes:
            line = self._lines.get(route.name)
            if line is None:
                line = self._lines[route.name] = self._new_line()
            line.set_engines(self.fleet.members(route), now)
        for gone in self._lines.keys() - {route.name for route in routes}:
            self._lines[gone].set_engines((), now)

    def _silent(self, engine: EngineId) -> None:
        """An engine answers no probes any more: who waits for it may go elsewhere."""
        for client in list(self.clients):
            client.engine_silent(engine)

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
