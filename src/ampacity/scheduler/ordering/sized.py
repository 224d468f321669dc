"""Orders by how long jobs take: known (their limit), estimated (learned from their kind), or unknown. Within each class
of priority; they make the mean wait short, and let long jobs wait."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import TYPE_CHECKING

from ampacity.model.amounts import ACCELERATORS, demand
from ampacity.model.resources import WHOLE_MILLI

from .base import Circumstances

if TYPE_CHECKING:
    from ampacity.scheduler.order import Want


@dataclass(frozen=True, slots=True)
class ShortestRemaining:
    """Shortest remaining processing time, known or estimated: what jobs of its kind still ran for once they had lasted
    as long, else its limit less what it ran."""

    learns: bool = True
    is_fair: bool = False

    def standing(self, want: Want) -> tuple[float, float]:
        return float(want.spec.priority), 0.0

    def pull(self, want: Want, seen: Circumstances) -> float:
        ran_s = want.replica.ran_s
        if seen.history is not None:
            return -seen.history.remaining_s(ran_s)
        return -max(1.0, seen.expected_s - ran_s)


@dataclass(frozen=True, slots=True)
class Gittins:
    """The highest Gittins index first: the chance to end soon for the time that is spent, from the distribution of what
    jobs of its kind took. Without one, one over what is expected."""

    learns: bool = True
    is_fair: bool = False

    def standing(self, want: Want) -> tuple[float, float]:
        return float(want.spec.priority), 0.0

    def pull(self, want: Want, seen: Circumstances) -> float:
        ran_s = want.replica.ran_s
        if seen.history is not None:
            return seen.history.gittins(ran_s)
        return 1.0 / max(1.0, seen.expected_s - ran_s)


@dataclass(frozen=True, slots=True)
class LeastAttained:
    """Least attained service, for jobs of unknown length: who has had the least, in accelerator seconds, goes first. In
    octaves, so that none is overtaken for a trifle: Gu et al., "Tiresias" (NSDI 2019), §3.2."""

    learns: bool = True
    is_fair: bool = False

    def standing(self, want: Want) -> tuple[float, float]:
        asked = demand(want.spec.resources, want.size.minimum)
        served_s = want.replica.ran_s * max(1.0, asked.get(ACCELERATORS, 0) / WHOLE_MILLI)
        return float(want.spec.priority), -float(int(log2(1.0 + served_s)))

    def pull(self, want: Want, seen: Circumstances) -> float:
        return 0.0
