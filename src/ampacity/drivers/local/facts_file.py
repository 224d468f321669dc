"""``facts.jsonl``: what supervisors and agents reported, read by byte offset.

What was reported of members that are forgotten becomes a hole in the file: it takes no space, is skipped by readers,
and all offsets stay what they were.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator

import msgspec

from ampacity.drivers.base import FactPage
from ampacity.drivers.supervisor.disk import FORMAT, append_fact, read_json, write_json
from ampacity.drivers.supervisor.holes import data_from, punch, reserve_beyond
from ampacity.drivers.supervisor.processes import boot_id
from ampacity.model.attempt import MemberExited, MemberFact
from ampacity.model.codec import decode_fact, encode_fact
from ampacity.model.ids import MemberKey

PAGE_BYTES = 1 << 20
RESERVE_BYTES = 1 << 18
FLOOR = ".floor"
_log = logging.getLogger(__name__)


class FactsFile:
    """Reads pages of facts, and knows of which members the end was reported. Safe to use from several threads."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._identity = str(os.fstat(self._fd).st_ino)
        self._of_this_boot = f"{self._identity}@{boot_id()}"
        self._reserved_at = -RESERVE_BYTES
        self._lock = threading.Lock()
        self._scanned = 0
        self._exited: dict[str, MemberKey] = {}
        self._consumed = 0
        self._floor = self._read_floor()

    def page(self, cursor: str | None, limit: int) -> FactPage:
        """Facts after the cursor. Nothing here waits for the disk: what a loss of power takes from the file is told by
        ``exit.json``, and a cursor of before it is none any more."""
        offset = self._offset(cursor)
        self._consumed = max(self._consumed, offset)
        facts: list[MemberFact] = []
        for line, end in self._lines(offset):
            if len(facts) >= limit:
                break
            fact = self._decoded(line)
            if fact is not None:
                facts.append(fact)
            offset = end
        with self._lock:
            self._reserve(offset)
        return FactPage(facts=tuple(facts), cursor=f"{self._of_this_boot}:{offset}")

    def has_exit(self, key: MemberKey) -> bool:
        """Whether the member's end has been reported."""
        return self.has_exit_of(str(key))

    def has_exit_of(self, member: str) -> bool:
        """The same by the name of the member's folder."""
        with self._lock:
            for line, end in self._lines(self._scanned):
                if b'"member_exited"' in line:
                    fact = self._decoded(line)
                    if isinstance(fact, MemberExited):
                        self._exited[str(fact.key)] = fact.key
                self._scanned = end
            return member in self._exited

    def drop(self, is_forgotten: Callable[[str], bool]) -> int:
        """Drop what was reported of forgotten members, as far as somebody has read on behind it.

        Answers how many lines were looked at and stay. Safe to repeat, and to be killed in. Raises ``OSError``.
        """
        stay = 0
        dropped: list[tuple[int, int]] = []
        start = -1
        with self._lock:
            begin = 0
            for line, end in self._lines(0):
                if end > self._consumed:
                    break
                begin = end - len(line) - 1
                member = _member_of(line)
                if line and member and not is_forgotten(member):
                    stay += 1
                    if start >= 0:
                        dropped.append((start, begin))
                    start = -1
                    continue
                self._exited.pop(member, None)
                start = begin if start < 0 else start
            if start >= 0:
                dropped.append((start, min(self._consumed, os.fstat(self._fd).st_size)))
            self._punch(dropped)
        return stay

    def append(self, fact: MemberFact) -> None:
        """Raises ``OSError``."""
        append_fact(self.path, msgspec.json.decode(encode_fact(fact)))

    def close(self) -> None:
        os.close(self._fd)

    def _punch(self, dropped: list[tuple[int, int]]) -> None:
        """Make holes of these parts. Where the file system has none: remember how much of the beginning is gone."""
        for start, end in dropped:
            if not punch(self._fd, start, end, whole_blocks=False):
                first, last = dropped[0]
                if first <= data_from(self._fd, self._floor):
                    self._floor = last
                    write_json(self.path + FLOOR, {"format": FORMAT, "identity": self._identity, "offset": last})
                return

    def _read_floor(self) -> int:
        found = read_json(self.path + FLOOR) or {}
        offset = found.get("offset")
        return offset if found.get("identity") == self._identity and isinstance(offset, int) else 0

    def _reserve(self, end: int) -> None:
        """Have room for what is appended next, so that on a full disk ends can still be told."""
        if end - self._reserved_at >= RESERVE_BYTES // 2 and reserve_beyond(self._fd, RESERVE_BYTES):
            self._reserved_at = end

    def _offset(self, cursor: str | None) -> int:
        """Where to read on. A cursor into another file, past the end of this one, or of another boot (since then the
        file may have lost its end and have grown again), means from the beginning: facts that come twice do no harm."""
        if cursor is None:
            return 0
        identity, _, offset = cursor.partition(":")
        if identity != self._of_this_boot or not offset.isdigit() or int(offset) > os.fstat(self._fd).st_size:
            _log.warning("%s is not the file of the cursor %s: reading it from the beginning", self.path, cursor)
            return 0
        return int(offset)

    def _lines(self, offset: int) -> Iterator[tuple[bytes, int]]:
        """Whole lines and the offset after each. A line without its newline is still being written, or torn. Zeros,
        where something was dropped or a crash of the machine lost it, are no part of a line."""
        rest = b""
        offset = max(offset, self._floor)
        while True:
            if not rest:
                offset = data_from(self._fd, offset)
            data = os.pread(self._fd, PAGE_BYTES, offset + len(rest))
            if not data:
                return
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                offset += len(line) + 1
                yield line.lstrip(b"\0"), offset
            if rest and not rest.strip(b"\0"):
                offset += len(rest)
                rest = b""

    def _decoded(self, line: bytes) -> MemberFact | None:
        if not line:
            return None
        try:
            return decode_fact(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            _log.warning("%s: a line is not a fact (%s): %.120r", self.path, error, line)
            return None


class _Key(msgspec.Struct):
    attempt: str
    member: int


class _Line(msgspec.Struct):
    key: _Key


_lines_key = msgspec.json.Decoder(_Line)


def _member_of(line: bytes) -> str:
    """Whose fact it is, by the name of the member's folder; empty when it is no fact."""
    try:
        key = _lines_key.decode(line).key
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return f"{key.attempt}-{key.member}"
