"""What the control loop counts of itself: how long its steps take, what they write, how long workloads waited."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ampacity.observe.exposition import Family, Histogram, Kind

from .mirror import Mirror

STEP_BOUNDS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
WAIT_BOUNDS_S: Final = (0.1, 1.0, 10.0, 60.0, 300.0, 1800.0, 3600.0, 4 * 3600.0, 24 * 3600.0)

LONG_STEP_S: Final = 0.5
LONG_STEPS_KEPT: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class LongStep:
    """One step that took long. ``ended_at``: seconds since the epoch."""

    ended_at: float
    lasted_s: float
    wrote: int


class Figures:
    """Told by the loop's thread; read by any. As a follower it sees which attempts are new."""

    def __init__(self) -> None:
        self._steps = Histogram(STEP_BOUNDS_S)
        self._waits: dict[str, Histogram] = {}
        self._failed_steps = self._wrote = 0
        self._known: set[str] | None = None
        self.long_steps: deque[LongStep] = deque(maxlen=LONG_STEPS_KEPT)

    def stepped(self, *, ended_at: float, lasted_s: float, wrote: int) -> None:
        self._steps.observe(lasted_s)
        self._wrote += wrote
        if lasted_s >= LONG_STEP_S:
            self.long_steps.append(LongStep(ended_at=ended_at, lasted_s=lasted_s, wrote=wrote))

    def failed(self) -> None:
        """A step ended by an error."""
        self._failed_steps += 1

    def __call__(self, mirror: Mirror) -> None:
        """Take in how long those waited that were placed since the last call. What ran before the start is not new."""
        attempts = mirror.rows.attempts
        known, self._known = self._known, set(attempts)
        if known is None:
            return
        for ident in self._known - known:
            attempt = attempts[ident]
            workload = mirror.rows.workloads.get(attempt.workload)
            if workload is not None and attempt.epoch == 1:
                queue = mirror.rows.spec(workload.id).spec.queue
                histogram = self._waits.setdefault(queue, Histogram(WAIT_BOUNDS_S))
                histogram.observe(max(0.0, attempt.placed_at - workload.created_at))

    def families(self) -> list[Family]:
        steps = Family("ampacity_control_step_seconds", Kind.HISTOGRAM, "How long the control loop's steps took.")
        self._steps.add_to(steps, {})
        waits = Family("ampacity_queue_wait_seconds", Kind.HISTOGRAM, "From submission to the first placement.")
        for queue, histogram in sorted(self._waits.items()):
            histogram.add_to(waits, {"queue": queue})
        failed = Family("ampacity_control_steps_failed", Kind.COUNTER, "Steps that ended by an error.")
        failed.add(self._failed_steps, {})
        wrote = Family("ampacity_store_events_written", Kind.COUNTER, "Events that the control loop's steps wrote.")
        wrote.add(self._wrote, {})
        return [steps, waits, failed, wrote]
