"""One inference request: choose a replica, pass the request on, relay the answer; on a death try another."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ampacity.serving.routing import Engine, EngineId, Router, Ticket, TicketId
from ampacity.serving.table import ModelRoute, ReplicaRoute

from .answers import Header, Refusal, error_body
from .body import Asked, with_model
from .tables import Tables
from .upstream import Exchange, Pool, ReplicaLost

log = logging.getLogger(__name__)

WAIT_FOR_REPLICA_S = 10.0
"""How long a request waits for a replica when there is none that it has not tried."""

LOOK_AGAIN_S = 0.25
BUFFER_BYTES = 8 * 1024 * 1024
"""An answer that is not streamed is held back until it is whole, up to this size: so its replica may die unnoticed."""

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"transfer-encoding",
        b"content-length",
        b"upgrade",
        b"te",
        b"trailer",
        b"server",
        b"date",
    )
)
NOT_FORWARDED = HOP_BY_HOP | {b"host", b"expect", b"authorization", b"accept-encoding"}


class Answering(Protocol):
    """The client's side of an exchange."""

    @property
    def begun(self) -> bool:
        """Whether a byte of the answer has been passed on."""
        ...

    def answer(self, status: int, headers: list[Header], body: bytes) -> None: ...

    def begin(self, status: int, headers: list[Header]) -> None: ...

    async def piece(self, data: bytes) -> None:
        """Pass on a piece; waits while the client is slower than the replica."""
        ...

    def end(self) -> None: ...

    def cut(self) -> None:
        """End the connection: the answer cannot be completed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: bytes
    target: bytes
    headers: tuple[Header, ...]
    body: bytes
    asked: Asked
    id: bytes


class Choosing:
    """The router of one model, and the replicas that it has been told of."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.replicas: dict[EngineId, ReplicaRoute] = {}
        self._route: ModelRoute | None = None

    def follow(self, route: ModelRoute, now: float) -> None:
        """Tell the router of the table's replicas, when they are others than before."""
        if route is not self._route:
            self._route = route
            self.replicas = {EngineId(replica.id): replica for replica in route.replicas}
            self.router.set_engines([Engine(id=engine) for engine in self.replicas], now)


class Relay:
    """Knows the table, the router of each model and the connections to the replicas."""

    def __init__(self, tables: Tables, router: Callable[[], Router]) -> None:
        self._tables, self._router, self._pool = tables, router, Pool()
        self._choosing: dict[str, Choosing] = {}
        self._last_ticket = 0

    async def serve(self, request: Request, client: Answering) -> None:
        """Answer the request. Raises ``Refusal`` when nothing was passed on and nobody can answer it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_FOR_REPLICA_S
        tried: frozenset[EngineId] = frozenset()
        while True:
            route = self._tables.route(request.asked.model)
            choosing = self._choosing_for(route)
            self._last_ticket += 1
            ticket = Ticket(TicketId(self._last_ticket), arrived=loop.time(), excluded=tried)
            engine = choosing.router.offer(ticket, loop.time())
            if engine is None:  # there is none that it has not tried
                choosing.router.withdrawn(ticket.id, loop.time())
                await self._await_replica(route, deadline)
                tried = frozenset()
                continue
            try:
                await self._attempt(request, client, choosing, ticket, route, choosing.replicas[engine])
                return
            except ReplicaLost as error:
                self._note_loss(choosing.replicas.get(engine), error)
                if client.begun:
                    await self._break_off(request, client, error)
                    return
                tried |= {engine}

    def _choosing_for(self, route: ModelRoute) -> Choosing:
        choosing = self._choosing.get(route.name)
        if choosing is None:
            choosing = self._choosing[route.name] = Choosing(self._router())
        choosing.follow(route, asyncio.get_running_loop().time())
        return choosing

    async def _await_replica(self, route: ModelRoute, deadline: float) -> None:
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            message = (
                f"No replica of {route.name!r} is ready."
                if not route.replicas
                else f"No replica of {route.name!r} answers."
            )
            raise Refusal(503, message, code="no_replica", headers=((b"retry-after", b"5"),))
        await self._tables.wait(min(left, LOOK_AGAIN_S))

    def _note_loss(self, replica: ReplicaRoute | None, error: ReplicaLost) -> None:
        if replica is not None:  # it may have left the table meanwhile
            log.warning("replica %s at %s: %s", replica.id, replica.url, error)
            self._pool.forget(replica.url)

    @staticmethod
    async def _break_off(request: Request, client: Answering, error: ReplicaLost) -> None:
        """A stream that broke in the middle ends with an error that clients understand, and a cut connection."""
        if request.asked.stream:
            await client.piece(b"data: " + error_body(502, f"The replica was lost: {error}.", "replica_lost") + b"\n\n")
        client.cut()

    async def _attempt(
        self,
        request: Request,
        client: Answering,
        choosing: Choosing,
        ticket: Ticket,
        route: ModelRoute,
        replica: ReplicaRoute,
    ) -> None:
        exchange: Exchange | None = None
        clock, failed = asyncio.get_running_loop().time, False
        try:
            exchange = await self._send(request, route, replica)
            choosing.router.answered(ticket.id, clock())
            await self._relay(exchange, client)
            self._pool.give_back(replica.url, exchange)
            exchange = None
        except ReplicaLost:
            failed = True
            raise
        finally:
            choosing.router.ended(ticket.id, clock(), failed=failed)
            if exchange is not None:
                exchange.abort()  # also when the client has left: that frees the engine

    async def _send(self, request: Request, route: ModelRoute, replica: ReplicaRoute) -> Exchange:
        """Send the request and wait for the head of its answer.

        A kept connection may have been closed by the replica at this very moment; that says nothing of the replica, so
        the request is sent once more on a fresh one.
        """
        data = _request_bytes(request, route, replica)
        exchange, fresh = await self._pool.take(replica.url)
        try:
            exchange.send(data)
            await exchange.head()
            return exchange
        except ReplicaLost:
            exchange.abort()
            if fresh:
                raise
        except BaseException:
            exchange.abort()
            raise
        exchange = await self._pool.fresh(replica.url)
        try:
            exchange.send(data)
            await exchange.head()
            return exchange
        except BaseException:
            exchange.abort()
            raise

    async def _relay(self, exchange: Exchange, client: Answering) -> None:
        headers = [header for header in exchange.headers if header[0] not in HOP_BY_HOP]
        if _is_stream(exchange.headers):
            client.begin(exchange.status, headers)
            async for piece in exchange.pieces():
                await client.piece(piece)
            client.end()
            return
        held: list[bytes] = []
        size = 0
        async for piece in exchange.pieces():
            if client.begun:
                await client.piece(piece)
                continue
            held.append(piece)
            size += len(piece)
            if size > BUFFER_BYTES:
                client.begin(exchange.status, headers)
                await client.piece(b"".join(held))
        if client.begun:
            client.end()
        else:
            client.answer(exchange.status, headers, b"".join(held))


def _is_stream(headers: list[Header]) -> bool:
    return any(name == b"content-type" and value.startswith(b"text/event-stream") for name, value in headers)


def _request_bytes(request: Request, route: ModelRoute, replica: ReplicaRoute) -> bytes:
    body = with_model(request.body, request.asked, route.upstream)
    lines = [b"%s %s HTTP/1.1" % (request.method, request.target)]
    lines.append(b"host: " + replica.url.removeprefix("http://").encode())
    lines.extend(b"%s: %s" % header for header in request.headers if header[0] not in NOT_FORWARDED)
    lines.append(b"x-request-id: " + request.id)
    lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
