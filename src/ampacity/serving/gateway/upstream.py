"""Connections to replicas: kept alive in a pool, one exchange at a time, read no faster than the client takes it."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from typing import cast

import httptools

from .answers import Header

HIGH_WATER_BYTES = 256 * 1024
CONNECT_LIMIT_S = 5.0
IDLE_PER_REPLICA = 256


class ReplicaLost(Exception):
    """The replica refused, cut or garbled the exchange. Nothing is said about whether it had begun to answer."""


class Exchange(asyncio.Protocol):
    """One connection to a replica. ``send`` begins an exchange, ``head`` and ``pieces`` are its answer."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._lost: Exception | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.status = 0
        self.headers: list[Header] = []
        self._framed = False
        self._has_head = self._complete = False
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._news = asyncio.Event()

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on this connection."""
        open_ = self._transport is not None and not self._transport.is_closing() and self._lost is None
        return open_ and self._complete and self._framed and bool(self._parser.should_keep_alive())

    def send(self, request: bytes) -> None:
        """Begin an exchange. Raises ``ReplicaLost`` when the connection is gone."""
        if self._transport is None or self._transport.is_closing() or self._lost is not None:
            raise ReplicaLost("the connection is closed")
        self._reset()
        self._transport.write(request)

    async def head(self) -> int:
        """Wait for status and headers; the status. Raises ``ReplicaLost``."""
        while not self._has_head:
            await self._wait()
        return self.status

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, piece by piece. Raises ``ReplicaLost`` when it ends too early."""
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._waiting_bytes -= len(piece)
                self._resume()
                yield piece
            if self._complete:
                return
            await self._wait()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self) -> None:
        if self._lost is not None and not self._complete:
            raise ReplicaLost(str(self._lost) or "the connection was closed")
        self._news.clear()
        await self._news.wait()
        if self._lost is not None and not self._complete and not self._pieces:
            raise ReplicaLost(str(self._lost) or "the connection was closed")

    def _resume(self) -> None:
        if self._paused and self._waiting_bytes < HIGH_WATER_BYTES // 2 and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # Called by the event loop ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lost = self._lost or ReplicaLost(f"the answer is no HTTP: {error}")
            self.abort()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or exc or ReplicaLost("the connection was closed")
        if self._has_head and not self._framed and exc is None:
            self._complete = True  # a body without a length ends with its connection
        self._news.set()

    # Called by the parser --------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        self._framed = self._framed or lower in (b"content-length", b"transfer-encoding")
        self.headers.append((lower, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers.clear()
            return
        self._framed = self._framed or self.status in (204, 304)
        self._has_head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting_bytes += len(body)
        if self._waiting_bytes > HIGH_WATER_BYTES and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self._has_head:
            self._complete = True


class Pool:
    """Idle connections by address."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, int], deque[Exchange]] = defaultdict(deque)

    async def take(self, url: str) -> tuple[Exchange, bool]:
        """A connection, and whether it is fresh. Raises ``ReplicaLost``."""
        address = _address(url)
        idle = self._idle[address]
        while idle:
            kept = idle.pop()
            if kept.reusable:
                return kept, False
        return await self._connect(address), True

    async def fresh(self, url: str) -> Exchange:
        """A new connection. Raises ``ReplicaLost``."""
        return await self._connect(_address(url))

    def give_back(self, url: str, exchange: Exchange) -> None:
        idle = self._idle[_address(url)]
        if exchange.reusable and len(idle) < IDLE_PER_REPLICA:
            idle.append(exchange)
        else:
            exchange.abort()

    def forget(self, url: str) -> None:
        """Close the idle connections to a replica that is gone."""
        for exchange in self._idle.pop(_address(url), ()):
            exchange.abort()

    @staticmethod
    async def _connect(address: tuple[str, int]) -> Exchange:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                _, exchange = await loop.create_connection(Exchange, *address)
        except (OSError, TimeoutError) as error:
            raise ReplicaLost(str(error) or "no connection in time") from error
        return exchange


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    return host.strip("[]"), int(port)
