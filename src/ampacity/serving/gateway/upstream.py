"""One connection to an engine: parsed in C, its bytes handed on as they are."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from .chunked import BadChunk, body_end
from .engines import Engine
from .heads import AnswerHead, answer_head
from .repeats import Repeat, repeated_answer

HEAD_END = b"\r\n\r\n"
MOST_HEAD_BYTES = 64 * 1024
MOST_KEPT_BYTES = 16 * 1024 * 1024
"""Of a body, so that another engine can go on where this one stopped."""


class Exchange(Protocol):
    """Who asked, and is told of the answer."""

    __slots__ = ()

    def headed(self, upstream: Upstream, head: AnswerHead) -> None: ...

    def piece(self, upstream: Upstream, data: bytes) -> None:
        """Bytes of the body, framing and all, that do not end it."""
        ...

    def completed(self, upstream: Upstream, data: bytes) -> None:
        """The body's last bytes. The connection is free for another request, or closes."""
        ...

    def lost(self, upstream: Upstream, why: str) -> None: ...


class Upstream(asyncio.Protocol):
    """One exchange at a time: ``ask`` begins one, the exchange is told of the answer.

    ``raw``: the body as it came, until it is complete; who does not need it any more sets it to ``None``.
    """

    __slots__ = (
        "_broken",
        "_buffer",
        "_complete",
        "_excess",
        "_exchange",
        "_head",
        "_interim",
        "_last_head",
        "_parser",
        "_repeat",
        "_status",
        "_transport",
        "body_bytes",
        "engine",
        "fresh",
        "raw",
    )

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.fresh = True
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._exchange: Exchange | None = None
        self._last_head: tuple[bytes, AnswerHead] = (b"", AnswerHead(status=0, forward=b""))
        self._repeat: Repeat | None = None
        self._reset()

    def _reset(self) -> None:
        self._buffer = b""
        self._head: AnswerHead | None = None
        self.raw: list[bytes] | None = []
        self.body_bytes = 0
        self._broken = ""
        self._complete = self._excess = self._interim = False
        self._status = 0

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes, exchange: Exchange) -> None:
        """Begin an exchange."""
        assert self._transport is not None, "asked before it was connected"
        self._exchange = exchange
        self.engine.in_flight += 1
        self._transport.write(request)

    def hand_to(self, exchange: Exchange) -> None:
        """Tell another one of the rest of the answer."""
        self._exchange = exchange

    def leave(self) -> None:
        """Nobody wants the answer any more: closing the connection frees the engine."""
        self._free()
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """It is not to be used any more."""
        self.leave()

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # Called by the event loop ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.close()  # bytes that nobody asked for must not become the next answer
            return
        repeat = self._repeat
        if repeat is not None and self._head is None and not (self._buffer or self._interim or self._broken):
            body = repeat.body_of(data)
            if body is not None:
                self._take_whole(body, exchange)
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._broken = f"the answer is no HTTP: {error}"
        if self._head is None:
            begun = self._take_head(data, exchange)
            if begun is None:
                return
            data = begun
        if self._complete:
            self._finish(data, exchange)
        elif self._broken:
            self._lose(self._broken)
        elif data:
            self.body_bytes += len(data)
            if self.raw is not None:
                self.raw.append(data)
                if self.body_bytes > MOST_KEPT_BYTES:
                    self.raw = None
            exchange.piece(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._exchange is None:
            self.engine.idle.pop(self, None)
        elif exc is None and self._head is not None and not self._head.framed:
            self._excess = True  # a body without a length ends with its connection
            self._finish(b"", self._exchange)
        else:
            self._lose(str(exc or "") or "the connection was closed")

    # Called by the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            self._excess = True

    def on_headers_complete(self) -> None:
        if not self._complete:
            self._status = self._parser.get_status_code()
            self._interim = self._status < 200

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        else:
            self._complete = True

    # The answer ------------------------------------------------------------------------------------------------------

    def _take_head(self, data: bytes, exchange: Exchange) -> bytes | None:
        """What follows the head; ``None`` when there is nothing to do yet, or no more."""
        if self._buffer:
            data = self._buffer + data
        while data.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")) and HEAD_END in data:
            data = data[data.find(HEAD_END) + 4 :]
        end = data.find(HEAD_END)
        if self._broken and not self._complete:
            self._lose(self._broken)
            return None
        if end < 0 or self._status < 200:
            self._buffer = data
            if len(data) > MOST_HEAD_BYTES:
                self._lose("the head of its answer has no end")
            return None
        self._buffer = b""
        raw = data[:end]
        if raw != self._last_head[0]:
            self._last_head = (raw, answer_head(raw, self._status))
            self._repeat = repeated_answer(raw, self._last_head[1])
        self._head = self._last_head[1]
        exchange.headed(self, self._head)
        return data[end + 4 :] if self._exchange is exchange else None

    def _take_whole(self, body: bytes, exchange: Exchange) -> None:
        """A whole answer with the last one's head. The parser has not seen it: it waits for the next one as before."""
        head = self._head = self._last_head[1]
        exchange.headed(self, head)
        if self._exchange is exchange:
            self._settle(body, exchange, stays=True)

    def _finish(self, data: bytes, exchange: Exchange) -> None:
        """The answer is complete: cut off what is not of it, and be ready for the next request."""
        head = self._head
        assert head is not None, "an answer ends after its head"
        if head.length >= 0:
            left = head.length - self.body_bytes
            self._excess = self._excess or len(data) > left
            data = data[:left]
        elif head.chunked and (self._excess or self._broken or not data.endswith(b"0\r\n\r\n")):
            try:
                data = self._cut_off(data)
            except BadChunk as error:
                self._lose(str(error))
                return
        self._settle(data, exchange, stays=head.framed and head.keep_alive and not (self._excess or self._broken))

    def _settle(self, data: bytes, exchange: Exchange, *, stays: bool) -> None:
        self._free()
        exchange.completed(self, data)
        self._reset()
        self.fresh = False
        if stays and self.usable:
            self.engine.keep(self)
        else:
            self.close()

    def _free(self) -> None:
        """Nobody listens any more."""
        if self._exchange is not None:
            self._exchange = None
            self.engine.in_flight -= 1

    def _cut_off(self, data: bytes) -> bytes:
        """What belongs to the chunked body. Raises ``BadChunk`` when that cannot be told any more."""
        if self.raw is None:
            raise BadChunk("something follows its answer")
        end = body_end(b"".join(self.raw) + data) - self.body_bytes
        self._excess = self._excess or end < len(data)
        return data[:end]

    def _lose(self, why: str) -> None:
        exchange = self._exchange
        self.leave()
        if exchange is not None:
            exchange.lost(self, why)
