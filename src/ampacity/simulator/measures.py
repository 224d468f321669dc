"""What a simulated time was like: utilisation, waiting, fairness, work done twice. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import ceil

from .jobs import JobOutcome
from .simulation import Result


def utilisation(result: Result, since: float, until: float) -> float:
    """The share of all accelerators that was held within that time, 0 to 1."""
    held_s = sum(run.accelerator_s(since, until) for outcome in result.outcomes for run in outcome.runs)
    return held_s / (result.accelerators * (until - since))


def waits_s(outcomes: Iterable[JobOutcome], until: float) -> list[float]:
    """How long each job waited for its first start, in order of length. Who still waits has waited until then."""
    found = [outcome.waited_s for outcome in outcomes if not outcome.refused]
    still = [outcome for outcome in outcomes if not outcome.refused and outcome.waited_s is None]
    return sorted([wait for wait in found if wait is not None] + [max(0.0, until - each.job.at) for each in still])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By the nearest rank. ``nan`` of nothing."""
    if not ordered:
        return float("nan")
    rank = ceil(len(ordered) * percent / 100)
    return ordered[min(len(ordered), max(rank, 1)) - 1]


def jain_index(shares: Sequence[float]) -> float:
    """1 = all got the same; 1/n = one got everything. Jain, Chiu, Hawe 1984: (sum x)^2 / (n sum x^2)."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def by_class(outcomes: Iterable[JobOutcome], name: Callable[[JobOutcome], str]) -> dict[str, list[JobOutcome]]:
    """The outcomes by a name that is made of each."""
    found: dict[str, list[JobOutcome]] = {}
    for outcome in outcomes:
        found.setdefault(name(outcome), []).append(outcome)
    return found
