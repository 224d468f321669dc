"""One engine's answer on its way to the client: streamed as it comes, or held back until it is whole."""

from __future__ import annotations

from typing import Protocol

from .answers import LAST_CHUNK, Refusal, chunk, error_body
from .chunked import Dechunker
from .continuing import Progress
from .desk import NOT_COUNTED, Counted
from .heads import AnswerHead, RequestHead
from .streams import CHUNKED, ContinuedStream, Stream, stream_for
from .upstream import Upstream
from .usage import counted_in, events_in

BUFFER_BYTES = 8 * 1024 * 1024
"""An answer that is not streamed is held back until it is whole, up to this size: so its engine may die unnoticed."""


class Answering(Protocol):
    """The client's side of a request."""

    __slots__ = ()

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


class Answer:
    """Made when the answer's head has come. ``note``: a header line of the gateway's own."""

    __slots__ = (
        "_client",
        "_held",
        "_held_bytes",
        "_note",
        "_pending",
        "_request",
        "counted",
        "head",
        "stream",
        "through",
    )

    def __init__(
        self, client: Answering, request: RequestHead, head: AnswerHead, *, note: bytes, progress: Progress | None
    ) -> None:
        self._client, self._request, self.head, self._note = client, request, head, note
        self.stream: Stream | None = None
        self.through = False
        self._pending = b""
        self._held: list[bytes] = []
        self._held_bytes = 0
        self.counted = NOT_COUNTED
        if progress is not None:
            self.stream = ContinuedStream(head, progress, chunks=request.chunks)
        elif head.events:
            self.stream = stream_for(head, chunks=request.chunks)
            self._pending = self._head_with(self.stream.framing)

    @property
    def begun(self) -> bool:
        """Whether a byte of it has been passed on."""
        return self.through or (self.stream is not None and not self._pending)

    def _head_with(self, framing: bytes) -> bytes:
        return b"%s%s%s%s\r\n" % (self.head.forward, self._note, framing, self._client.connection_line())

    def piece(self, upstream: Upstream, data: bytes) -> None:
        """Raises ``BadChunk`` or ``CannotContinue``."""
        stream = self.stream
        if stream is None:
            self._hold(upstream, data)
            return
        data = stream.piece(data)
        if data:
            if self._pending:
                data = self._pending + data
                self._pending = b""
            self._client.write(data)

    def _hold(self, upstream: Upstream, data: bytes) -> None:
        if self.through:
            self._client.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        head = self.head
        if self._held_bytes > BUFFER_BYTES and self._request.chunks and head.framed:
            framing = CHUNKED if head.chunked else b"content-length: %d\r\n" % head.length
            self._client.write(self._head_with(framing) + b"".join(self._held))
            self.through, self._held, upstream.raw = True, [], None

    def complete(self, upstream: Upstream, data: bytes) -> None:
        """``data`` is the body's last piece. Raises ``BadChunk`` or ``CannotContinue``."""
        self._client.write(self._last(data))
        raw = upstream.raw or ()
        self.counted = counted_in(raw[-1] + data if raw else data)
        if self.counted.output_tokens is None and self.stream is not None:
            self.counted = Counted(output_tokens=events_in(raw, data))
        self._client.answered()

    def _last(self, data: bytes) -> bytes:
        head = self.head
        if self.stream is not None:
            return self._pending + self.stream.last(data)
        if self.through:
            return data
        if self._held:
            self._held.append(data)
            data = b"".join(self._held)
        if head.chunked:
            if self._request.chunks:
                return self._head_with(CHUNKED) + data
            data = Dechunker().feed(data)
        return self._head_with(b"content-length: %d\r\n" % len(data)) + data


def break_off(client: Answering, request: RequestHead, why: str, *, streamed: bool) -> None:
    """An answer that broke in the middle ends with an error that clients understand, and a cut connection."""
    if streamed:
        event = b"data: " + error_body(502, f"The replica was lost: {why}.", "replica_lost") + b"\n\n"
        client.write(chunk(event) if request.chunks else event)
    client.cut()


def end_stream(client: Answering, request: RequestHead, rest: bytes) -> None:
    """Only these events are missing."""
    if request.chunks:
        rest = (chunk(rest) if rest else b"") + LAST_CHUNK
    client.write(rest)
    client.answered()
