"""Time limits without a timer each: what has one is looked at when its slot of the wheel has come round."""

from __future__ import annotations

from typing import Protocol

NEVER = float("inf")


class Timed(Protocol):
    """Something with a time limit. ``due``: when ``expire`` is to be called; putting it off is free, at any time.
    ``slot`` is the wheel's own: the tick at which the thing is looked at next, 0 = none."""

    due: float
    slot: int

    def expire(self, now: float) -> None:
        """The time is up, and ``due`` is ``NEVER`` again; what sets it anew in here is looked at again."""
        ...


class Wheel:
    """A ring of slots, ``tick_s`` apart; a thing is looked at once a turn at least. Limits hold to a tick.

    Putting ``due`` off needs no call: the thing is found too early and put back. Bringing it forward does: ``hasten``.
    """

    def __init__(self, now: float, *, tick_s: float = 0.05, slots: int = 1200) -> None:
        self.now = now
        self._tick_s, self._size = tick_s, slots
        self._slots: list[list[tuple[int, Timed]]] = [[] for _ in range(slots)]
        self._tick = int(now / tick_s)

    @property
    def turn_s(self) -> float:
        """Limits further away than this may be brought forward to it without ``hasten``."""
        return self._tick_s * (self._size - 1)

    def hasten(self, thing: Timed) -> None:
        """See to it that the thing is looked at when it is due. Free when it is looked at before that anyway."""
        if thing.due == NEVER:
            return
        tick = min(max(self._tick + 1, int(thing.due / self._tick_s) + 1), self._tick + self._size - 1)
        if not thing.slot or tick < thing.slot:
            thing.slot = tick
            self._slots[tick % self._size].append((tick, thing))

    def forget(self, thing: Timed) -> None:
        """It has no limit any more, for good: the entry that stands goes when its turn comes."""
        thing.due, thing.slot = NEVER, 0

    def advance(self, now: float) -> None:
        """Call ``expire`` of all that is due by now."""
        self.now = now
        last = int(now / self._tick_s)
        for tick in range(max(self._tick + 1, last - self._size + 1), last + 1):
            self._tick = tick
            self._turn(tick, now)

    def _turn(self, tick: int, now: float) -> None:
        at = tick % self._size
        entries, self._slots[at] = self._slots[at], []
        for slot, thing in entries:
            if thing.slot != slot:
                continue  # it was hastened or forgotten: this entry is of the past
            thing.slot = 0
            if thing.due <= now:
                thing.due = NEVER
                thing.expire(now)
            self.hasten(thing)
