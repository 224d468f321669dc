"""What was: who has used how much, and how long jobs of a kind took. Rows, written with the end of each attempt."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import floor, log2

from .amounts import ACCELERATORS, CPUS, KINDLESS
from .attempt import Attempt
from .ids import Owner, Project, QueueName
from .resources import WHOLE_MILLI
from .workload import Workload

BUCKETS_PER_OCTAVE = 2
BUCKETS = 26 * BUCKETS_PER_OCTAVE
"""From one second to about two years."""

LEAST_MEASURED_S = 10.0
"""A rate is measured over so many seconds at least."""

NEWEST = 0.5
"""What the newest measured rate counts against all before."""

FADING = 0.98
"""What an observed run counts after one more: the last fifty or so make up what is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the ended attempts of one owner in one queue have used: weighted seconds (see
    ``SchedulerPolicy.usage_weights``), faded to the time ``at``."""

    queue: QueueName
    project: Project
    owner: Owner
    used_s: float = 0.0
    at: float = 0.0
    version: int = 1

    @property
    def key(self) -> str:
        return account_key(self.queue, self.project, self.owner)

    def faded(self, now: float, half_life_s: float) -> float:
        """What it counts later on."""
        return self.used_s * faded(now - self.at, half_life_s)

    def charged(self, used_s: float, now: float, half_life_s: float) -> Usage:
        """With so much more; of an attempt that ended just now."""
        at = max(now, self.at)
        return replace(self, used_s=self.faded(at, half_life_s) + used_s, at=at)


def account_key(queue: str, project: str, owner: str) -> str:
    return f"{queue}/{project}/{owner}"


def faded(age_s: float, half_life_s: float) -> float:
    """What a second that lies so far back counts: one half to the power of the half-lives since."""
    return float(2.0 ** (-max(0.0, age_s) / half_life_s))


def used_since(rate: float, begun_at: float, now: float, half_life_s: float) -> float:
    """What a steady use since then counts now: the integral of its fading."""
    lasted_s = max(0.0, now - begun_at)
    return rate * (1.0 - faded(lasted_s, half_life_s)) * half_life_s / 0.6931471805599453


def usage_rate(amounts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Weighted seconds a second of holding these amounts."""
    kinds = [name for name in sorted(weights) if name not in KINDLESS]
    devices = sum(amounts.get(kind, 0) * weights[kind] for kind in kinds)
    unnamed = amounts.get(ACCELERATORS, 0) - sum(amounts.get(kind, 0) for kind in kinds)
    devices += unnamed * weights.get(ACCELERATORS, 0.0)
    return max(devices, amounts.get(CPUS, 0) * weights.get(CPUS, 0.0)) / WHOLE_MILLI


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeHistory:
    """How long jobs of one kind took: a histogram over half octaves of seconds that fades with each new one.

    ``count``: how many there were in all. ``weights``: by bucket. ``rates``: steps/s for each accelerator that they
    had, by its kind, as measured; the newest count most.
    """

    key: str
    count: int = 0
    weights: tuple[float, ...] = ()
    at: float = 0.0
    rates: Mapping[str, float] = field(default_factory=dict)
    version: int = 1

    def with_rate(self, kind: str, rate: float, now: float) -> RuntimeHistory:
        """``rate``: steps/s for each accelerator of that kind."""
        known = self.rates.get(kind)
        mean = rate if known is None else NEWEST * rate + (1 - NEWEST) * known
        return replace(self, rates={**self.rates, kind: mean}, at=now)

    def with_run(self, lasted_s: float, now: float) -> RuntimeHistory:
        weights = [weight * FADING for weight in self.weights] or [0.0] * BUCKETS
        weights[bucket_of(lasted_s)] += 1.0
        return replace(self, count=self.count + 1, weights=tuple(weights), at=now)

    def quantile_s(self, part: float) -> float:
        """A time that this part of the runs did not exceed: the upper end of its bucket."""
        wanted = part * sum(self.weights)
        reached = 0.0
        for bucket, weight in enumerate(self.weights):
            reached += weight
            if weight and reached >= wanted - 1e-9:
                return upper_s(bucket)
        return upper_s(BUCKETS - 1)

    def remaining_s(self, lasted_s: float) -> float:
        """The mean of what is left to a run that has lasted so long; as long again where none lasted longer."""
        left = [(weight, middle_s(bucket)) for bucket, weight in enumerate(self.weights) if middle_s(bucket) > lasted_s]
        total = sum(weight for weight, _ in left)
        if not total:
            return max(1.0, lasted_s)
        return sum(weight * (middle - lasted_s) for weight, middle in left) / total

    def gittins(self, lasted_s: float) -> float:
        """The best rate of ending, over all times to stop looking: the chance of an end within them for each second
        spent. Gittins' index; Aalto, Ayesta and Righter, "On the Gittins index in the M/G/1 queue" (2009), eq. 2."""
        left = [(weight, middle_s(bucket)) for bucket, weight in enumerate(self.weights) if middle_s(bucket) > lasted_s]
        total = sum(weight for weight, _ in left)
        if not total:
            return 1.0 / max(1.0, lasted_s)
        return max(self._rates(left, total, lasted_s))

    @staticmethod
    def _rates(left: Sequence[tuple[float, float]], total: float, lasted_s: float) -> list[float]:
        rates, ended, spent = [], 0.0, 0.0
        for weight, middle in left:
            ended += weight
            spent += weight * (middle - lasted_s)
            rates.append(ended / (spent + (total - ended) * (middle - lasted_s)))
        return rates


def steps_per_s(attempt: Attempt) -> float | None:
    """The rate at which it made steps between its first and its newest report; ``None`` where these are too near."""
    first, last = attempt.first_progress, attempt.progress
    if first is None or last is None or last.at - first.at < LEAST_MEASURED_S or last.step <= first.step:
        return None
    return (last.step - first.step) / (last.at - first.at)


def bucket_of(lasted_s: float) -> int:
    return min(BUCKETS - 1, max(0, floor(BUCKETS_PER_OCTAVE * log2(max(1.0, lasted_s)))))


def upper_s(bucket: int) -> float:
    """The end of a bucket: a power of the square root of two, in seconds."""
    return float(2.0 ** ((bucket + 1) / BUCKETS_PER_OCTAVE))


def middle_s(bucket: int) -> float:
    return float(2.0 ** ((bucket + 0.5) / BUCKETS_PER_OCTAVE))


def runtime_key(workload: Workload) -> str:
    """What makes workloads one kind: whose they are, and their name without the number at its end."""
    name = workload.array.array if workload.array is not None else re.sub(r"-?[0-9]+$", "", workload.name)
    return f"{workload.project}/{workload.owner}/{workload.kind}/{name or workload.name}"


def lasted_s(attempt: Attempt, now: float) -> float:
    """How long its places have been held: until its end, or until now."""
    end = attempt.ended_at if attempt.ended_at is not None else now
    return max(0.0, end - attempt.placed_at)
