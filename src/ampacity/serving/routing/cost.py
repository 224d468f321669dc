"""How long a prefill takes: a model of two terms, and what is learned of each engine beside it."""

from __future__ import annotations

from dataclasses import dataclass

FORGET = 0.98
"""What an observation still counts after the next one: about the last fifty decide."""

LEAST_SCALE, MOST_SCALE = 1e-4, 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefillCost:
    """Seconds = ``linear_s`` * (L - h) + ``quadratic_s`` * (L^2 - h^2) for a prompt of L tokens, h of them cached.

    The weights' part and causal attention's part (as in Mooncake, FAST 2025, section 4). The defaults are those of a
    dense model of 70 B parameters (hidden size 8192, 80 layers) at 1e15 operations a second; what an engine really
    needs is learned as a factor.
    """

    linear_s: float = 1.4e-4
    quadratic_s: float = 1.31072e-9

    def of(self, tokens: int, cached: int) -> float:
        fresh = tokens - cached
        return fresh * (self.linear_s + self.quadratic_s * (tokens + cached))


class Speed:
    """The factor between what prefills on one engine take and what the model says; it begins at 1."""

    __slots__ = ("_count", "_expected_s", "_seen_s", "factor")

    def __init__(self) -> None:
        self.factor = 1.0
        self._seen_s = self._expected_s = self._count = 0.0

    @property
    def known(self) -> bool:
        """Whether it was ever seen."""
        return self._count > 0.0

    @property
    def mean_s(self) -> float:
        """What a prefill there has taken of late; 0 = none was seen."""
        return self._seen_s / self._count if self._count else 0.0

    def saw(self, seen_s: float, expected_s: float) -> None:
        """A prefill took ``seen_s``; the model said ``expected_s``. A ratio of sums, so long prefills count most."""
        self._seen_s = self._seen_s * FORGET + seen_s
        self._expected_s = self._expected_s * FORGET + expected_s
        self._count = self._count * FORGET + 1.0
        if self._expected_s > 0.0:
            self.factor = min(MOST_SCALE, max(LEAST_SCALE, self._seen_s / self._expected_s))
