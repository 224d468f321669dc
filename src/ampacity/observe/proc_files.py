"""Files of ``/proc`` and ``/sys`` that are read again and again: opened once, then one ``pread`` a look."""

from __future__ import annotations

import os


class KeptFile:
    """A small file under a descriptor that stays open. One that cannot be opened or read gives nothing."""

    __slots__ = ("_fd", "_limit", "path")

    def __init__(self, path: str, *, limit: int = 4096) -> None:
        self.path, self._limit = path, limit
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # not there, or not for this user: it reads as empty

    def read(self) -> bytes:
        """Its content, at most ``limit`` bytes; empty when it is gone."""
        if self._fd < 0:
            return b""
        try:
            return os.pread(self._fd, self._limit, 0)
        except OSError:
            return b""

    def number(self) -> float | None:
        """The number that is all of its content."""
        try:
            return float(self.read())
        except ValueError:
            return None

    @property
    def there(self) -> bool:
        return self._fd >= 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def network_bytes(table: bytes, names: frozenset[bytes] | None) -> tuple[int, int]:
    """Bytes received and sent over the named interfaces (``None``: all but ``lo``), from ``/proc/net/dev``'s text."""
    received = sent = 0
    for line in table.split(b"\n")[2:]:
        name, _, rest = line.partition(b":")
        name = name.strip()
        if (name in names) if names is not None else (name and name != b"lo"):
            fields = rest.split()
            received += int(fields[0])
            sent += int(fields[8])
    return received, sent
