"""Fragmentation gradient descent: a member goes where the fragmented part of the devices grows least.

Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent", ATC'23.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from .base import Ask, Asked, Floats, Mix, Room
from .kernels import Kept, Pods, kernels
from .scoring import ScoringPolicy

TYPICAL_SHARE: Final = 0.95
"""How much of the demand the typical pods cover (their artifact)."""


class Fgd(ScoringPolicy):
    """FGD with the typical members of a mix."""

    def __init__(self, mix: Mix = (), *, compiled: bool | None = None) -> None:
        super().__init__("fgd", self._refresh)
        self._kernels = kernels(compiled)
        self._steps = score_steps()
        self.learn(mix)

    def learn(self, mix: Mix) -> None:
        self._typical = typical(mix)
        self._pods: Pods | None = None
        self._keeper.forget()

    def _refresh(self, kept: Kept, room: Room, asked: Asked) -> None:
        if self._pods is None or self._pods.allowed.shape[1] != room.kinds + 1:
            self._pods = laid_out(self._typical, room.kinds)
        self._kernels.refresh_fgd(kept, room, asked, self._pods, self._steps)


def typical(mix: Mix) -> list[tuple[Ask, float]]:
    """The most frequent asks that make up ``TYPICAL_SHARE`` of the demand, and their shares.

    Those that are equally frequent: the larger first, by CPU, share of a device and devices; then as they came. The
    order of the sums, and the shares as quotients of shares, are the artifact's: equal to the last digit.
    """
    groups = sorted(mix, key=lambda each: (-each[1], -each[0].cpu_milli, -_milli(each[0]), -each[0].count))
    total, covered = sum(times for _, times in groups), 0
    found: list[tuple[Ask, int]] = []
    for ask, times in groups:
        if covered >= TYPICAL_SHARE * total:
            break
        found.append((ask, times))
        covered += times
    return [(ask, times / total / (covered / total)) for ask, times in found]


def laid_out(asks: list[tuple[Ask, float]], kinds: int) -> Pods:
    """As kernels take them."""
    allowed = [ask.allowed(kinds) for ask, _ in asks]
    return Pods(
        frequency=np.array([share for _, share in asks], np.float64),
        cpu_milli=np.array([ask.cpu_milli for ask, _ in asks], np.int64),
        devices=np.array([ask.count for ask, _ in asks], np.int64),
        device_milli=np.array([_milli(ask) for ask, _ in asks], np.int64),
        allowed=np.array(allowed, np.bool_).reshape(len(asks), kinds + 1),
    )


def score_steps() -> Floats:
    """[100] the least gain for a score of 1, 2, …: scores are whole hundredths of the gain's sigmoid."""
    return np.array([_least(score) for score in range(1, 101)], np.float64)


def _least(score: int) -> float:
    low, high = -64.0, 64.0
    while low < (middle := (low + high) / 2) < high:
        if int(100 * (1 / (1 + math.exp(-middle)))) >= score:
            high = middle
        else:
            low = middle
    return high


def _milli(ask: Ask) -> int:
    return ask.device_milli if ask.count else 0
