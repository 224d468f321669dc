"""What a router counts of one engine, and how long one that failed is left alone."""

from __future__ import annotations

from .base import Engine

LONGEST_ASIDE_S = 8.0
FIRST_ASIDE_S = 0.25


class Member:
    """What is known of one engine. ``aside_until``: it failed; leave it alone until then."""

    __slots__ = ("aside_until", "engine", "failures", "in_flight", "served")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.in_flight = self.served = self.failures = 0
        self.aside_until = 0.0

    @property
    def full(self) -> bool:
        return 0 < self.engine.concurrency <= self.in_flight

    @property
    def load(self) -> float:
        """Requests in flight for its weight."""
        return self.in_flight / self.engine.weight

    def set_aside(self, now: float) -> None:
        """It failed: leave it alone for a time that doubles with each failure in a row, 0.25 s to 8 s."""
        self.failures += 1
        self.aside_until = now + min(LONGEST_ASIDE_S, FIRST_ASIDE_S * 2.0 ** (self.failures - 1))

    def restore(self) -> None:
        """It answered: all is forgiven."""
        self.failures, self.aside_until = 0, 0.0
