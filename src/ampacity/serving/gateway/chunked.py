"""A chunked body, read piece by piece (RFC 9112, section 7.1). Off the hot path: there the C parser finds the end."""

from __future__ import annotations

import re
from enum import Enum, auto

_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]*)?")
MOST_LINE_BYTES = 16 * 1024


class BadChunk(Exception):
    """The bytes are no chunked body."""


class _State(Enum):
    SIZE = auto()
    DATA = auto()
    DATA_END = auto()
    TRAILER = auto()
    END = auto()


class Dechunker:
    """Feed it the raw bytes as they come; it gives back the content. ``over``: what came behind the body's end."""

    def __init__(self) -> None:
        self._state = _State.SIZE
        self._left = 0
        self._rest = b""
        self.over = b""

    @property
    def ended(self) -> bool:
        return self._state is _State.END

    @property
    def between_chunks(self) -> bool:
        """Whether the next byte would be the first of a chunk."""
        return self._state is _State.SIZE and not self._rest

    def feed(self, data: bytes) -> bytes:
        """The content of these bytes. Raises ``BadChunk``."""
        data = self._rest + data
        self._rest = b""
        at, out = 0, []
        while at < len(data):
            if self._state is _State.END:
                self.over += data[at:]
                break
            if self._state is _State.DATA:
                taken = data[at : at + self._left]
                out.append(taken)
                at += len(taken)
                self._left -= len(taken)
                if not self._left:
                    self._state = _State.DATA_END
                continue
            end = data.find(b"\r\n", at)
            if end < 0:
                self._rest = data[at:]
                self._look_at_rest()
                break
            self._line(data[at:end])
            at = end + 2
        return b"".join(out)

    def _look_at_rest(self) -> None:
        """A line that has not ended yet: is it one at all?"""
        if self._state is _State.DATA_END and self._rest != b"\r":
            raise BadChunk("a chunk is longer than it says")
        if len(self._rest) > MOST_LINE_BYTES:
            raise BadChunk("a line of the chunked body is too long")

    def _line(self, line: bytes) -> None:
        if self._state is _State.DATA_END:
            if line:
                raise BadChunk("a chunk is longer than it says")
            self._state = _State.SIZE
        elif self._state is _State.TRAILER:
            if not line:
                self._state = _State.END
        else:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise BadChunk(f"{line[:40]!r} is no chunk's size")
            self._left = int(match[1], 16)
            self._state = _State.DATA if self._left else _State.TRAILER


def body_end(raw: bytes) -> int:
    """How many of the bytes belong to the chunked body that they begin with. Raises ``BadChunk`` when it has no end."""
    reader = Dechunker()
    reader.feed(raw)
    if not reader.ended:
        raise BadChunk("the chunked body has no end")
    return len(raw) - len(reader.over)
