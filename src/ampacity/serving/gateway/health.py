"""How well an engine is, by what requests and probes see of it. Pure: clocked from outside.

One that does not answer is out. One that answers requests with errors again and again is put out for a while (an
outlier); out of either, it returns slowly: a tenth of its share at first, all of it after ten seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

PROBE_EVERY_S = 1.0
PROBE_LIMIT_S = 2.0
MISSES_TO_GO = 3
ERRORS_TO_GO = 5
"""Errors in a row, each of the engine's own making (5xx)."""

FIRST_OUT_S, LONGEST_OUT_S = 2.0, 60.0
RETURN = ((0.0, 0.1), (2.5, 0.25), (5.0, 0.5), (10.0, 1.0))
"""So many seconds after it returned: this share of its weight."""


@dataclass(slots=True)
class Health:
    """One engine's. ``out_until``: put out as an outlier. ``back_at``: since when it is back; ``None`` = it was never
    away."""

    misses: int = 0
    refused: bool = False
    errors: int = 0
    times_out: int = 0
    out_until: float = 0.0
    back_at: float | None = None

    @property
    def silent(self) -> bool:
        """It does not answer probes any more."""
        return self.refused or self.misses >= MISSES_TO_GO

    def probed(self, answered: bool, now: float, *, refused: bool = False) -> None:
        """A probe was answered, or not. ``refused``: nobody listens there at all."""
        if answered:
            if self.silent:
                self.back_at = now
            self.misses, self.refused = 0, False
        else:
            self.misses += 1
            self.refused = refused

    def answered(self, status: int, now: float) -> None:
        """A request was answered with this status."""
        if status < 500:
            self.errors = 0
            return
        self.errors += 1
        if self.errors >= ERRORS_TO_GO:
            self.errors = 0
            self.out_until = now + min(LONGEST_OUT_S, FIRST_OUT_S * 2.0**self.times_out)
            self.times_out += 1
            self.back_at = self.out_until

    def share(self, now: float) -> float:
        """Which part of its weight it gets now; 0 = it is out."""
        if self.silent or now < self.out_until:
            return 0.0
        if self.back_at is None:
            return 1.0
        away = now - self.back_at
        if away >= RETURN[-1][0]:
            self.back_at = None
            self.times_out = 0
            return 1.0
        return next(share for after, share in reversed(RETURN) if away >= after)
