"""Reading ``output.log``: ``<unix seconds, 6 decimals> <rank or -> <out or err or sys> <text>``."""

from __future__ import annotations

import os
from collections.abc import Iterable

from ampacity.drivers.base import LogLine, LogPage
from ampacity.drivers.supervisor.holes import data_from

PAGE_BYTES = 1 << 20
LONGEST_BYTES = 1 << 26
_STREAMS = {b"out": "out", b"err": "err", b"sys": "sys"}


def read_log(path: str, cursor: str | None, *, limit: int, ended: bool) -> LogPage:
    """The lines after the cursor (a byte offset). Where those were dropped, the oldest that there are.

    ``ended``: the member had exited before this call; then a line that was torn at the end of the file counts as one.
    """
    offset = int(cursor) if cursor is not None else 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return LogPage(lines=(), cursor=str(offset), ended=ended)
    try:
        offset = _first_line(fd, offset)
        data, at_end = _whole_lines(fd, offset, ended)
    finally:
        os.close(fd)
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    taken = pieces[:limit]
    end = min(offset + sum(len(piece) + 1 for piece in taken), offset + len(data))
    return LogPage(lines=tuple(_parsed(taken)), cursor=str(end), ended=ended and at_end and end == offset + len(data))


def _first_line(fd: int, offset: int) -> int:
    """Where the first whole line begins. What was dropped is a hole, or reads as zeros; no line begins with one."""
    while True:
        start = data_from(fd, offset)
        data = os.pread(fd, PAGE_BYTES, start)
        if not data or (start == offset and not data.startswith(b"\0")):
            return offset
        lines = data.lstrip(b"\0")
        if lines:
            newline = lines.find(b"\n")
            return start + len(data) - len(lines) + newline + 1 if newline >= 0 else start + len(data) - len(lines)
        offset = start + len(data)


def _whole_lines(fd: int, offset: int, ended: bool) -> tuple[bytes, bool]:
    """A page of whole lines, and whether the file ends after it. Longer lines than a page make the page longer."""
    size = PAGE_BYTES
    while True:
        data = os.pread(fd, size, offset)
        at_end = len(data) < size
        if at_end and ended:
            return data, True
        whole = data[: data.rfind(b"\n") + 1]
        if whole or at_end:
            return whole, at_end
        if size >= LONGEST_BYTES:
            return data, False
        size *= 2


def _parsed(lines: Iterable[bytes]) -> Iterable[LogLine]:
    at = 0.0
    for line in lines:
        parsed = parse_line(line, at)
        at = parsed.at
        yield parsed


def parse_line(line: bytes, at: float = 0.0) -> LogLine:
    """One line without its newline. What does not look like one (it was torn) is kept whole, with the time ``at``."""
    fields = line.split(b" ", 3)
    if len(fields) >= 3 and fields[2] in _STREAMS:
        text = fields[3].decode("utf-8", "replace") if len(fields) == 4 else ""
        try:
            when = float(fields[0])
            rank = -1 if fields[1] == b"-" else int(fields[1])
        except ValueError:
            pass
        else:
            return LogLine(at=when, rank=rank, stream=_STREAMS[fields[2]], text=text)
    return LogLine(at=at, rank=-1, stream="sys", text=line.decode("utf-8", "replace"))
