"""Orders by points: ageing, fair share, deadlines, size. All add up to one number, so none of them starves anybody:
with its age, whoever waits comes to be first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ampacity.model.amounts import ACCELERATORS, CPUS, demand
from ampacity.model.policy import PRIORITY_CLASS, Multifactor, Points
from ampacity.model.resources import WHOLE_MILLI

from .base import Circumstances

if TYPE_CHECKING:
    from ampacity.scheduler.order import Want

LARGEST_PRIORITY = 1000
LARGE = 4096
"""Accelerators (or, without any, CPUs) of a job that counts as the largest there is."""


@dataclass(frozen=True, slots=True)
class Fair:
    """Priority in points; each class's worth of age lifts it by one class. The owner's fair share, a deadline that
    comes near, and work that waits for it add to that."""

    points: Points
    learns: bool = False
    is_fair: bool = True

    def standing(self, want: Want) -> tuple[float, float]:
        points = self.points
        age = -want.workload.created_at * PRIORITY_CLASS / points.ageing_s
        return 0.0, want.spec.priority + age + points.critical_path * want.behind_s / 3600.0

    def pull(self, want: Want, seen: Circumstances) -> float:
        points = self.points
        pull = points.fair_share * seen.fairness
        if want.deadline is not None and seen.now >= want.deadline - seen.expected_s - points.deadline_margin_s:
            pull += points.deadline
        return pull


@dataclass(frozen=True, slots=True)
class ByFactors:
    """As Slurm's multifactor plug-in: each factor lies between 0 and 1 and has a weight; but age does not stop counting
    at ``max_age_s``. Larger jobs first."""

    weights: Multifactor
    learns: bool = False
    is_fair: bool = True

    def standing(self, want: Want) -> tuple[float, float]:
        weights = self.weights
        age = -want.workload.created_at / weights.max_age_s
        asked = demand(want.spec.resources, want.size.minimum)
        size = min(1.0, (asked.get(ACCELERATORS) or asked.get(CPUS, 0)) / WHOLE_MILLI / LARGE)
        priority = (want.spec.priority + LARGEST_PRIORITY) / (2 * LARGEST_PRIORITY)
        return 0.0, weights.age * age + weights.size * size + weights.priority * priority

    def pull(self, want: Want, seen: Circumstances) -> float:
        return self.weights.fair_share * seen.fairness
