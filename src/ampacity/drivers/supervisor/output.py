"""The member's output, line by line, into ``output.log``."""

from __future__ import annotations

import errno
import os
import time

from . import holes
from .secrets import masked

MAX_LINE_BYTES = 16_384
READ_BYTES = 65_536
TAIL_BYTES = 65_536
LOG_BYTES = 256_000_000
SEGMENTS = 8
MOST_KEPT_BYTES = 1 << 20
DRAIN_READS = 64


class Log:
    """Appends whole lines, without the secrets in ``masks``.

    A disk that does not take them loses lines, which are counted; it never stops the member. When the file takes more
    than ``max_bytes`` its oldest eighth is dropped; offsets stay as they are.
    """

    __slots__ = ("_dropped", "_fd", "_masks", "_max_bytes", "_unchecked", "disk_full", "lost_lines", "path")

    def __init__(self, path: str, masks: list[bytes] | None = None, *, max_bytes: int = LOG_BYTES) -> None:
        self.path = path
        self._masks = masks or []
        self._max_bytes = max_bytes
        self._dropped = 0
        self._unchecked = 0
        self.lost_lines = 0
        self.disk_full = False
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, stream: str, lines: list[bytes]) -> None:
        """Write the lines, all with the present time, in one append."""
        if not lines:
            return
        if self._masks:
            lines = [masked(line, self._masks) for line in lines]
        prefix = f"{time.time():.6f} - {stream} ".encode()
        data = b"".join([prefix + line + b"\n" for line in lines])
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            self.disk_full = self.disk_full or error.errno in (errno.ENOSPC, errno.EDQUOT)
            written = 0
        if written < len(data):
            self.lost_lines += data.count(b"\n") - data[:written].count(b"\n")
        self._unchecked += written
        if self._unchecked > self._max_bytes // 2 // SEGMENTS:
            self.trim()

    def trim(self) -> None:
        """Keep the file within its size. (Others write into it too.)"""
        self._unchecked = 0
        segment = max(holes.BLOCK_BYTES, self._max_bytes // SEGMENTS)
        size = os.fstat(self._fd).st_size
        if size - self._dropped <= self._max_bytes:
            return
        until = (size - self._max_bytes + segment) // holes.BLOCK_BYTES * holes.BLOCK_BYTES
        try:
            if not holes.punch(self._fd, self._dropped, until):
                holes.drop_all_but(self._fd, self.path, min(segment, MOST_KEPT_BYTES))
                until = size - min(segment, MOST_KEPT_BYTES)
        except OSError:
            return
        count_bytes, self._dropped = until - self._dropped, until
        self.say(f"the log is kept below {self._max_bytes} bytes: the oldest {count_bytes} bytes of it were dropped")

    def say(self, text: str) -> None:
        """One line of the supervisor's own."""
        self.write("sys", [text.replace("\n", " ").encode("utf-8", "replace")])

    def last_lines(self, count: int = 20, max_characters: int = 300) -> list[str]:
        """The end of what the member and its ranks printed, without the supervisor's own lines. What cannot be read
        (the member may have deleted it) is empty."""
        try:
            with open(self.path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                lines = file.read(TAIL_BYTES).split(b"\n")[1 if size > TAIL_BYTES else 0 :] if size else []
        except OSError:
            return []
        texts = []
        for line in lines:
            fields = line.split(b" ", 3)
            if len(fields) == 4 and fields[2] != b"sys":
                texts.append(fields[3].decode("utf-8", "replace")[:max_characters])
        return texts[-count:]


class LineSplitter:
    """Bytes in, whole lines out. A carriage return ends a line too (progress bars): of several in a row the last
    counts. Invalid UTF-8 is replaced; a line longer than ``MAX_LINE_BYTES`` is split."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        self._rest += data
        if len(self._rest) <= MAX_LINE_BYTES and b"\n" not in data and b"\r" not in self._rest:
            return []
        whole, newline, rest = bytes(self._rest).rpartition(b"\n")
        lines = [piece for line in whole.split(b"\n") for piece in _pieces(_valid(line))] if newline else []
        bar, _, after = rest.rpartition(b"\r")
        if bar and after:
            lines.extend(_pieces(_valid(bar)))
            rest = after
        if len(rest) > MAX_LINE_BYTES:
            cut = _boundary(rest, len(rest))
            lines.extend(_pieces(_valid(rest[:cut])))
            rest = rest[cut:]
        self._rest = bytearray(rest)
        return lines

    def flush(self) -> list[bytes]:
        """The last line, that no newline ended."""
        rest, self._rest = bytes(self._rest), bytearray()
        return _pieces(_valid(rest)) if rest else []


class OutputPipes:
    """The pipes that a member's processes print into, for its setup and its command alike. The supervisor keeps the
    writing ends open, so that a background process of the setup is not cut off when the setup ends."""

    __slots__ = ("_log", "_splitters", "reading", "writing")

    def __init__(self, log: Log) -> None:
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        os.set_blocking(out_read, False)
        os.set_blocking(err_read, False)
        self.reading = (out_read, err_read)
        self.writing = (out_write, err_write)
        self._log = log
        self._splitters = {out_read: ("out", LineSplitter()), err_read: ("err", LineSplitter())}

    def carry(self, fd: int) -> bool:
        """Copy what is there now into the log, at most one read. ``False``: nothing is."""
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return False
        stream, splitter = self._splitters[fd]
        self._log.write(stream, splitter.feed(data))
        return bool(data)

    def drain(self) -> None:
        """Copy all that is there, lines without an end included. Bounded: others may go on printing."""
        for fd, (stream, splitter) in self._splitters.items():
            for _ in range(DRAIN_READS):
                if not self.carry(fd):
                    break
            self._log.write(stream, splitter.flush())


def _valid(line: bytes) -> bytes:
    line = line.rstrip(b"\r").rpartition(b"\r")[2]
    return line if line.isascii() else line.decode("utf-8", "replace").encode()


def _pieces(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE_BYTES:
        return [line]
    pieces = []
    while len(line) > MAX_LINE_BYTES:
        cut = _boundary(line, MAX_LINE_BYTES)
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line] if line else pieces


def _boundary(data: bytes, at: int) -> int:
    """The last place not after ``at`` that does not cut a UTF-8 character in two."""
    for back in range(1, min(4, at)):
        byte = data[at - back]
        if byte & 0xC0 == 0x80:
            continue
        width = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return at if width <= back else at - back
    return at
