"""The event clock: what happens when. Of things at the same time, what was noted first comes first."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

Action = Callable[[], None]


class Timeline:
    """Times in seconds since the epoch; they never go back."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._heap: list[tuple[float, int, Action]] = []
        self._order = count()

    def at(self, when: float, action: Action) -> None:
        """Note what is to happen then; what is late happens next."""
        heappush(self._heap, (max(when, self.now), next(self._order), action))

    def next_at(self) -> float | None:
        """When the next thing is due."""
        return self._heap[0][0] if self._heap else None

    def advance(self, to: float) -> None:
        """Turn the clock to that time and do all that is due by then, in order."""
        while self._heap and self._heap[0][0] <= to:
            when, _, action = heappop(self._heap)
            self.now = max(self.now, when)
            action()
        self.now = max(self.now, to)
