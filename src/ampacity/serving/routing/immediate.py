"""Routers that bind a ticket as it arrives, by a rule; tickets are held only while no engine may take them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from .base import Engine, EngineId, Report, Router, Ticket, TicketId
from .member import Member


class Rule(Protocol):
    __slots__ = ()

    def pick(self, ticket: Ticket, members: Sequence[Member]) -> Member:
        """One of these members: there is at least one, none is full or excluded, and they keep their order."""
        ...


class Immediate(Router):
    """Fulfils :class:`ampacity.serving.routing.base.Router` by a rule.

    An engine that was set aside is chosen only when all others are set aside as well.
    """

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._members: dict[EngineId, Member] = {}
        self._all: list[Member] = []
        self._limited = False
        self._aside_until = 0.0  # the latest of all
        self._bound: dict[TicketId, Member] = {}
        self._held: dict[TicketId, Ticket] = {}

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        before, self._members = self._members, {}
        busy = {member.engine.id: member for member in self._bound.values()}
        for engine in engines:
            member = before.get(engine.id) or busy.get(engine.id) or Member(engine)
            member.engine = engine
            self._members[engine.id] = member
        self._all = list(self._members.values())
        self._limited = any(member.engine.concurrency for member in self._all)

    def offer(self, ticket: Ticket, now: float) -> EngineId | None:
        chosen = self._choose(ticket, now)
        if chosen is None:
            self._held[ticket.id] = ticket
            return None
        return self._bind(ticket, chosen)

    def released(self, now: float) -> list[tuple[Ticket, EngineId]]:
        news: list[tuple[Ticket, EngineId]] = []
        for ticket in sorted(self._held.values(), key=_order):
            chosen = self._choose(ticket, now)
            if chosen is not None:
                del self._held[ticket.id]
                news.append((ticket, self._bind(ticket, chosen)))
            elif not ticket.excluded:
                break  # nobody takes any ticket
        return news

    def adopt(self, ticket: Ticket, engine: EngineId, now: float) -> None:
        away = (member for member in self._bound.values() if member.engine.id == engine)
        self._bind(ticket, self._members.get(engine) or next(away, None) or Member(Engine(id=engine)))

    def answered(self, id: TicketId, now: float) -> None:
        member = self._bound.get(id)
        if member is not None:
            member.restore()

    def ended(self, id: TicketId, now: float, *, cached_tokens: int | None = None, failed: bool = False) -> None:
        member = self._bound.pop(id, None)
        if member is None:
            return
        member.in_flight -= 1
        if failed:
            member.set_aside(now)
            self._aside_until = max(self._aside_until, member.aside_until)
        else:
            member.served += 1

    def withdrawn(self, id: TicketId, now: float) -> None:
        self._held.pop(id, None)

    def report(self, engine: EngineId, report: Report, now: float) -> None:
        """What these rules need they count themselves."""

    def next_wake(self, now: float) -> float | None:
        return None  # one that is set aside is taken when there is no other, so nobody waits for its return

    def _choose(self, ticket: Ticket, now: float) -> Member | None:
        open_ = self._all
        if self._limited:
            open_ = [member for member in open_ if not member.full]
        if ticket.excluded:
            open_ = [member for member in open_ if member.engine.id not in ticket.excluded]
        if not open_:
            return None
        if self._aside_until > now:
            open_ = [member for member in open_ if member.aside_until <= now] or open_
        return self._rule.pick(ticket, open_)

    def _bind(self, ticket: Ticket, member: Member) -> EngineId:
        member.in_flight += 1
        self._bound[ticket.id] = member
        return member.engine.id


def _order(ticket: Ticket) -> tuple[int, float]:
    return -ticket.priority, ticket.arrived
