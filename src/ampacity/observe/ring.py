"""Bounded series on disk: one file for each group of series, read without a lock while it is written.

A file is a header of ``HEADER_BYTES`` (magic, length and CRC-32 of a JSON text that names the columns, the archives and
the labels) and then the archives, each a ring of records of one size. A record is little-endian doubles: its time
(seconds since the epoch), a value for each column (NaN: not known), and the CRC-32 of what is before it. Its slot is
``int(time // step_s) % slots``, so nothing has to point to it, and a record that is torn, old or was never written is
told apart by itself. The first archive holds the samples; each further one is folded from the one before it.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAGIC = b"AMPRING\x01"
HEADER_BYTES = 4096
_HEAD = struct.Struct("<8sII")
DOUBLE_BYTES = 8

Values = tuple[float, ...]
"""A record as it is read: its time, then a value for each column."""


class Fold(StrEnum):
    """How samples become one record of a coarser archive. Counters keep their ``last`` value."""

    MEAN = "mean"
    MAX = "max"
    LAST = "last"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    name: str
    fold: Fold = Fold.MEAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """``slots`` records, one for every ``step_s`` seconds."""

    step_s: int
    slots: int


ARCHIVES = (Archive(step_s=1, slots=600), Archive(step_s=10, slots=2160), Archive(step_s=300, slots=8640))
"""1 s for 10 minutes, 10 s for 6 hours, 5 minutes for 30 days."""


class NotARing(Exception):
    """The file is no ring of this version, or its header is damaged."""


class Layout:
    """What a file holds and where. ``kind`` names the group; ``labels`` say whose it is."""

    def __init__(
        self,
        kind: str,
        columns: Sequence[Column],
        labels: Mapping[str, str],
        archives: Sequence[Archive] = ARCHIVES,
    ) -> None:
        self.kind, self.columns, self.labels = kind, tuple(columns), dict(labels)
        self.archives = tuple(archives)
        for fine, coarse in zip(self.archives, self.archives[1:], strict=False):
            ratio = coarse.step_s // fine.step_s
            if coarse.step_s % fine.step_s or fine.slots % ratio:
                raise ValueError(f"{coarse} cannot be folded from {fine}")
        self.index = {column.name: 1 + place for place, column in enumerate(self.columns)}
        self.body = struct.Struct(f"<{1 + len(self.columns)}d")
        self.record = struct.Struct(f"<{2 + len(self.columns)}d")
        self.starts: list[int] = []
        start = HEADER_BYTES
        for archive in self.archives:
            self.starts.append(start)
            start += archive.slots * self.record.size
        self.size = start

    def header(self) -> bytes:
        text = json.dumps(
            {
                "kind": self.kind,
                "columns": [[column.name, column.fold] for column in self.columns],
                "archives": [[archive.step_s, archive.slots] for archive in self.archives],
                "labels": self.labels,
            },
            separators=(",", ":"),
        ).encode()
        if _HEAD.size + len(text) > HEADER_BYTES:
            raise ValueError(f"the labels of {self.kind} are too long: {len(text)} bytes")
        return (_HEAD.pack(MAGIC, len(text), zlib.crc32(text)) + text).ljust(HEADER_BYTES, b"\0")

    @staticmethod
    def parse(header: bytes) -> Layout:
        """Raises ``NotARing``."""
        if len(header) < HEADER_BYTES:
            raise NotARing("it is shorter than a header")
        magic, length, check = _HEAD.unpack_from(header)
        text = header[_HEAD.size : _HEAD.size + length]
        if magic != MAGIC or zlib.crc32(text) != check:
            raise NotARing("its header is of another version, or damaged")
        found = json.loads(text)
        columns = [Column(name=name, fold=Fold(fold)) for name, fold in found["columns"]]
        archives = [Archive(step_s=step_s, slots=slots) for step_s, slots in found["archives"]]
        return Layout(found["kind"], columns, found["labels"], archives)

    def pack(self, at: float, values: Sequence[float]) -> bytes:
        body = self.body.pack(at, *values)
        return body + struct.pack("<d", zlib.crc32(body))

    def unpack(self, data: bytes) -> Values | None:
        """The record; ``None`` when it is torn or was never written."""
        if len(data) != self.record.size:
            return None
        values = self.record.unpack(data)
        if values[-1] != zlib.crc32(data[:-DOUBLE_BYTES]):
            return None
        return values[:-1]

    def place(self, archive: int, period: int) -> int:
        """The offset of a period's record."""
        return self.starts[archive] + period % self.archives[archive].slots * self.record.size


class RingReader:
    """Reads a file that another process may be writing.

    Raises (from the constructor):
        FileNotFoundError: there is none.
        NotARing: it is none.
    """

    def __init__(self, path: str, *, access: int = os.O_RDONLY) -> None:
        self._fd = os.open(path, access | os.O_CLOEXEC)
        try:
            self.layout = Layout.parse(os.pread(self._fd, HEADER_BYTES, 0))
        except BaseException:
            os.close(self._fd)
            raise
        self.identity = os.fstat(self._fd).st_ino

    def close(self) -> None:
        os.close(self._fd)

    def latest(self, now: float, *, max_age_s: int) -> Values | None:
        """The newest sample that is no older than ``max_age_s``."""
        step_s = self.layout.archives[0].step_s
        for period in range(int(now // step_s), int((now - max_age_s) // step_s) - 1, -1):
            found = self._read(0, period)
            if found is not None:
                return found
        return None

    def last(self) -> Values | None:
        """The newest sample there is, however old."""
        found = self._scan(0)
        return max(found, key=lambda values: values[0], default=None)

    def window(self, since: float, until: float, *, archive: int | None = None) -> list[Values]:
        """The records from ``since`` to ``until`` in the order of time, from the finest archive that reaches back."""
        if archive is None:
            archive = self._reaching(until - since)
        ring = self.layout.archives[archive]
        first, last = int(since // ring.step_s), int(until // ring.step_s)
        if last - first >= ring.slots // 4:
            found = [values for values in self._scan(archive) if since <= values[0] <= until]
            return sorted(found, key=lambda values: values[0])
        records = (self._read(archive, period) for period in range(first, last + 1))
        return [values for values in records if values is not None and since <= values[0] <= until]

    def _reaching(self, span_s: float) -> int:
        for index, ring in enumerate(self.layout.archives):
            if span_s <= ring.step_s * ring.slots:
                return index
        return len(self.layout.archives) - 1

    def _read(self, archive: int, period: int) -> Values | None:
        data = os.pread(self._fd, self.layout.record.size, self.layout.place(archive, period))
        values = self.layout.unpack(data)
        if values is None or int(values[0] // self.layout.archives[archive].step_s) != period:
            return None
        return values

    def _scan(self, archive: int) -> list[Values]:
        layout, size = self.layout, self.layout.record.size
        data = os.pread(self._fd, layout.archives[archive].slots * size, layout.starts[archive])
        records = (layout.unpack(data[start : start + size]) for start in range(0, len(data), size))
        return [values for values in records if values is not None]


class RingWriter(RingReader):
    """The one writer of a file. One of the same layout is gone on with; any other is replaced. ``found``: the newest
    sample that was in it.

    Raises:
        OSError: the file cannot be made or written.
    """

    def __init__(self, path: str, layout: Layout) -> None:
        known = _is_same(path, layout)
        if not known:
            _create(path, layout)
        super().__init__(path, access=os.O_RDWR)
        self.found = self.last() if known else None
        begun_at = 0.0 if self.found is None else self.found[0]
        self._periods = [int(begun_at // ring.step_s) for ring in self.layout.archives]

    def append(self, at: float, values: Sequence[float]) -> None:
        """Write one sample with one write: who kills this process loses nothing that was appended before."""
        layout = self.layout
        for archive in range(1, len(layout.archives)):
            period = int(at // layout.archives[archive].step_s)
            if period != self._periods[archive]:
                self._fold(archive, self._periods[archive])
                self._periods[archive] = period
        os.pwrite(self._fd, layout.pack(at, values), layout.place(0, int(at // layout.archives[0].step_s)))

    def _fold(self, archive: int, period: int) -> None:
        """Write the record of a period that is over, from the finer records that lie in it."""
        layout = self.layout
        ratio = layout.archives[archive].step_s // layout.archives[archive - 1].step_s
        size = layout.record.size
        data = os.pread(self._fd, ratio * size, layout.place(archive - 1, period * ratio))
        step_s = layout.archives[archive].step_s
        records = [layout.unpack(data[start : start + size]) for start in range(0, len(data), size)]
        inside = [values for values in records if values is not None and int(values[0] // step_s) == period]
        if inside:
            os.pwrite(self._fd, _folded(layout, inside), layout.place(archive, period))


def _folded(layout: Layout, records: Sequence[Values]) -> bytes:
    columns = list(zip(*records, strict=True))
    values = [_fold(column.fold, known) for column, known in zip(layout.columns, columns[1:], strict=True)]
    return layout.pack(columns[0][-1], values)


def _fold(fold: Fold, values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    match fold:
        case Fold.MEAN:
            return sum(known) / len(known)
        case Fold.MAX:
            return max(known)
        case Fold.LAST:
            return known[-1]


def _is_same(path: str, layout: Layout) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(HEADER_BYTES) == layout.header() and os.fstat(file.fileno()).st_size == layout.size
    except FileNotFoundError:
        return False


def _create(path: str, layout: Layout) -> None:
    """Whole by rename; what is not written yet takes no room on the disk."""
    fresh = f"{path}.{os.getpid()}.tmp"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, layout.header())
        os.ftruncate(fd, layout.size)
    finally:
        os.close(fd)
    os.rename(fresh, path)
