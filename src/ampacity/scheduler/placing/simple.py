"""The published rules besides FGD, and spreading: scores of a row by itself (Weng et al., ATC'23, and its artifact)."""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from ampacity.scheduler.columns import Counts

from . import rules
from .base import Ask, Asked, Floats, Room
from .kernels import Kept, kernels
from .scoring import ScoringPolicy

CLASSES: Final = 10
"""What GpuClustering tells apart: shares, one device, two, …; nine and more are one class."""


class Simple(ScoringPolicy):
    """A rule without memory: ``best_fit``, ``dot_product``, ``gpu_packing`` or ``spread``."""

    def __init__(self, name: str, rule: int, *, compiled: bool | None = None) -> None:
        self._classes: Counts = np.zeros((0, CLASSES), np.int32)
        self._score = partial(kernels(compiled).refresh_simple, rule)
        super().__init__(name, self._refresh)

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        self._score(kept, room, asked, self._classes)


class BestFit(Simple):
    """The row that is left with the least. Its scores are spread over 0 to 100 between the worst and the best row."""

    def __init__(self, *, compiled: bool | None = None) -> None:
        super().__init__("best_fit", rules.BEST_FIT, compiled=compiled)

    def _settle(self, value: Floats, room: Room, ask: Ask) -> Floats:
        fits = value > -np.inf
        highest, lowest = value.max(initial=-np.inf), value.min(initial=np.inf, where=fits)
        if highest > lowest:
            above = np.where(fits, value, lowest) - lowest
            value = np.where(fits, above * 100 // (highest - lowest), -np.inf)
        return super()._settle(value, room, ask)


class GpuClustering(Simple):
    """Members of one size beside each other: a row is the better, the less it holds of other sizes.

    What a row holds changes its scores: it is to be told with :meth:`hold` and :meth:`release`, when the row's version
    has changed and before the row is asked about again.
    """

    def __init__(self, *, compiled: bool | None = None) -> None:
        super().__init__("gpu_clustering", rules.GPU_CLUSTERING, compiled=compiled)

    def hold(self, row: int, ask: Ask) -> None:
        self._count(row, ask, 1)

    def release(self, row: int, ask: Ask) -> None:
        self._count(row, ask, -1)

    def _count(self, row: int, ask: Ask, by: int) -> None:
        if ask.count:
            self._reserve(row + 1)
            self._classes[row, 0 if ask.shares else min(ask.count, CLASSES - 1)] += by

    def _reserve(self, rows: int) -> None:
        if rows > len(self._classes):
            grown = np.zeros((max(rows, 2 * len(self._classes)), CLASSES), np.int32)
            grown[: len(self._classes)] = self._classes
            self._classes = grown

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        self._reserve(room.size)
        super()._refresh(kept, room, asked)


class Random(ScoringPolicy):
    """Any row on which it fits, with equal chances: what the others are measured against.

    Drawn by a hash of the seed, the number of the draw and the row's rank (the finaliser of SplitMix64, Steele et al.,
    OOPSLA'14), so that the same history gives the same answers.
    """

    def __init__(self, seed: int, *, compiled: bool | None = None) -> None:
        self._score = partial(kernels(compiled).refresh_simple, rules.BEST_FIT)
        self._seed, self._draws = seed, 0
        super().__init__("random", self._refresh)

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        self._score(kept, room, asked, np.zeros((0, CLASSES), np.int32))

    def _settle(self, value: Floats, room: Room, ask: Ask) -> Floats:
        self._draws += 1
        start = np.uint64((self._seed * 1_000_003 + self._draws) % 2**63)
        drawn = _mixed(_mixed(np.full(1, start)) + room.rank.astype(np.uint64))
        return np.where(value > -np.inf, (drawn >> np.uint64(11)).astype(np.float64), -np.inf)


def _mixed(numbers: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
