"""A bounded estimate of which prefixes each engine has cached, from what was sent there.

Engines are numbered (slots), so that the engines which have a block are one integer with a bit for each: the engines'
matches of a prompt come out of one walk over its blocks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import exp

Level = tuple[int, int]
"""A depth in blocks, and the slots (bits) whose match is that deep."""

SHRINK, GROW = 0.9, 1.02
LEAST_BLOCKS = 16


class Caches:
    """For each slot its blocks, the least recently used out first, as engines do it.

    ``most_blocks`` bounds the sum over all slots, ``memory_s`` says how quickly a block's claim to be used again fades.
    """

    def __init__(self, *, engine_blocks: int, most_blocks: int, memory_s: float) -> None:
        self._engine_blocks, self._most_blocks, self._memory_s = engine_blocks, most_blocks, memory_s
        self._where: dict[int, int] = {}
        self._order: list[OrderedDict[int, float]] = []
        self._limits: list[int] = []
        self._ceiling = engine_blocks

    @property
    def blocks(self) -> int:
        """Entries over all slots."""
        return sum(len(each) for each in self._order)

    def resize(self, slots: int) -> None:
        """There are so many slots now; new ones are empty."""
        while len(self._order) < slots:
            self._order.append(OrderedDict())
            self._limits.append(self._engine_blocks)
        self._ceiling = max(LEAST_BLOCKS, min(self._engine_blocks, self._most_blocks // max(1, slots)))
        for slot, limit in enumerate(self._limits):
            self._limits[slot] = min(limit, self._ceiling)
            self._evict(slot)

    def clear(self, slot: int) -> None:
        """Whatever was there is gone: the slot belongs to another engine now, or to none."""
        self._limits[slot] = 0
        self._evict(slot)
        self._limits[slot] = self._ceiling

    def depth(self, slot: int, blocks: Sequence[int]) -> int:
        """How many leading blocks the slot has."""
        have, depth = self._order[slot], 0
        for block in blocks:
            if block not in have:
                break
            depth += 1
        return depth

    def levels(self, blocks: Sequence[int]) -> list[Level]:
        """The matches of all slots, shallow ones first; every slot is in one level."""
        where, levels, depth = self._where, [], 0
        left = (1 << len(self._order)) - 1
        for block in blocks:
            here = left & where.get(block, 0)
            if here != left:
                levels.append((depth, left ^ here))
                left = here
                if not here:
                    return levels
            depth += 1
        if left:
            levels.append((depth, left))
        return levels

    def enter(self, slot: int, blocks: Sequence[int], now: float) -> float:
        """The prompt was sent there. How many blocks' worth of claims to be used again the slot has gained."""
        have, where, bit = self._order[slot], self._where, 1 << slot
        gained, last, kept = 0.0, now, 1.0
        for block in blocks:
            touched = have.get(block)
            if touched is None:
                where[block] = where.get(block, 0) | bit
                gained += 1.0
            else:
                if touched != last:
                    last, kept = touched, exp((touched - now) / self._memory_s)
                gained += 1.0 - kept
                have.move_to_end(block)
            have[block] = now
        if len(have) > self._limits[slot]:
            self._evict(slot)
        return gained

    def correct(self, slot: int, *, expected: int, reported: int) -> None:
        """The engine had ``reported`` blocks of this prompt cached where ``expected`` were thought to be.

        Its cache is smaller than was thought when there is less than half: the limit shrinks by a tenth for each such
        miss and grows slowly while matches come true; an engine that caches nothing ends at next to nothing.
        """
        if expected < 2:
            return
        if reported * 2 < expected:
            self._limits[slot] = max(LEAST_BLOCKS, int(min(self._limits[slot], len(self._order[slot])) * SHRINK))
            self._evict(slot)
        elif reported * 10 >= expected * 9:
            self._limits[slot] = min(self._ceiling, int(self._limits[slot] * GROW) + 1)

    def _evict(self, slot: int) -> None:
        have, where, keep = self._order[slot], self._where, ~(1 << slot)
        for _ in range(len(have) - self._limits[slot]):
            block, _ = have.popitem(last=False)
            left = where[block] & keep
            if left:
                where[block] = left
            else:
                del where[block]
