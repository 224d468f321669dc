"""One inference request: choose a replica, pass the request on, relay the answer; on a death try another."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from ampacity.serving.routing import Load, Router
from ampacity.serving.routing.least_loaded import restore, set_aside
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


class Relay:
    """Knows the table, the replicas' loads and the connections to them."""

    def __init__(self, tables: Tables, router: Router) -> None:
        self._tables, self._router, self._pool = tables, router, Pool()
        self._loads: dict[str, Load] = defaultdict(Load)

    async def serve(self, request: Request, client: Answering) -> None:
        """Answer the request. Raises ``Refusal`` when nothing was passed on and nobody can answer it."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_FOR_REPLICA_S
        tried: set[str] = set()
        while True:
            route = self._tables.route(request.asked.model)
            replica = self._router.choose(route, self._loads, now=loop.time(), exclude=tried)
            if replica is None:
                await self._await_replica(route, deadline)
                tried.clear()
                continue
            try:
                await self._attempt(request, client, route, replica)
                return
            except ReplicaLost as error:
                self._note_loss(replica, error)
                if client.begun:
                    await self._break_off(request, client, error)
                    return
                tried.add(replica.id)

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

    def _note_loss(self, replica: ReplicaRoute, error: ReplicaLost) -> None:
        log.warning("replica %s at %s: %s", replica.id, replica.url, error)
        set_aside(self._loads[replica.id], asyncio.get_running_loop().time())
        self._pool.forget(replica.url)

    @staticmethod
    async def _break_off(request: Request, client: Answering, error: ReplicaLost) -> None:
        """A stream that broke in the middle ends with an error that clients understand, and a cut connection."""
        if request.asked.stream:
            await client.piece(b"data: " + error_body(502, f"The replica was lost: {error}.", "replica_lost") + b"\n\n")
        client.cut()

    async def _attempt(self, request: Request, client: Answering, route: ModelRoute, replica: ReplicaRoute) -> None:
        load = self._loads[replica.id]
        load.in_flight += 1
        exchange: Exchange | None = None
        try:
            exchange = await self._send(request, route, replica)
            await self._relay(exchange, client)
            load.served += 1
            restore(load)
            self._pool.give_back(replica.url, exchange)
            exchange = None
        finally:
            load.in_flight -= 1
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
