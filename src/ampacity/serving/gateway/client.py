"""The client's side: one connection, one request at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import cast

import httptools

from ampacity.serving.admission import Ending
from ampacity.serving.routing.base import EngineId

from .answers import CLOSED, CONTINUE, KEPT, Header, Refusal, failed, whole
from .body import read_body
from .core import Core
from .flight import Flight
from .heads import RequestHead, refuse_unsound, request_head
from .pages import local_answer
from .remote_desk import UnderWay
from .repeats import Repeat, repeat_of
from .visit import Host, Visit
from .wheel import NEVER

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024
READ_LIMIT_S = 20.0
"""How long a request's head may take to come, and each piece of its body."""

LEAST_BYTES_S = 1000
"""A body that comes in drops gets no more time than that, and a second for each so many bytes: it holds memory."""

IDLE_LIMIT_S = 120.0
BROKEN_OFF, CLIENT_LEFT = 502, 499
"""How the books call an answer that was cut short: its engine was lost, or its client has left (as nginx has it)."""


class Client(asyncio.Protocol, Host):
    """One client. Fulfils :class:`ampacity.serving.gateway.visit.Host` and
    :class:`ampacity.serving.gateway.wheel.Timed`."""

    __slots__ = (
        "_began_at",
        "_body",
        "_body_bytes",
        "_busy",
        "_closing",
        "_core",
        "_flight",
        "_head",
        "_head_bytes",
        "_headers",
        "_out",
        "_parser",
        "_pipelined",
        "_read",
        "_repeat",
        "_repeated",
        "_target",
        "_transport",
        "_visit",
        "due",
        "slot",
    )

    def __init__(self, core: Core) -> None:
        self._core = core
        self.due, self.slot = NEVER, 0
        self._out: Callable[[bytes], None] = _nowhere
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._flight: Flight | None = None
        self._visit: Visit | None = None
        self._repeat: Repeat | None = None
        self._repeated: RequestHead | None = None
        self._busy = self._closing = self._pipelined = False
        self._new_request()

    def _new_request(self) -> None:
        self._head: RequestHead | None = None
        self._head_bytes = self._body_bytes = 0
        self._began_at = monotonic()
        self._target = b""
        self._headers: list[Header] = []
        self._body: list[bytes] = []
        self._read = b""

    # Answering: called by the flight ---------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._out(data)

    def connection_line(self) -> bytes:
        return KEPT if self._stays() else CLOSED

    def refuse(self, refusal: Refusal) -> None:
        self._closing = self._closing or refusal.close
        flight, visit, self._visit = self._flight, self._visit, None
        self.answer(refusal.status, (*refusal.headers, (b"content-type", b"application/json")), refusal.body())
        if visit is not None:
            visit.over(Ending.FAILED, refusal.status, flight)

    def answer(self, status: int, headers: tuple[Header, ...], body: bytes) -> None:
        """A whole answer of the gateway's own."""
        self.write(whole(status, headers, body, keep_alive=self._stays()))
        self.answered()

    def answered(self) -> None:
        flight, visit = self._flight, self._visit
        self._busy, self._flight, self._visit = False, None, None
        if self._stays():
            self._head = None
            self.due = self._core.wheel.now + IDLE_LIMIT_S
        else:
            self._close()
        if visit is not None:
            status = 500 if flight is None else flight.status
            visit.over(Ending.COMPLETE if status < 400 else Ending.FAILED, status, flight)

    def cut(self) -> None:
        flight, visit = self._flight, self._visit
        self._busy, self._flight, self._visit = False, None, None
        self._close()
        if visit is not None:
            visit.over(Ending.ABANDONED, BROKEN_OFF, flight)

    def limit(self, due: float) -> None:
        self.due = due
        if due - self._core.wheel.now < self._core.wheel.turn_s:
            self._core.wheel.hasten(self)

    def _stays(self) -> bool:
        """Whether the connection is kept after this answer."""
        kept = self._head is not None and self._head.keep_alive
        return kept and not (self._closing or self._pipelined or self._core.draining)

    def _close(self) -> None:
        self._closing = True
        self._out = _nowhere
        if self._transport is not None:
            self._transport.close()

    # Called by the event loop ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._out = self._transport.write
        self._core.clients.add(self)
        self.limit(monotonic() + READ_LIMIT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._core.clients.discard(self)
        self._core.wheel.forget(self)
        self._closing, self._out = True, _nowhere
        flight, visit = self._flight, self._visit
        self._flight, self._visit = None, None
        if flight is not None:
            flight.leave()
        if visit is not None:
            visit.over(Ending.ABANDONED, CLIENT_LEFT, flight)

    def pause_writing(self) -> None:
        if self._flight is not None:
            self._flight.pause()

    def resume_writing(self) -> None:
        if self._flight is not None:
            self._flight.resume()

    def data_received(self, data: bytes) -> None:
        if self._busy or self._closing:
            self._pipelined = True
            return
        repeat = self._repeat
        if repeat is not None and self._head is None and not self._head_bytes:
            body = repeat.body_of(data)
            if body is not None:
                self._head = self._repeated
                self._serve(body)
                return
        self._parse(data)

    def _parse(self, data: bytes) -> None:
        if not self._head_bytes:
            self._new_request()
        self._read = data
        if self._head is not None or not self._head_bytes:
            rate_due = self._began_at + READ_LIMIT_S + self._body_bytes / LEAST_BYTES_S
            self.limit(min(monotonic() + READ_LIMIT_S, rate_due))  # a head's limit is set once: drops are no reason
        if self._head is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(Refusal(400, "This endpoint cannot be upgraded to another protocol.", close=True))
        except httptools.HttpParserCallbackError as error:
            refusal = error.__context__
            self._reject(refusal if isinstance(refusal, Refusal) else Refusal(400, str(error), close=True))
        except httptools.HttpParserError as error:
            self._reject(Refusal(400, f"This is no HTTP/1.1 request: {error}.", close=True))
        else:
            if self._head is None and self._head_bytes > MOST_HEAD_BYTES:
                self._reject(Refusal(431, f"The headers are longer than {MOST_HEAD_BYTES} bytes.", close=True))

    # Called by the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._busy or self._closing:
            self._pipelined = True

    def on_url(self, url: bytes) -> None:
        if not self._busy:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._busy:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._busy:
            return
        parser = self._parser
        self._head = request_head(
            parser.get_method(),
            self._target,
            self._headers,
            keep_alive=parser.should_keep_alive(),
            version=parser.get_http_version(),
        )
        declared = next((value for name, value in self._headers if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > MOST_BODY_BYTES:
            raise _too_large()
        refuse_unsound(parser.get_http_version(), self._headers)
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers):
            self.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._busy:
            return
        self._body_bytes += len(body)
        if self._body_bytes > MOST_BODY_BYTES:
            raise _too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._busy or self._head is None:
            return
        if self._head_bytes == len(self._read):  # head and body came at once
            self._repeat, self._repeated = repeat_of(self._read, self._headers), self._head
        body = b"".join(self._body)
        self._headers, self._body, self._read, self._head_bytes = [], [], b"", 0
        self._serve(body)

    # One request -----------------------------------------------------------------------------------------------------

    def _serve(self, body: bytes) -> None:
        head = self._head
        assert head is not None, "a request is served after its head"
        self._busy = True
        try:
            if head.method == b"POST" and head.path.startswith(b"/v1/"):
                who = self._core.who(head)
                self._visit = visit = Visit(self._core, self, head, body, read_body(body))
                visit.begin(who)
            else:
                self.answer(*local_answer(head, self._core, near=self._is_near))
        except Refusal as refusal:
            self.refuse(refusal)
        except Exception:
            log.exception("a request could not be served")
            if self._flight is not None:
                self._flight.leave()
            self.refuse(failed())

    def _is_near(self) -> bool:
        """Whether the client is on this machine."""
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        return isinstance(peer, tuple) and peer[0] in ("127.0.0.1", "::1")

    def fly(self, flight: Flight | None) -> None:
        self._flight = flight

    def _reject(self, refusal: Refusal) -> None:
        """Answer a request that could not be read to its end, and close."""
        if self._busy:
            self._pipelined = True  # what follows a request that is being served is nonsense: it is served alone
            return
        self._busy = self._closing = True
        self.refuse(refusal)

    def expire(self, now: float) -> None:
        if self._flight is not None:
            self._flight.expire(now)
        elif self._visit is not None:
            self._visit.expire(now)
        elif self._head_bytes and not self._busy:
            self._reject(Refusal(408, "The request did not come in time.", close=True))
        else:
            self._close()

    def engine_silent(self, engine: EngineId) -> None:
        if self._flight is not None:
            self._flight.engine_silent(engine)

    def under_way(self) -> UnderWay | None:
        """Its request, if an engine has it."""
        flight = self._flight
        if flight is None or flight.upstream is None:
            return None
        return UnderWay(
            request=flight.visit.request,
            model=flight.route.name,
            engine=flight.upstream.engine.id,
            answered=flight.first_at > 0.0,
        )

    def drain(self) -> None:
        """Take no further request; close at once when there is none under way."""
        if not self._busy:
            self._close()


def _nowhere(data: bytes) -> None:
    """Where answers go when the client has left."""


def _too_large() -> Refusal:
    return Refusal(413, f"The body is larger than {MOST_BODY_BYTES} bytes.", close=True)
