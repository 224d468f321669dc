"""In which order held tickets are looked at: short prefills first, with ageing, and a bound on the longest wait."""

from __future__ import annotations

from math import exp

AGEING = 0.2
"""A ticket that has waited 5 s goes before one whose prefill is 1 s shorter and that has just come."""

BOUND = 0.9
MEMORY_S = 1800.0


class FirstCome:
    """What a line that serves first come, first served would have done to the worst-off, so that ours does no worse.

    Shortest-first can starve the longest prompts. Beside the real line a fluid one is kept: the work that arrived
    drains over all engines in order of arrival; the longest time to first token that it gave anybody is remembered,
    fading over half an hour. A ticket that comes near it is late and goes before all others. So short prompts, for
    which it is far, still overtake.
    """

    __slots__ = ("_at", "_backlog_s", "_worst_s")

    def __init__(self) -> None:
        self._backlog_s = self._worst_s = self._at = 0.0

    def arrived(self, cost_s: float, engines: int, now: float) -> None:
        passed = now - self._at
        self._at = now
        self._backlog_s = max(0.0, self._backlog_s - passed) + cost_s / max(1, engines)
        self._worst_s = max(self._worst_s * exp(-passed / MEMORY_S), self._backlog_s + cost_s)

    @property
    def bound_s(self) -> float:
        """A ticket that has waited this long, its own prefill counted, is late."""
        return BOUND * self._worst_s
