"""How a streamed answer is passed on: as it came where its framing allows it, framed anew where not."""

from __future__ import annotations

from typing import Protocol

from .answers import LAST_CHUNK, chunk
from .chunked import Dechunker
from .heads import AnswerHead

MOST_HELD_BYTES = 256 * 1024


class Stream(Protocol):
    """``framing``: the header line that goes with it."""

    framing: bytes

    def piece(self, data: bytes) -> bytes:
        """What to pass on of a piece of the body; raises ``BadChunk``."""
        ...

    def last(self, data: bytes) -> bytes:
        """What to pass on at the end. ``data`` is the body's last piece."""
        ...


class RawStream:
    """Chunks are passed on untouched. Only whole events leave: what comes behind the last one's end waits for the rest,
    so that a stream that breaks has always been passed on up to the end of an event."""

    __slots__ = ("_held", "framing")

    def __init__(self) -> None:
        self.framing = b"transfer-encoding: chunked\r\n"
        self._held = b""

    def piece(self, data: bytes) -> bytes:
        if data.endswith(b"\n\n\r\n") and not self._held:
            return data
        return self._whole_events(self._held + data)

    def _whole_events(self, data: bytes) -> bytes:
        end = max(data.rfind(b"\n\n\r\n") + 4, data.rfind(b"\r\n\r\n\r\n") + 6)
        if end < 6:  # found neither
            end = len(data) if len(data) > MOST_HELD_BYTES else 0
        self._held = data[end:]
        return data[:end]

    def last(self, data: bytes) -> bytes:
        return self._held + data


class WrappedStream:
    """For an engine whose answer is not chunked, and for a client that does not understand chunks."""

    __slots__ = ("_chunks", "_dechunker", "framing")

    def __init__(self, head: AnswerHead, *, chunks: bool) -> None:
        self.framing = b"transfer-encoding: chunked\r\n" if chunks else b""
        self._chunks = chunks
        self._dechunker = Dechunker() if head.chunked else None

    def piece(self, data: bytes) -> bytes:
        content = data if self._dechunker is None else self._dechunker.feed(data)
        return chunk(content) if self._chunks and content else content

    def last(self, data: bytes) -> bytes:
        return self.piece(data) + (LAST_CHUNK if self._chunks else b"")


def stream_for(head: AnswerHead, *, chunks: bool) -> Stream:
    """``chunks``: whether the client understands chunks."""
    return RawStream() if chunks and head.chunked else WrappedStream(head, chunks=chunks)
