"""Reading ``/proc`` and ``/sys``, or a tree of files that looks like them."""

from __future__ import annotations

import os


class Tree:
    """Small files below a root. What is not there, or not for this user, reads as empty: every machine lacks some."""

    __slots__ = ("root",)

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.root = os.path.realpath(root)

    def path(self, place: str) -> str:
        return os.path.join(self.root, place.lstrip("/"))

    def text(self, place: str) -> str:
        """Without blanks at its ends."""
        try:
            with open(self.path(place), "rb") as file:
                return file.read().decode(errors="replace").strip()
        except OSError:
            return ""

    def number(self, place: str) -> int | None:
        """Decimal, or hexadecimal with ``0x``."""
        try:
            return int(self.text(place), 0)
        except ValueError:
            return None

    def names(self, place: str) -> list[str]:
        """What is in a folder, in order; those that end in numbers by their number."""
        try:
            return sorted(os.listdir(self.path(place)), key=_natural)
        except OSError:
            return []

    def exists(self, place: str) -> bool:
        return os.path.exists(self.path(place))

    def entry(self, place: str) -> int | None:
        """The number of the entry that a link leads to: sysfs gives each new one another. ``None`` = there is none."""
        try:
            return os.stat(self.path(place)).st_ino
        except OSError:
            return None

    def target(self, place: str) -> str:
        """Where a link leads in the end, from the root; empty when there is nothing."""
        path = self.path(place)
        if not os.path.exists(path):
            return ""
        return os.path.realpath(path).removeprefix("" if self.root == "/" else self.root)

    def table(self, place: str) -> dict[str, str]:
        """From lines of ``name value`` or ``name: value``."""
        found = {}
        for line in self.text(place).splitlines():
            name, _, value = line.partition(":") if ":" in line else line.partition(" ")
            found[name.strip()] = value.strip()
        return found


def _natural(name: str) -> tuple[str, int, str]:
    stem = name.rstrip("0123456789")
    return (stem, int(name[len(stem) :] or -1), name)


def listed(text: str) -> set[int]:
    """The numbers of a kernel list: ``0-3,8`` is 0, 1, 2, 3 and 8."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit():
            found.update(range(int(first), int(last or first) + 1))
    return found
