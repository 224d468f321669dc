"""The client's side: one connection, parsed in C, one request at a time."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from typing import cast

import httptools
import orjson

from ampacity.model.access import ApiKey
from ampacity.serving.admission import Refused
from ampacity.serving.admission.access import may_use, model_refused

from .answers import JSON, LAST_CHUNK, Header, Refusal, chunk, head, refusal_of, whole
from .body import Asked, read_body
from .relay import Relay, Request
from .tables import Tables

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 64 * 1024 * 1024
HEAD_LIMIT_S = 20.0
"""How long a request's head and, piece by piece, its body may take to come."""

IDLE_LIMIT_S = 120.0


class Connection(asyncio.Protocol):
    """One client. Fulfils :class:`ampacity.serving.gateway.relay.Answering`."""

    def __init__(self, relay: Relay, tables: Tables, connections: set[Connection]) -> None:
        self._relay, self._tables, self._connections = relay, tables, connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._draining = self._broken = self._pipelined = False
        self._parser = httptools.HttpRequestParser(self)
        self._new_request()

    def _new_request(self) -> None:
        self._target = b""
        self._headers: list[Header] = []
        self._head_bytes = 0
        self._head_done = False
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._keep_alive = True
        self._begun = False
        self._chunked = False

    # Answering -----------------------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        return self._begun

    @property
    def busy(self) -> bool:
        return self._task is not None

    def answer(self, status: int, headers: list[Header], body: bytes) -> None:
        self._begun = True
        self._write(whole(status, headers, body, keep_alive=self._stays()))

    def begin(self, status: int, headers: list[Header]) -> None:
        self._begun = self._chunked = True
        framing: Header = (b"transfer-encoding", b"chunked")
        self._write(head(status, (*headers, framing), keep_alive=self._stays()))

    async def piece(self, data: bytes) -> None:
        if data:
            self._write(chunk(data))
        await self._writable.wait()

    def end(self) -> None:
        if self._chunked:
            self._write(LAST_CHUNK)

    def cut(self) -> None:
        self._broken = True

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _stays(self) -> bool:
        """Whether the connection is kept after this answer."""
        return self._keep_alive and not (self._draining or self._broken or self._pipelined)

    # Called by the event loop ----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self)
        self._await_bytes(HEAD_LIMIT_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._stop_timer()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self._task is not None:
            self._pipelined = True
            return
        if not self._head_done:
            self._head_bytes += len(data)
        self._await_bytes(HEAD_LIMIT_S)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Refusal(400, "This endpoint cannot be upgraded to another protocol.", close=True))
        except httptools.HttpParserCallbackError as error:
            refusal = error.__context__
            self._refuse(refusal if isinstance(refusal, Refusal) else Refusal(400, str(error), close=True))
        except httptools.HttpParserError as error:
            self._refuse(Refusal(400, f"This is no HTTP/1.1 request: {error}.", close=True))
        else:
            if not self._head_done and self._head_bytes > MOST_HEAD_BYTES:
                self._refuse(Refusal(431, f"The headers are longer than {MOST_HEAD_BYTES} bytes.", close=True))

    # Called by the parser --------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._task is not None:
            self._pipelined = True

    def on_url(self, url: bytes) -> None:
        if self._task is None:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._task is None:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if self._task is not None:
            return
        self._head_done = True
        self._keep_alive = self._parser.should_keep_alive()
        declared = next((value for name, value in self._headers if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > MOST_BODY_BYTES:
            raise _too_large()
        if any(name == b"expect" and value.lower() == b"100-continue" for name, value in self._headers):
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if self._task is not None:
            return
        self._body_bytes += len(body)
        if self._body_bytes > MOST_BODY_BYTES:
            raise _too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._task is not None:
            return
        self._stop_timer()
        self._task = self._loop.create_task(self._respond())

    # One request -----------------------------------------------------------------------------------------------------

    async def _respond(self) -> None:
        try:
            await self._dispatch(self._parser.get_method())
        except Refusal as refusal:
            self._answer_refusal(refusal)
        except asyncio.CancelledError:
            return
        except Exception:
            log.exception("a request could not be served")
            if self._begun:
                self.cut()
            else:
                self._answer_refusal(Refusal(500, "The gateway failed; its log says why.", close=True))
        self._finish()

    async def _dispatch(self, method: bytes) -> None:
        path = self._target.partition(b"?")[0]
        if path == b"/health":
            self.answer(200, [JSON], b'{"status":"ok"}')
        elif path == b"/v1/models" and method == b"GET":
            self.answer(200, [JSON], self._models(self._who()))
        elif path.startswith(b"/v1/") and method == b"POST":
            who = self._who()
            body = b"".join(self._body)
            asked = self._allowed(read_body(body), who)
            ident = next((value for name, value in self._headers if name == b"x-request-id"), b"")
            request = Request(
                method=method,
                target=self._target,
                headers=tuple(header for header in self._headers if header[0] != b"x-request-id"),
                body=body,
                asked=asked,
                id=ident or secrets.token_hex(8).encode(),
            )
            await self._relay.serve(request, self)
        elif path.startswith(b"/v1/"):
            raise Refusal(405, f"{method.decode(errors='replace')} is not answered here; POST is.")
        else:
            shown = path.decode(errors="replace")
            raise Refusal(404, f"There is nothing at {shown}. The API is under /v1, as in /v1/chat/completions.")

    def _who(self) -> ApiKey | None:
        """Whose key came with the request. Raises ``Refusal`` (401)."""
        shown = next((value for name, value in self._headers if name == b"authorization"), None)
        who = self._tables.doorkeeper.who(shown, time.time())
        if isinstance(who, Refused):
            raise refusal_of(who)
        return who

    def _allowed(self, asked: Asked, who: ApiKey | None) -> Asked:
        """Raises ``Refusal`` where the model is not there, or the key does not open it."""
        self._tables.route(asked.model)
        if who is not None and not may_use(who, asked.model):
            raise refusal_of(model_refused(who, asked.model))
        return asked

    def _models(self, who: ApiKey | None) -> bytes:
        data = [
            {"id": route.name, "object": "model", "created": 0, "owned_by": "ampacity"}
            for route in self._tables.table.models
            if may_use(who, route.name)
        ]
        return orjson.dumps({"object": "list", "data": data})

    def _finish(self) -> None:
        """The answer is out: be ready for the next request, or close."""
        stays = self._stays()
        self._task = None
        if self._transport is None or self._transport.is_closing():
            return
        if not stays:
            self._transport.close()
            return
        self._new_request()
        self._await_bytes(IDLE_LIMIT_S)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer a request that could not be read to its end, and close."""
        if self._task is not None:
            self._pipelined = True
            return
        self._answer_refusal(refusal)
        if self._transport is not None:
            self._transport.close()

    def _answer_refusal(self, refusal: Refusal) -> None:
        self._keep_alive = self._keep_alive and not refusal.close
        self.answer(refusal.status, [JSON, *refusal.headers], refusal.body())

    # Time limits and the end -----------------------------------------------------------------------------------------

    def _await_bytes(self, limit_s: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(limit_s, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._transport is None or self._task is not None:
            return
        if self._head_bytes:
            self._refuse(Refusal(408, "The request did not come in time.", close=True))
        else:
            self._transport.close()

    def drain(self) -> None:
        """Take no further request; close at once when there is none under way."""
        self._draining = True
        if self._task is None and self._transport is not None:
            self._transport.close()


def _too_large() -> Refusal:
    return Refusal(413, f"The body is larger than {MOST_BODY_BYTES} bytes.", close=True)


def factory(relay: Relay, tables: Tables, connections: set[Connection]) -> Callable[[], Connection]:
    """What the server makes a connection with."""
    return lambda: Connection(relay, tables, connections)
