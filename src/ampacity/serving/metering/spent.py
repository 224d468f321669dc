"""What those with a budget have spent, by the books: the control plane writes it, gateways read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ampacity.model.ids import KeyId, Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Money, in each budget's present period."""

    keys: dict[KeyId, float] = field(default_factory=dict)
    projects: dict[Project, float] = field(default_factory=dict)


def write_spent(path: Path, spent: Spent) -> None:
    """Replace it as a whole. Not forced onto the disk: it is worked out anew from the books. Raises ``OSError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(spent))
    os.replace(fresh, path)


class SpentFile:
    """Tells ``tell`` whenever another one stands there. One that cannot be read changes nothing."""

    def __init__(self, path: Path, tell: Callable[[Spent], None]) -> None:
        self._path, self._tell = path, tell
        self._mark: tuple[int, int] | None = None

    def refresh(self) -> None:
        try:
            stat = self._path.stat()
            mark = (stat.st_ino, stat.st_mtime_ns)
            if mark == self._mark:
                return
            spent = msgspec.json.decode(self._path.read_bytes(), type=Spent)
        except (OSError, msgspec.DecodeError):
            return  # it is written anew with the next books
        self._mark = mark
        self._tell(spent)
