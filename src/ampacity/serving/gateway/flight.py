"""One request on its way: bound to an engine, sent, its answer relayed; sent again when the engine died."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ampacity.serving.routing.base import NO_ENGINES, EngineId, Ticket
from ampacity.serving.table import ModelRoute

from .answers import Refusal, chunk, error_body
from .body import Asked, with_model
from .chunked import BadChunk, Dechunker
from .engines import Engine, EngineLost, connect
from .heads import AnswerHead, RequestHead
from .streams import Stream, stream_for
from .upstream import Upstream

if TYPE_CHECKING:
    from .core import Core
    from .lines import Line

log = logging.getLogger(__name__)

WAIT_FOR_ENGINE_S = 10.0
"""How long a request waits for an engine when there is none that it has not tried."""

LOOK_AGAIN_S = 0.25
FIRST_BYTE_LIMIT_S = 600.0
STALL_LIMIT_S = 300.0
"""How long an engine may be silent within an answer."""

BUFFER_BYTES = 8 * 1024 * 1024
"""An answer that is not streamed is held back until it is whole, up to this size: so its engine may die unnoticed."""

OVERLOADED = frozenset((429, 502, 503, 504))
"""What an engine says that another one may not say."""


class Answering(Protocol):
    """The client's side of a request."""

    def write(self, data: bytes) -> None: ...

    def connection_line(self) -> bytes:
        """The header line that says whether the connection is kept after this answer."""
        ...

    def refuse(self, refusal: Refusal) -> None: ...

    def answered(self) -> None:
        """The answer is out."""
        ...

    def cut(self) -> None:
        """End the connection: the answer cannot be completed."""
        ...

    def limit(self, due: float) -> None:
        """Call the flight's ``expire`` then."""
        ...


class Flight:
    """Fulfils :class:`ampacity.serving.gateway.upstream.Exchange` and :class:`ampacity.serving.gateway.lines.Bound`."""

    __slots__ = (
        "_asked",
        "_body",
        "_client",
        "_connecting",
        "_core",
        "_deadline",
        "_head",
        "_held",
        "_held_bytes",
        "_line",
        "_pending",
        "_request",
        "_retried",
        "_route",
        "_seen_bytes",
        "_stream",
        "_through",
        "_upstream",
        "id",
        "ticket",
    )

    def __init__(self, core: Core, client: Answering, request: RequestHead, body: bytes, asked: Asked) -> None:
        self._core, self._client, self._request, self._body, self._asked = core, client, request, body, asked
        self._route: ModelRoute = core.tables.route(asked.model)
        self._line: Line = core.line(asked.model)
        self.id = request.request_id or core.next_request_id()
        now = monotonic()
        self.ticket = Ticket(core.next_ticket(), arrived=now, tokens=asked.prompt_bytes // 4)
        self._deadline = now + WAIT_FOR_ENGINE_S
        self._upstream: Upstream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retried = False
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Forget what an engine that failed had said."""
        self._head: AnswerHead | None = None
        self._stream: Stream | None = None
        self._pending = b""
        self._held: list[bytes] = []
        self._held_bytes = self._seen_bytes = 0
        self._through = False

    @property
    def _begun(self) -> bool:
        """Whether a byte of the answer has been passed on."""
        return self._through or (self._stream is not None and not self._pending)

    def start(self) -> None:
        now = monotonic()
        engine = self._line.offer(self, now)
        if engine is None:
            self._client.limit(now + LOOK_AGAIN_S)
        else:
            self.bound(engine)

    # Sending ---------------------------------------------------------------------------------------------------------

    def bound(self, engine: EngineId) -> None:
        """Called by the line, at once or later: send the request there."""
        self._client.limit(monotonic() + FIRST_BYTE_LIMIT_S)
        found = self._core.engines.get(engine)
        if found is None:
            self._fail(engine, "it has left")
            return
        kept = found.kept()
        if kept is not None:
            self._send(kept)
        else:
            self._connect(found)

    def _connect(self, engine: Engine) -> None:
        self._connecting = asyncio.get_running_loop().create_task(self._send_on_fresh(engine))

    async def _send_on_fresh(self, engine: Engine) -> None:
        try:
            upstream = await connect(engine, Upstream)
        except EngineLost as error:
            self._connecting = None
            self._fail(engine.id, str(error))
            return
        self._connecting = None
        if upstream.usable:
            self._send(upstream)
        else:
            self._fail(engine.id, "the connection was closed")

    def _send(self, upstream: Upstream) -> None:
        self._upstream = upstream
        request = self._request
        body = self._body
        if self._asked.model != self._route.upstream:
            body = with_model(body, self._asked, self._route.upstream)
        upstream.ask(
            b"%s %s HTTP/1.1\r\nhost: %s\r\n%sx-request-id: %s\r\ncontent-length: %d\r\n\r\n%s"
            % (request.method, request.target, upstream.engine.host, request.forward, self.id, len(body), body),
            self,
        )

    # The answer: called by the upstream ------------------------------------------------------------------------------

    def headed(self, upstream: Upstream, head: AnswerHead) -> None:
        if head.status in OVERLOADED and self._core.has_other(self._route, self.ticket.excluded | {upstream.engine.id}):
            upstream.leave()
            self._upstream = None
            self._fail(upstream.engine.id, f"it answered {head.status}")
            return
        self._head = head
        self._line.answered(self.ticket.id, monotonic())
        if head.events:
            self._stream = stream_for(head, chunks=self._request.chunks)
            self._pending = head.forward + self._stream.framing + self._client.connection_line() + b"\r\n"
            self._client.limit(monotonic() + STALL_LIMIT_S)

    def piece(self, upstream: Upstream, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            self._hold(upstream, data)
            return
        try:
            data = stream.piece(data)
        except BadChunk as error:
            self._abandon(str(error))
            return
        if data:
            self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self._pending:
            data = self._pending + data
            self._pending = b""
        self._client.write(data)

    def _hold(self, upstream: Upstream, data: bytes) -> None:
        if self._through:
            self._client.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        head = self._head
        if self._held_bytes > BUFFER_BYTES and self._request.chunks and head is not None and head.framed:
            framing = b"transfer-encoding: chunked" if head.chunked else b"content-length: %d" % head.length
            line = self._client.connection_line()
            self._client.write(b"%s%s\r\n%s\r\n%s" % (head.forward, framing, line, b"".join(self._held)))
            self._through, self._held, upstream.raw = True, [], None

    def completed(self, upstream: Upstream, data: bytes) -> None:
        self._upstream = None
        try:
            answer = self._last(data)
        except BadChunk as error:
            self._fail(upstream.engine.id, str(error))
            return
        self._line.ended(self.ticket.id, monotonic(), None, False)
        self._client.write(answer)
        self._client.answered()

    def _last(self, data: bytes) -> bytes:
        """What completes the answer. Raises ``BadChunk``."""
        head = self._head
        assert head is not None, "an answer ends after its head"
        if self._stream is not None:
            return self._pending + self._stream.last(data)
        if self._through:
            return data
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
        line = self._client.connection_line()
        if head.chunked:
            if self._request.chunks:
                return b"%stransfer-encoding: chunked\r\n%s\r\n%s" % (head.forward, line, data)
            data = Dechunker().feed(data)
        return b"%scontent-length: %d\r\n%s\r\n%s" % (head.forward, len(data), line, data)

    # Failing ---------------------------------------------------------------------------------------------------------

    def lost(self, upstream: Upstream, why: str) -> None:
        """A kept connection may have been closed by the engine at this very moment: that says nothing of the engine,
        so the request is sent once more on a fresh one."""
        self._upstream = None
        if not upstream.fresh and self._head is None and not self._retried:
            self._retried = True
            self._connect(upstream.engine)
            return
        self._fail(upstream.engine.id, why)

    def _fail(self, engine: EngineId, why: str) -> None:
        """This engine does not answer: another one shall, unless something was passed on already."""
        self._core.note_loss(engine, why)
        now = monotonic()
        self._line.ended(self.ticket.id, now, None, True)
        if self._begun:
            self._break_off(why)
            return
        self._begin_anew()
        self._retried = False
        self._offer_again(now, self.ticket.excluded | {engine})

    def _offer_again(self, now: float, excluded: frozenset[EngineId]) -> None:
        before = self.ticket
        self.ticket = Ticket(
            self._core.next_ticket(),
            arrived=before.arrived,
            tokens=before.tokens,
            blocks=before.blocks,
            excluded=excluded,
        )
        engine = self._line.offer(self, now)
        if engine is None:
            self._client.limit(now + LOOK_AGAIN_S)
        else:
            self.bound(engine)

    def _abandon(self, why: str) -> None:
        """The answer cannot be passed on any further."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.leave()
            self._fail(upstream.engine.id, why)

    def _break_off(self, why: str) -> None:
        """A stream that broke in the middle ends with an error that clients understand, and a cut connection."""
        if self._stream is not None:
            event = b"data: " + error_body(502, f"The replica was lost: {why}.", "replica_lost") + b"\n\n"
            self._client.write(chunk(event) if self._request.chunks else event)
        self._client.cut()

    # Called by the client's connection -------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """The time limit that was set last has passed."""
        if self._upstream is None and self._connecting is None:
            self._waited(now)
        elif self._head is None:
            self._give_up(Refusal(504, f"The replica did not answer within {FIRST_BYTE_LIMIT_S:g} s.", code="timeout"))
        elif self._upstream is not None:
            self._watch(now, self._upstream)

    def _waited(self, now: float) -> None:
        """No engine has taken it so far: those that failed may be tried again."""
        self._line.withdrawn(self.ticket.id, now)
        if now < self._deadline:
            self._offer_again(now, NO_ENGINES)
            return
        what = "answers" if self._route.replicas else "is ready"
        refusal = Refusal(
            503, f"No replica of {self._route.name!r} {what}.", code="no_replica", headers=((b"retry-after", b"5"),)
        )
        self._client.refuse(refusal)

    def _watch(self, now: float, upstream: Upstream) -> None:
        if upstream.body_bytes == self._seen_bytes:
            self._abandon(f"it was silent for {STALL_LIMIT_S:g} s")
            return
        self._seen_bytes = upstream.body_bytes
        self._client.limit(now + STALL_LIMIT_S)

    def _give_up(self, refusal: Refusal) -> None:
        self.leave()
        self._client.refuse(refusal)

    def leave(self) -> None:
        """The client has left, or was refused: free the engine."""
        now = monotonic()
        upstream, self._upstream = self._upstream, None
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if upstream is not None:
            upstream.leave()
        self._line.withdrawn(self.ticket.id, now)
        self._line.ended(self.ticket.id, now, None, False)

    def pause(self) -> None:
        """The client takes no more for now."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        if self._upstream is not None:
            self._upstream.resume()
