"""The time that a control plane goes by."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Clock:
    """Seconds since the epoch that never go back, whatever is done to the machine's clock. ``floor``: the least.

    While the machine's clock is behind what was told before, time goes on at half its speed until that has caught up:
    standing still, no pause between two tries would ever end.
    """

    def __init__(
        self,
        floor: float = 0.0,
        source: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._steady, self._lock = source, steady, threading.Lock()
        self._last, self._steady_at = floor, steady()

    def __call__(self) -> float:
        with self._lock:
            steady_at = self._steady()
            slowed = self._last + (steady_at - self._steady_at) / 2
            self._last, self._steady_at = max(slowed, self._source()), steady_at
            return self._last
