"""Requests and the routers that bind them: one router for each model, and the requests that it holds back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from ampacity.serving.routing.base import Engine, EngineId, Router, Ticket, TicketId


class Bound(Protocol):
    """A request that waits for its engine."""

    ticket: Ticket

    def bound(self, engine: EngineId) -> None: ...


class Line:
    """One model's router. Tickets are offered, and come back by ``bound`` where the router held them."""

    def __init__(self, router: Router, wake: Callable[[float], None]) -> None:
        self._router, self._wake = router, wake
        self._held: dict[TicketId, Bound] = {}

    def set_engines(self, engines: Iterable[Engine], now: float) -> None:
        self._router.set_engines(engines, now)
        self.pump(now)

    def offer(self, request: Bound, now: float) -> EngineId | None:
        """The engine, or ``None``: it waits, until ``bound`` is called or it is withdrawn."""
        engine = self._router.offer(request.ticket, now)
        if engine is None:
            self._held[request.ticket.id] = request
            self._sleep(now)
        return engine

    def answered(self, ticket: TicketId, now: float) -> None:
        self._router.answered(ticket, now)
        if self._held:
            self.pump(now)

    def ended(self, ticket: TicketId, now: float, cached_tokens: int | None, failed: bool) -> None:
        self._router.ended(ticket, now, cached_tokens=cached_tokens, failed=failed)
        if self._held:
            self.pump(now)

    def withdrawn(self, ticket: TicketId, now: float) -> None:
        if self._held.pop(ticket, None) is not None:
            self._router.withdrawn(ticket, now)
            self.pump(now)

    def pump(self, now: float) -> None:
        """Send what the router lets go."""
        if not self._held:
            return
        for ticket, engine in self._router.released(now):
            request = self._held.pop(ticket.id, None)
            if request is not None:
                request.bound(engine)
        self._sleep(now)

    def _sleep(self, now: float) -> None:
        due = self._router.next_wake(now)
        if due is not None:
            self._wake(due)
