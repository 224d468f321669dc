"""Keeping a gang together: which places of a topology tree its members go to, and how many to each."""

from __future__ import annotations

import numpy as np

from ampacity.model.resources import Range

from .columns import Ints
from .marked import NOWHERE, Tree

Part = tuple[Ints, int]
"""Rows next to each other, and how many members go there."""


def whole(tree: Tree, rows: Ints, size: Range, level: int, *, required: bool) -> tuple[Ints, int] | None:
    """The rows of the one place that the gang goes to, and how many members it has there.

    The place is one of ``level``, or with ``required`` false of a level above it, or the whole tree, the lowest that
    holds the least size. Of several, the one that lets an elastic gang grow most; then that with the least room.

    Args:
        rows: those on which a member fits.
        level: its index in ``tree.levels``.
    """
    for at in range(level, -1, -1):
        codes = tree.codes[rows, at]
        placed = codes != NOWHERE
        room = np.bincount(codes[placed], minlength=1)
        holding = np.flatnonzero(room >= size.minimum)
        if len(holding):
            members = room[holding] if size.maximum is None else np.minimum(room[holding], size.maximum)
            best = np.lexsort((holding, room[holding], -members))[0]
            return rows[codes == holding[best]], int(members[best])
        if required:
            return None
    return None if required or len(rows) < size.minimum else (rows, _most(size, len(rows)))


def packed(tree: Tree, rows: Ints, members: int, level: int = 0) -> list[Part]:
    """The members over the places of a level and of those below: in as few as can be, each filled as far as can be.

    Where one place holds all that are left, the one with the least room does; else the one with the most is filled.
    Nodes without a place stand alone and come last.
    """
    if level == len(tree.levels) or members <= 0 or len(rows) <= 1:
        return [(rows, members)] if members > 0 else []
    codes = tree.codes[rows, level]
    placed = codes != NOWHERE
    room = np.bincount(codes[placed], minlength=1)
    parts: list[Part] = []
    left = members
    while left > 0 and room.any():
        holding = np.flatnonzero(room >= left)
        place = int(holding[np.argmin(room[holding])]) if len(holding) else int(np.argmax(room))
        taken = min(left, int(room[place]))
        parts += packed(tree, rows[codes == place], taken, level + 1)
        room[place] = 0
        left -= taken
    if left > 0:
        parts.append((rows[~placed], left))
    return parts


def _most(size: Range, room: int) -> int:
    return room if size.maximum is None else min(size.maximum, room)
