"""Frames of a terminal's connection, for both ends: a byte for the kind, four for the length, then the content.

The client speaks first (``START``), so that nothing of the server's can get lost behind the head of its answer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import msgspec

UPGRADE: Final = "ampacity-exec/1"
"""The protocol's name in the header ``Upgrade``."""

MAX_FRAME_BYTES: Final = 1 << 20
_HEAD = struct.Struct(">BI")


class Kind(IntEnum):
    """Client: start, stdin (empty: its end), resize. Server: stdout, stderr, exit, beat (nothing to say)."""

    START = 0
    STDIN = 1
    RESIZE = 2
    STDOUT = 3
    STDERR = 4
    EXIT = 5
    BEAT = 6


class Size(msgspec.Struct, frozen=True):
    """A terminal's, in characters."""

    columns: int
    rows: int


class Exit(msgspec.Struct, frozen=True):
    """How it ended: the command's own code, 128 + a signal; ``reason`` where it was not the command's own end."""

    code: int
    reason: str = ""


def frame(kind: Kind, content: bytes = b"") -> bytes:
    return _HEAD.pack(kind, len(content)) + content


class Broken(ValueError):
    """The other side does not speak this protocol."""


class Reader:
    """Bytes in, whole frames out."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """Raises ``Broken``."""
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            kind, length = _HEAD.unpack_from(self._rest)
            if kind not in Kind.__members__.values() or length > MAX_FRAME_BYTES:
                raise Broken("that is no frame of a terminal's connection")
            if len(self._rest) < _HEAD.size + length:
                return
            content = bytes(self._rest[_HEAD.size : _HEAD.size + length])
            del self._rest[: _HEAD.size + length]
            yield Kind(kind), content
