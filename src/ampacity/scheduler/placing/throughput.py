"""How fast a job runs on each kind of accelerator: as its owner says, as it was measured, or as estimated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Source(StrEnum):
    """Where a rate comes from, the most trusted first."""

    MEASURED = "measured"
    GIVEN = "given"
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    steps_per_s: float
    source: Source


PEAK_TFLOPS: Final[Mapping[str, float]] = {
    "B200": 2250,
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "L40S": 362,
    "L4": 121,
    "A10": 125,
    "T4": 65,
    "V100": 125,
    "P100": 19,
    "MI300X": 1307,
    "MI250X": 383,
}
"""Dense 16-bit peak, from the makers' data sheets (SXM or OAM form where there are several)."""


def rates(
    kinds: Iterable[str],
    *,
    given: Mapping[str, float],
    measured: Mapping[str, float],
    others: Iterable[Mapping[str, float]] = (),
) -> dict[str, Rate]:
    """Steps a second on each of the kinds for which anything can be said.

    What was measured counts more than what was given. The rest is estimated from the kind that is known and the ratio
    of the two kinds: the geometric mean of what other jobs were measured at on both, else the ratio of their peaks. It
    is estimated from the nearest known kind, by peak, and from a measured one if there is any.

    Args:
        given, measured: steps/s of this job by kind.
        others: steps/s of other jobs by kind, each job by itself.
    """
    found = {kind: Rate(steps_per_s=rate, source=Source.GIVEN) for kind, rate in given.items()}
    found |= {kind: Rate(steps_per_s=rate, source=Source.MEASURED) for kind, rate in measured.items()}
    anchors = measured or given
    jobs = list(others)
    answers: dict[str, Rate] = {}
    for kind in kinds:
        if kind in found:
            answers[kind] = found[kind]
            continue
        for anchor in sorted(anchors, key=lambda known: (_distance(known, kind), known)):
            ratio = _measured_ratio(jobs, kind, anchor) or _peak_ratio(kind, anchor)
            if ratio is not None:
                answers[kind] = Rate(steps_per_s=anchors[anchor] * ratio, source=Source.ESTIMATED)
                break
    return answers


def speeds(answers: Mapping[str, Rate], kinds: Iterable[str]) -> tuple[float, ...]:
    """Each kind's rate over the best one's, in the order given; 1 where nothing is known of it. Empty where nothing is
    known at all: then all kinds are the same."""
    best = max((rate.steps_per_s for rate in answers.values()), default=0.0)
    if best <= 0:
        return ()
    return tuple(answers[kind].steps_per_s / best if kind in answers else 1.0 for kind in kinds)


def _measured_ratio(jobs: list[Mapping[str, float]], kind: str, anchor: str) -> float | None:
    logs = [math.log(job[kind] / job[anchor]) for job in jobs if job.get(kind, 0) > 0 and job.get(anchor, 0) > 0]
    return math.exp(math.fsum(logs) / len(logs)) if logs else None


def _peak_ratio(kind: str, anchor: str) -> float | None:
    if kind not in PEAK_TFLOPS or anchor not in PEAK_TFLOPS:
        return None
    return PEAK_TFLOPS[kind] / PEAK_TFLOPS[anchor]


def _distance(known: str, kind: str) -> float:
    """How far apart two kinds are, by the logarithm of their peaks; those without one are the farthest."""
    ratio = _peak_ratio(kind, known)
    return math.inf if ratio is None else abs(math.log(ratio))
