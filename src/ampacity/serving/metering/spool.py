"""The spool: records on their way to the books, in files, so that neither side has to wait for the other.

A writer appends lines to ``<writer>.open``, which it holds locked, and gives it a number, ``<writer>-<n>.jsonl``, when
enough has come. The reader takes numbered files, and the open ones of writers that are gone. Each is booked once: the
books keep the last number of each writer in the transaction that books it, and only then is the file removed.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ampacity.model.request_usage import RequestRecord

MOST_BYTES = 256 << 20
"""More than so much never waits for the books: what comes then is lost, and counted."""

_NUMBERED = re.compile(r"(?P<writer>[0-9a-f]{16})-(?P<number>[0-9]{10})\.jsonl")
_OPEN = re.compile(r"(?P<writer>[0-9a-f]{16})\.open")


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: a record, or how many were ``lost`` before it."""

    record: RequestRecord | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """One file's content. ``torn``: lines that cannot be read."""

    writer: str
    number: int
    records: tuple[RequestRecord, ...]
    lost: int
    torn: int


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Line)


class SpoolWriter:
    """Used by one thread. Raises ``OSError``."""

    def __init__(self, folder: Path, *, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes = folder, most_bytes
        self._writer = os.urandom(8).hex()
        self._number = 0
        self._file: int | None = None
        self._written = 0

    def write(self, lines: list[Line]) -> bool:
        """Append lines, durably. ``False``: there is no room for more."""
        data = _encoder.encode_lines(lines)
        if self._waiting_bytes() + len(data) > self._most_bytes:
            return False
        if self._file is None:
            self._open()
        assert self._file is not None, "it was opened just now"
        os.write(self._file, data)
        os.fdatasync(self._file)
        self._written += len(data)
        return True

    def close_file(self) -> None:
        """Give what was written to the reader."""
        if self._file is None or not self._written:
            return
        self._number += 1
        os.replace(self._open_path, self._folder / f"{self._writer}-{self._number:010d}.jsonl")
        os.close(self._file)
        self._file = None

    @property
    def _open_path(self) -> Path:
        return self._folder / f"{self._writer}.open"

    def _open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file = os.open(self._open_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._written = 0

    def _waiting_bytes(self) -> int:
        try:
            with os.scandir(self._folder) as entries:
                return sum(entry.stat().st_size for entry in entries)
        except FileNotFoundError:
            return 0


class Spool:
    """The reader's side. Raises ``OSError``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lots(self) -> Iterator[Lot]:
        """What waits for the books, file by file, in each writer's order."""
        self._close_left_ones()
        for path, writer, number in self._numbered():
            yield _lot(path, writer, number)

    def forget(self, lot: Lot) -> None:
        """It is in the books."""
        (self._folder / f"{lot.writer}-{lot.number:010d}.jsonl").unlink(missing_ok=True)

    def _numbered(self) -> list[tuple[Path, str, int]]:
        found = []
        for path in self._entries():
            match = _NUMBERED.fullmatch(path.name)
            if match:
                found.append((path, match["writer"], int(match["number"])))
        return sorted(found, key=lambda each: each[1:])

    def _close_left_ones(self) -> None:
        """An open file that nobody holds is a dead writer's: it is closed in its name."""
        for path in self._entries():
            match = _OPEN.fullmatch(path.name)
            if match is None or not _is_left(path):
                continue
            last = max((number for _, writer, number in self._numbered() if writer == match["writer"]), default=0)
            os.replace(path, self._folder / f"{match['writer']}-{max(last + 1, LAST):010d}.jsonl")

    def _entries(self) -> list[Path]:
        try:
            return sorted(self._folder.iterdir())
        except FileNotFoundError:
            return []


LAST = 9_999_999_999
"""The number of a dead writer's last file: higher than any it gave itself."""


def _is_left(path: Path) -> bool:
    """Whether nobody holds its lock."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(file)
    return True


def _lot(path: Path, writer: str, number: int) -> Lot:
    records: list[RequestRecord] = []
    lost = torn = 0
    for text in path.read_bytes().splitlines():
        try:
            line = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            torn += 1  # the writer was killed within it
            continue
        lost += line.lost
        if line.record is not None:
            records.append(line.record)
    return Lot(writer=writer, number=number, records=tuple(records), lost=lost, torn=torn)
