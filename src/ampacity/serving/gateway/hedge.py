"""A second engine, asked when the first token of the first one is slow to come: whoever speaks first is heard."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from ampacity.serving.routing.base import EngineId, Ticket

from .engines import Engine, EngineLost, connect
from .heads import AnswerHead
from .upstream import Upstream

if TYPE_CHECKING:
    from .core import Core
    from .flight import Flight
    from .lines import Line


class Hedge:
    """Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` until the flight adopts it."""

    __slots__ = ("_connecting", "_core", "_flight", "_head", "_line", "_upstream", "ticket")

    ticket: Ticket

    def __init__(self, flight: Flight, line: Line, core: Core) -> None:
        self._flight, self._line, self._core = flight, line, core
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._head: AnswerHead | None = None

    def start(self, ticket: Ticket, now: float) -> None:
        """Ask another engine, if one takes the ticket at once."""
        self.ticket = ticket
        engine = self._line.offer(self, now)
        if engine is None:
            self._line.withdrawn(ticket.id, now)
            self._flight.hedge_failed()
        else:
            self.bound(engine)

    def bound(self, engine: EngineId) -> None:
        found = self._core.fleet.engines.get(engine)
        kept = None if found is None else found.kept()
        if kept is not None:
            self._send(kept)
        elif found is not None:
            self._connecting = asyncio.get_running_loop().create_task(self._send_on_fresh(found))
        else:
            self._give_up(failed=True)

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost as error:
            self._core.fleet.note_loss(engine.id, str(error))
            self._give_up(failed=True)
            return
        self._connecting = None
        self._send(upstream)

    def _send(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.ask(self._flight.request_bytes(upstream.engine), self)

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        if head.status == 200:
            self._head = head
            return
        upstream.leave()
        self._give_up(failed=head.status >= 500)

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self._win(upstream)
        self._flight.piece(upstream, data)

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._win(upstream)
        self._flight.completed(upstream, data)

    def _win(self, upstream: Upstream) -> None:
        assert self._head is not None, "a body comes after its head"
        upstream.hand_to(self._flight)
        self._line.answered(self.ticket.id, monotonic())
        self._flight.adopt(self, upstream, self._head)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._core.fleet.note_loss(upstream.engine.id, why)
        self._give_up(failed=True)

    def _give_up(self, *, failed: bool) -> None:
        self._upstream = None
        self._line.ended(self.ticket.id, monotonic(), None, failed)
        self._flight.hedge_failed()

    def leave(self) -> None:
        """It is not needed any more."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream is not None:
            self._upstream.leave()
        self._line.ended(self.ticket.id, monotonic(), None, False)
