"""One request on a connection of its own or a kept one: as little work as will do, so that what is measured is the
endpoint."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

import httptools

from ampacity.model.errors import InvalidSpec, Where

_TOKENS = re.compile(rb'"(?:completion_tokens|output_tokens)"\s*:\s*(\d+)')
_DONE = b"data: [DONE]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where requests go. ``path`` ends without a stroke."""

    host: str
    port: int
    path: str
    tls: bool
    key: str = ""

    def head(self, path: str, length: int) -> bytes:
        key = f"authorization: Bearer {self.key}\r\n" if self.key else ""
        return (
            f"POST {self.path}{path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\n{key}"
            f"content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ).encode()


def target_of(url: str, key: str = "") -> Target:
    """Raises ``InvalidSpec`` for what is no address."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
        raise InvalidSpec(
            f"{url!r} is no address of an endpoint.", where=Where(key="URL"), hint="Such as http://127.0.0.1:7411/v1."
        )
    tls = parts.scheme == "https"
    path = parts.path.rstrip("/") or "/v1"
    return Target(host=parts.hostname, port=port or (443 if tls else 80), path=path, tls=tls, key=key)


class Exchange(asyncio.Protocol):
    """``ask`` sends a request; ``done`` is set when its answer is complete or cannot come any more.

    ``first_at`` and ``ended_at`` are the loop's times. ``broken``: why no whole answer came.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.status = 0
        self.first_at: float | None = None
        self.ended_at = 0.0
        self.events = 0
        self.broken = ""
        self.body = bytearray()
        self._streamed = False

    @property
    def reusable(self) -> bool:
        open_ = self._transport is not None and not self._transport.is_closing()
        return open_ and not self.broken and self.done.done() and bool(self._parser.should_keep_alive())

    def ask(self, request: bytes) -> None:
        assert self._transport is not None, "asked before it was connected"
        self._reset()
        self._transport.write(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def output_tokens(self) -> int:
        """As the engine counted them, else one for each event."""
        found = _TOKENS.findall(bytes(self.body[-2048:]))
        return int(found[-1]) if found else self.events

    # Called by the event loop and the parser -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"the answer is no HTTP: {error}")
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc or "") or "the connection was closed")

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            self._streamed = True

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        if self._streamed:
            self.events += body.count(b"data: ") - body.count(_DONE)
            if self.first_at is None and self.events > 0:
                self.first_at = self._loop.time()
            if b'"error"' in body and b'"choices"' not in body:
                self.broken = self.broken or "the stream ended with an error"
            self.body[:] = body[-2048:] if b'"usage"' in body else self.body
        elif len(self.body) < 1 << 20:
            self.body += body

    def on_message_complete(self) -> None:
        self._end("")

    def _end(self, broken: str) -> None:
        if not self.done.done():
            self.broken = self.broken or broken
            self.ended_at = self._loop.time()
            self.done.set_result(None)


class Connections:
    """Kept connections to one endpoint; as many as are needed at once."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._tls = ssl.create_default_context() if target.tls else None
        self._idle: list[Exchange] = []

    async def take(self) -> Exchange:
        """Raises ``OSError``."""
        while self._idle:
            kept = self._idle.pop()
            if kept.reusable:
                return kept
        loop = asyncio.get_running_loop()
        _, exchange = await loop.create_connection(Exchange, self._target.host, self._target.port, ssl=self._tls)
        return exchange

    def give_back(self, exchange: Exchange) -> None:
        if exchange.reusable:
            self._idle.append(exchange)
        else:
            exchange.close()

    def close(self) -> None:
        for exchange in self._idle:
            exchange.close()
