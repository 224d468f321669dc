"""What became of each request, and what that amounts to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """``refused``: the endpoint said clearly that it will not (429, 503). ``late``: no answer within the time limit.
    ``failed``: anything else."""

    ANSWERED = "answered"
    REFUSED = "refused"
    LATE = "late"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Times in seconds since the time at which the request was to be sent, whether it was or not: a generator or an
    endpoint that is late makes its own latencies no better. ``due_s``: that time, since the beginning. ``sent_s``: how
    late it was sent. ``first_s``: to the first
    token, ``None`` = there was none. ``status`` 0 = no answer."""

    ending: Ending
    sent_s: float
    total_s: float
    first_s: float | None = None
    output_tokens: int = 0
    status: int = 0
    error: str = ""
    due_s: float = 0.0

    @property
    def tpot_s(self) -> float | None:
        """Time for each output token after the first."""
        if self.first_s is None or self.output_tokens < 2:
            return None
        return (self.total_s - self.first_s) / (self.output_tokens - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What an answer has to reach to count as good; ``None`` = anything."""

    ttft_s: float | None = None
    tpot_s: float | None = None
    total_s: float | None = None

    def met(self, outcome: Outcome) -> bool:
        if outcome.ending is not Ending.ANSWERED:
            return False
        first = outcome.total_s if outcome.first_s is None else outcome.first_s
        return (
            (self.ttft_s is None or first <= self.ttft_s)
            and (self.tpot_s is None or (outcome.tpot_s or 0.0) <= self.tpot_s)
            and (self.total_s is None or outcome.total_s <= self.total_s)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Of seconds: the mean, percentiles (the nearest rank) and the highest."""

    mean: float
    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """``lasted_s`` from the first arrival to the last answer; ``goodput``: requests a second that met the objectives,
    over the time in which requests came. ``behind``: how late requests were sent; where that is not small, the
    generator could not keep up, and the figures say more of it than of the endpoint."""

    requests: int
    answered: int
    refused: int
    late: int
    failed: int
    offered_per_s: float
    answered_per_s: float
    goodput_per_s: float
    good_percent: float
    output_tokens_per_s: float
    came_s: float
    lasted_s: float
    ttft: Spread | None
    tpot: Spread | None
    total: Spread | None
    behind: Spread | None
    errors: dict[str, int]


def summed_up(outcomes: Sequence[Outcome], *, came_s: float, lasted_s: float, slo: Slo) -> Summary:
    """``came_s``: over how long the requests came."""
    count = Counter(outcome.ending for outcome in outcomes)
    answered = [outcome for outcome in outcomes if outcome.ending is Ending.ANSWERED]
    good = sum(slo.met(outcome) for outcome in outcomes)
    window_s = max(came_s, 1e-9)
    errors = Counter(outcome.error for outcome in outcomes if outcome.error)
    return Summary(
        requests=len(outcomes),
        answered=len(answered),
        refused=count[Ending.REFUSED],
        late=count[Ending.LATE],
        failed=count[Ending.FAILED],
        offered_per_s=len(outcomes) / window_s,
        answered_per_s=len(answered) / max(lasted_s, 1e-9),
        goodput_per_s=good / window_s,
        good_percent=100 * good / len(outcomes) if outcomes else 0.0,
        output_tokens_per_s=sum(outcome.output_tokens for outcome in answered) / max(lasted_s, 1e-9),
        came_s=came_s,
        lasted_s=lasted_s,
        ttft=spread_of(answered, lambda outcome: outcome.first_s),
        tpot=spread_of(answered, lambda outcome: outcome.tpot_s),
        total=spread_of(answered, lambda outcome: outcome.total_s),
        behind=spread_of(outcomes, lambda outcome: outcome.sent_s),
        errors=dict(errors.most_common(10)),
    )


def spread_of(outcomes: Sequence[Outcome], value: Callable[[Outcome], float | None]) -> Spread | None:
    """``None`` where there is nothing to spread."""
    values = sorted(found for outcome in outcomes if (found := value(outcome)) is not None)
    if not values:
        return None

    def rank(percent: float) -> float:
        return values[max(0, math.ceil(percent / 100 * len(values)) - 1)]

    return Spread(mean=sum(values) / len(values), p50=rank(50), p90=rank(90), p99=rank(99), max=values[-1])
