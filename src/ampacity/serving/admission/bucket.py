"""A token bucket: a minute's worth at most, filled steadily."""

from __future__ import annotations

MINUTE_S = 60.0


class Bucket:
    """What is left of a limit for each minute. It may be in debt, where more was used than was reserved.

    So at most ``per_minute * (1 + t / 60)`` pass in any ``t`` seconds, and ``per_minute`` a minute in the long run.
    """

    __slots__ = ("_at", "_level", "per_minute")

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._level, self._at = per_minute, now

    def level(self, now: float) -> float:
        """What may be taken now."""
        if now > self._at:
            self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / MINUTE_S)
            self._at = now
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """How long until so much is there; 0 = it is. What is more than a minute's worth passes when the bucket is
        full, and leaves it in debt."""
        missing = min(amount, self.per_minute) - self.level(now)
        return 0.0 if missing <= 0 else missing * MINUTE_S / self.per_minute

    def take(self, amount: float, now: float) -> None:
        """Take it, whether it is there or not; a negative amount is given back."""
        self._level = min(self.per_minute, self.level(now) - amount)

    def resize(self, per_minute: float, now: float) -> None:
        """The limit is another one now; the same share of it is left."""
        share = self.level(now) / self.per_minute
        self.per_minute = per_minute
        self._level = per_minute * share
