"""What pieces of a device are worth: against every basis of small programmes, and against what the theory says."""

from __future__ import annotations

from itertools import combinations, product
from random import Random

import numpy as np
import pytest

from ampacity.scheduler.placing.patterns import worth_of_pieces
from ampacity.scheduler.placing.rules import LEVELS


def devices_needed(sizes: list[int], demand: list[float]) -> float:
    """The least number of devices, in parts: over all bases of the programme with all ways to cut a device, and ways
    to have too much of a size."""
    ways = [np.array(cut, float) for cut in product(*(range(LEVELS // size + 1) for size in sizes))]
    cuts = [(way, 1.0) for way in ways if 0 < way @ np.array(sizes) <= LEVELS]
    surplus = [(-np.eye(len(sizes))[index], 0.0) for index in range(len(sizes))]
    best = np.inf
    for basis in combinations(cuts + surplus, len(sizes)):
        columns = np.array([column for column, _ in basis]).T
        if abs(np.linalg.det(columns)) > 1e-9:
            taken = np.linalg.solve(columns, np.array(demand))
            if taken.min() >= -1e-9:
                best = min(best, float(taken @ np.array([cost for _, cost in basis])))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_prices_add_up_to_the_fewest_devices(seed: int) -> None:
    rng = Random(seed)
    sizes = sorted(rng.sample(range(18, LEVELS + 1), rng.randint(1, 3)))
    demand = [rng.randint(1, 9) for _ in sizes]
    worth = worth_of_pieces(np.array(sizes), np.array(demand, float))
    assert sum(times * worth[size] for size, times in zip(sizes, demand, strict=True)) == pytest.approx(
        devices_needed(sizes, [float(each) for each in demand])
    )


@pytest.mark.parametrize("seed", range(5))
def test_two_pieces_are_never_worth_more_than_the_one_that_they_are_cut_out_of(seed: int) -> None:
    """So what the demand adds up to is a lower bound for any cutting: the prices are optimal if it is also reached."""
    rng = Random(seed)
    sizes = sorted(rng.sample(range(1, LEVELS + 1), 40))
    worth = worth_of_pieces(np.array(sizes), np.array([rng.randint(1, 50) for _ in sizes], float))
    assert worth[0] == 0
    assert worth[LEVELS] == pytest.approx(1)
    assert (np.diff(worth) >= -1e-9).all()
    for piece in range(LEVELS + 1):
        assert (worth[: LEVELS + 1 - piece] + worth[piece] <= worth[piece:] + 1e-6).all()


def test_halves_thirds_and_scraps() -> None:
    worth = worth_of_pieces(np.array([34, 51, 100]), np.array([2.0, 1.0, 5.0]))
    assert worth[33] == 0, "too small for anything that is asked for"
    assert worth[51] + worth[34] == pytest.approx(1), "they go together"
    assert worth_of_pieces(np.array([33]), np.ones(1))[[32, 33, 66, 99]] == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_what_is_left_over_is_cut_into_the_smallest_pieces_to_the_last() -> None:
    worth = worth_of_pieces(np.array([60, 1]), np.array([5.0, 300.0]))
    assert worth[[1, 40, 60, 100]] == pytest.approx([0.01, 0.4, 0.6, 1.0])


def test_without_demand_nothing_is_worth_anything() -> None:
    assert not worth_of_pieces(np.zeros(0, np.int64), np.zeros(0)).any()
