"""What pieces of a device are worth when the demand is cut out of as few devices as can be.

The cutting-stock programme by column generation: Gilmore and Gomory, "A Linear Programming Approach to the
Cutting-Stock Problem", Operations Research 9 (1961).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ampacity.scheduler.columns import Ints

from .base import Floats
from .rules import LEVELS

TOLERANCE: Final = 1e-9
MOST_ROUNDS: Final = 1000
"""Each round is a pivot. A hundred sizes take about as many; a programme that is cut short gives usable prices too."""


def worth_of_pieces(level: Ints, demand: Floats) -> Floats:
    """[levels + 1] the worth of a piece of so many levels, in whole devices: that of the members that could be cut out
    of it, each at the part of a device that it costs in the best cutting of all.

    0 for a piece that is too small to be of use, 1 for the whole device.

    Args:
        level: [s] sizes, all different, from 1 to ``LEVELS``.
        demand: [s] how many of each there are, above 0.
    """
    if not len(level):
        return np.zeros(LEVELS + 1)
    inverse = np.diag(1.0 / (LEVELS // level))  # of the basis: at first, devices that are cut into one size each
    cost, cut = np.ones(len(level)), inverse @ demand
    for _ in range(MOST_ROUNDS):
        price = cost @ inverse
        worth, entering, entering_cost = _best_column(level, price)
        if entering is None:
            return worth
        rate = inverse @ entering
        growing = np.flatnonzero(rate > TOLERANCE)
        ratio = cut[growing] / rate[growing]
        leaving = growing[ratio.argmin()]
        cut -= rate * ratio.min()
        cut[leaving] = ratio.min()
        cost[leaving] = entering_cost
        pivot = inverse[leaving] / rate[leaving]
        inverse -= np.outer(rate, pivot)
        inverse[leaving] = pivot
    return _knapsack(level, cost @ inverse)[0]


def _best_column(level: Ints, price: Floats) -> tuple[Floats, Floats | None, float]:
    """The worth of pieces at these prices; and a column that would save devices, with its cost, if there is one: too
    much of a size where its price is below 0, else the cutting of a device that is worth the most."""
    worth, last = _knapsack(level, price)
    column = np.zeros(len(level))
    if price.min() < -TOLERANCE:
        column[price.argmin()] = -1.0
        return worth, column, 0.0
    if worth[LEVELS] <= 1 + TOLERANCE:
        return worth, None, 0.0
    left = LEVELS
    while left > 0:
        if last[left] < 0:
            left -= 1
        else:
            column[last[left]] += 1
            left -= int(level[last[left]])
    return worth, column, 1.0


def _knapsack(level: Ints, price: Floats) -> tuple[Floats, Ints]:
    """[levels + 1] the most that fits into a piece is worth, and the size that is cut off first; -1 = a level is left
    over first."""
    worth, last = np.zeros(LEVELS + 1), np.full(LEVELS + 1, -1, np.int64)
    for left in range(1, LEVELS + 1):
        worth[left] = worth[left - 1]
        fits = np.flatnonzero(level <= left)
        if len(fits):
            values = price[fits] + worth[left - level[fits]]
            best = values.argmax()
            if values[best] > worth[left] + TOLERANCE:
                worth[left], last[left] = values[best], fits[best]
    return worth, last
