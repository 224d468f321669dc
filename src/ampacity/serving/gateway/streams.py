"""How a streamed answer is passed on: as it came where its framing allows it, framed anew where not.

Only whole events leave. What comes behind the last one's end waits for the rest, so that a stream whose engine dies has
always been passed on up to the end of an event, and another engine can go on from there.
"""

from __future__ import annotations

from typing import Protocol

from .answers import LAST_CHUNK, chunk
from .chunked import BadChunk, Dechunker
from .continuing import CannotContinue, Progress, Rest, progress_of
from .heads import AnswerHead

MOST_HELD_BYTES = 256 * 1024
CHUNKED = b"transfer-encoding: chunked\r\n"


class Stream(Protocol):
    """``framing``: the header line that goes with it."""

    framing: bytes

    def piece(self, data: bytes) -> bytes:
        """What to pass on of a piece of the body. Raises ``BadChunk`` or ``CannotContinue``."""
        ...

    def last(self, data: bytes) -> bytes:
        """What to pass on at the end. ``data`` is the body's last piece."""
        ...

    def progress(self, path: bytes, raw: bytes) -> Progress:
        """What the client has seen, from the body as it came. Raises ``CannotContinue``."""
        ...


class RawStream:
    """Chunks are passed on untouched."""

    __slots__ = ("_held", "framing")

    def __init__(self) -> None:
        self.framing = CHUNKED
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

    def progress(self, path: bytes, raw: bytes) -> Progress:
        reader = Dechunker()
        try:
            content = reader.feed(raw[: len(raw) - len(self._held)])
        except BadChunk as error:
            raise CannotContinue(str(error)) from error
        if not reader.between_chunks or not _ends_an_event(content):
            raise CannotContinue("it broke within an event")
        return progress_of(path, content)


class WrappedStream:
    """For an engine whose answer is not chunked, and for a client that does not understand chunks."""

    __slots__ = ("_chunks", "_dechunker", "_held", "framing")

    def __init__(self, head: AnswerHead, *, chunks: bool) -> None:
        self.framing = CHUNKED if chunks else b""
        self._chunks = chunks
        self._dechunker = Dechunker() if head.chunked else None
        self._held = b""

    def piece(self, data: bytes) -> bytes:
        content = self._held + (data if self._dechunker is None else self._dechunker.feed(data))
        end = max(content.rfind(b"\n\n") + 2, content.rfind(b"\r\n\r\n") + 4)
        if end < 4:  # found neither
            end = len(content) if len(content) > MOST_HELD_BYTES else 0
        self._held = content[end:]
        return self._framed(content[:end])

    def last(self, data: bytes) -> bytes:
        out = self.piece(data) + self._framed(self._held)
        return out + LAST_CHUNK if self._chunks else out

    def progress(self, path: bytes, raw: bytes) -> Progress:
        content = raw if self._dechunker is None else Dechunker().feed(raw)
        content = content[: len(content) - len(self._held)]
        if not _ends_an_event(content):
            raise CannotContinue("it broke within an event")
        return progress_of(path, content)

    def _framed(self, content: bytes) -> bytes:
        return chunk(content) if self._chunks and content else content


class ContinuedStream:
    """The rest of a stream that another engine began."""

    __slots__ = ("_chunks", "_dechunker", "_rest", "framing")

    def __init__(self, head: AnswerHead, progress: Progress, *, chunks: bool) -> None:
        self.framing = CHUNKED if chunks else b""
        self._chunks = chunks
        self._dechunker = Dechunker() if head.chunked else None
        self._rest = Rest(progress)

    def piece(self, data: bytes) -> bytes:
        content = self._rest.feed(data if self._dechunker is None else self._dechunker.feed(data))
        return chunk(content) if self._chunks and content else content

    def last(self, data: bytes) -> bytes:
        return self.piece(data) + (LAST_CHUNK if self._chunks else b"")

    def progress(self, path: bytes, raw: bytes) -> Progress:
        return self._rest.progress


def stream_for(head: AnswerHead, *, chunks: bool) -> Stream:
    """``chunks``: whether the client understands chunks."""
    return RawStream() if chunks and head.chunked else WrappedStream(head, chunks=chunks)


def _ends_an_event(content: bytes) -> bool:
    return not content or content.endswith((b"\n\n", b"\n\r\n"))
