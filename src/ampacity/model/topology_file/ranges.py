"""Ranges of node names, as clusters are used to them: ``n[01-16]``, ``r[1-2]n[1,3,5-8]``."""

from __future__ import annotations

import re
from itertools import product

MOST = 200_000
"""The most names that one range may stand for."""

_TEXT = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*\])+")
_PARTS = re.compile(r"\[([^\]]*)\]")


def expanded(text: str) -> list[str] | None:
    """All names that the text stands for, in order; numbers keep their leading zeros. ``None`` = it makes no sense."""
    text = text.strip()
    if not _TEXT.fullmatch(text):
        return None
    pieces = _PARTS.split(text)
    choices: list[list[str]] = []
    count = 1
    for position, piece in enumerate(pieces):
        found = _numbers(piece) if position % 2 else [piece]
        if found is None or count * len(found) > MOST:
            return None
        count *= len(found)
        choices.append(found)
    return ["".join(parts) for parts in product(*choices)]


def _numbers(piece: str) -> list[str] | None:
    found: list[str] = []
    for part in piece.split(","):
        low, dash, high = part.partition("-")
        if not dash:
            found.append(low)
        elif len(high) > 9 or not int(low) <= int(high) <= int(low) + MOST:
            return None
        else:
            found += [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    return found
