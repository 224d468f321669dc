"""``facts.jsonl``: what supervisors and agents reported, read by byte offset."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator

import msgspec

from ampacity.drivers.base import FactPage
from ampacity.drivers.supervisor.disk import append_fact
from ampacity.drivers.supervisor.holes import reserve_beyond
from ampacity.model.attempt import MemberExited, MemberFact
from ampacity.model.codec import decode_fact, encode_fact
from ampacity.model.ids import MemberKey

PAGE_BYTES = 1 << 20
RESERVE_BYTES = 1 << 18
_log = logging.getLogger(__name__)


class FactsFile:
    """Reads pages of facts, and knows of which members the end was reported. Safe to use from several threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._identity = str(os.fstat(self._fd).st_ino)
        self._reserved_at = -RESERVE_BYTES
        self._synced = 0
        self._lock = threading.Lock()
        self._scanned = 0
        self._exited: set[MemberKey] = set()

    def page(self, cursor: str | None, limit: int) -> FactPage:
        """Facts after the cursor. What this hands out survives a loss of power: a cursor never points past the file."""
        offset = self._offset(cursor)
        facts: list[MemberFact] = []
        for line, end in self._lines(offset):
            if len(facts) >= limit:
                break
            fact = self._decoded(line)
            if fact is not None:
                facts.append(fact)
            offset = end
        with self._lock:
            if offset > self._synced:
                os.fdatasync(self._fd)
                self._synced = offset
            self._reserve(offset)
        return FactPage(facts=tuple(facts), cursor=f"{self._identity}:{offset}")

    def has_exit(self, key: MemberKey) -> bool:
        """Whether the member's end has been reported."""
        with self._lock:
            for line, end in self._lines(self._scanned):
                if b'"member_exited"' in line:
                    fact = self._decoded(line)
                    if isinstance(fact, MemberExited):
                        self._exited.add(fact.key)
                self._scanned = end
            return key in self._exited

    def append(self, fact: MemberFact) -> None:
        """Raises ``OSError``."""
        append_fact(self.path, msgspec.json.decode(encode_fact(fact)))

    def close(self) -> None:
        os.close(self._fd)

    def _reserve(self, end: int) -> None:
        """Have room for what is appended next, so that on a full disk ends can still be told."""
        if end - self._reserved_at >= RESERVE_BYTES // 2 and reserve_beyond(self._fd, RESERVE_BYTES):
            self._reserved_at = end

    def _offset(self, cursor: str | None) -> int:
        """Where to read on. A cursor into another file, or past the end of this one, means from the beginning: facts
        that come twice do no harm."""
        if cursor is None:
            return 0
        identity, _, offset = cursor.partition(":")
        if identity != self._identity or not offset.isdigit() or int(offset) > os.fstat(self._fd).st_size:
            _log.warning("%s is not the file of the cursor %s: reading it from the beginning", self.path, cursor)
            return 0
        return int(offset)

    def _lines(self, offset: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines and the offset after each. A line without its newline is still being written, or torn."""
        rest = b""
        while data := os.pread(self._fd, PAGE_BYTES, offset + len(rest)):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                offset += len(line) + 1
                yield line, offset

    def _decoded(self, line: bytes) -> MemberFact | None:
        if not line:
            return None
        try:
            return decode_fact(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("%s: a line is not a fact (%s): %.120r", self.path, error, line)
            return None
