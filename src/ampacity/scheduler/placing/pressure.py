"""How much the demand presses on each kind of accelerator, for those kinds that some of it cannot do without."""

from __future__ import annotations

from typing import Final

import numpy as np

from ampacity.scheduler.columns import Ints

from .base import Floats, Mix, Room

ROUNDS: Final = 200
STEP: Final = 0.5
MOST_LOAD: Final = 4.0


class Pressure:
    """The demand by the kinds that it is content with, and the loads that follow from it in a room."""

    def __init__(self, mix: Mix) -> None:
        sums: dict[tuple[int, ...], int] = {}
        for ask, times in mix:
            if ask.count:
                sums[ask.kinds] = sums.get(ask.kinds, 0) + times * ask.total_milli
        self._kinds = sorted(sums)
        total = sum(sums.values())
        self._share = np.array([sums[kinds] / total for kinds in self._kinds])

    def loads(self, room: Room) -> Floats:
        """[kinds] what is expected to be asked of each kind, over what it has left, if all of the demand goes where it
        evens out the loads: 1 = as much as of all kinds together, more = more than it can ever serve.

        The demand is scaled to what is left in all. It is spread by multiplicative weights: each group of it moves
        away from kinds with high loads, until those that are still loaded above the rest are so because of demand that
        can go nowhere else.
        """
        left = _left(room)
        if len(self._kinds) <= 1 or not left.sum():
            return np.ones(room.kinds)
        allowed = np.array([_allowed(kinds, room.kinds) for kinds in self._kinds])
        reachable = allowed.any(axis=1) & ((allowed * left).sum(axis=1) > 0)
        spread = allowed[reachable] * left
        spread /= spread.sum(axis=1, keepdims=True)
        demand = self._share[reachable] * left.sum()
        loads = np.ones(room.kinds)
        for _ in range(ROUNDS):
            loads = demand @ spread / (left + 1.0)
            spread *= np.exp(-STEP * np.minimum(loads, MOST_LOAD))
            spread /= spread.sum(axis=1, keepdims=True)
        return loads


def _left(room: Room) -> Floats:
    """[kinds] thousandths that are left on nodes that take work."""
    open_rows = room.device_left[room.open]
    sums = np.bincount(
        room.device_kind[room.open].ravel().astype(np.int64) + 1, weights=open_rows.ravel(), minlength=room.kinds + 1
    )
    return np.asarray(sums[1:], np.float64)


def _allowed(kinds: tuple[int, ...], among: int) -> Ints:
    flags = np.zeros(among, np.int64)
    flags[[code for code in kinds if code < among] if kinds else slice(None)] = 1
    return flags
