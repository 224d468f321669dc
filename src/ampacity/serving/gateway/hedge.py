"""A second engine, asked when the first token of the first one is slow to come: whoever speaks first is heard."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ampacity.serving.routing.base import EngineId
from ampacity.serving.table import ModelRoute

from .engines import Engine, EngineLost, connect
from .heads import AnswerHead
from .upstream import Upstream

if TYPE_CHECKING:
    from .core import Core
    from .flight import Flight


class Hedge:
    """Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` until the flight adopts it. The desk is not asked: of
    the engines that are well, the one with the fewest requests of this process is taken."""

    __slots__ = ("_connecting", "_core", "_flight", "_head", "_upstream")

    def __init__(self, flight: Flight, core: Core) -> None:
        self._flight, self._core = flight, core
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._head: AnswerHead | None = None

    @classmethod
    def begin(cls, flight: Flight, core: Core, route: ModelRoute, excluded: frozenset[EngineId]) -> None:
        """Ask another engine, if there is one."""
        engine = core.fleet.pick(route, excluded)
        if engine is not None:
            hedge = cls(flight, core)
            flight.hedge = hedge
            hedge._ask(engine)

    def _ask(self, engine: Engine) -> None:
        kept = engine.kept()
        if kept is not None:
            self._send(kept)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._send_on_fresh(engine))

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost as error:
            self._core.fleet.note_loss(engine.id, str(error))
            self._flight.hedge = None
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
        self._flight.hedge = None

    def piece(self, upstream: Upstream, data: bytes) -> None:
        self._win(upstream)
        self._flight.piece(upstream, data)

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._win(upstream)
        self._flight.completed(upstream, data)

    def _win(self, upstream: Upstream) -> None:
        assert self._head is not None, "a body comes after its head"
        upstream.hand_to(self._flight)
        self._flight.adopt(upstream, self._head)

    def lost(self, upstream: Upstream, why: str) -> None:
        self._core.fleet.note_loss(upstream.engine.id, why)
        self._flight.hedge = None

    def leave(self) -> None:
        """It is not needed any more."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._upstream is not None:
            self._upstream.leave()
