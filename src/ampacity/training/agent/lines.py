"""The output of a rank, line by line. A carriage return ends a line too (progress bars): of several the last counts."""

from __future__ import annotations

import os
from typing import Iterator, List

LINE_BYTES = 16 * 1024
READ_BYTES = 64 * 1024


def lines_of(fd: int) -> Iterator[bytes]:
    """Until the end of the stream: valid UTF-8 without line ends, split where longer than ``LINE_BYTES``."""
    rest = b""
    while True:
        data = os.read(fd, READ_BYTES)
        if not data:
            break
        *whole, rest = (rest + data).split(b"\n")
        for line in whole:
            yield from _pieces(line.rstrip(b"\r").rpartition(b"\r")[2])
        bars, mark, after = rest.rpartition(b"\r")
        if mark and after:  # the bar before the one that is being drawn
            yield from _pieces(bars.rpartition(b"\r")[2])
            rest = after
        if len(rest) > LINE_BYTES:
            cut = _boundary(rest, LINE_BYTES)
            yield from _pieces(rest[:cut])
            rest = rest[cut:]
    last = rest.rstrip(b"\r").rpartition(b"\r")[2]
    if last:
        yield from _pieces(last)


def _pieces(line: bytes) -> List[bytes]:
    found = []
    while len(line) > LINE_BYTES:
        cut = _boundary(line, LINE_BYTES)
        found.append(line[:cut])
        line = line[cut:]
    found.append(line)
    return [each if each.isascii() else each.decode("utf-8", "replace").encode() for each in found]


def _boundary(data: bytes, at: int) -> int:
    """The last place not after ``at`` that does not cut a UTF-8 character in two."""
    for back in range(4):
        if data[at - back] & 0xC0 != 0x80:
            return at - back
    return at
