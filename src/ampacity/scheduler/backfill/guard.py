"""What is held for those at the head, while others are served."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from ampacity.model.amounts import Amounts
from ampacity.model.plan import Placement, Reservation
from ampacity.model.resources import Range
from ampacity.scheduler.board import Fit
from ampacity.scheduler.order import Want
from ampacity.scheduler.place import place_as
from ampacity.scheduler.queues.rules import Bar, Barred

from .held import Held, Kept
from .reserve import Reserve


@dataclass(slots=True)
class Guard:
    """The room and the quotas less what is held for others. What is held from a time on is in the way of what would
    still be there at that time, and of nothing that has ended by then.

    Attributes:
        depth: so many may have something held for them.
        first: when the first of them is expected to start.
    """

    depth: int
    reserve: Reserve
    reservations: list[Reservation] = field(default_factory=list)
    first: float = inf
    _kept: list[Kept] = field(default_factory=list)
    _held: dict[float, Held] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return len(self.reservations) >= self.depth

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What is held, in the order of time."""
        return tuple(self._kept)

    def delays(self, until: float) -> bool:
        """Whether something that lasts until then could delay somebody."""
        return until > self.first

    def since(self, until: float) -> float:
        """The last time at which anybody is expected to start before then. Whoever lasts until then has to leave alone
        what is held for all that start by this time."""
        return self._kept[bisect_left(self._kept, until, key=_from_s) - 1].from_s

    def place(self, want: Want, size: Range, until: float) -> tuple[Fit, ...] | None:
        """Places beside all that is held from before ``until`` on, which is some."""
        return place_as(self._beside(until).board(), want.gang, size, want.spread)

    def barred(self, queue: str, amounts: Amounts, until: float) -> bool:
        """Whether the queue may not use so much beside what is then held of its quota."""
        return self._beside(until).purse.barred(queue, amounts) is not None

    def _beside(self, until: float) -> Held:
        since = self.since(until)
        held = self._held.get(since)
        if held is None:
            kept = [each for each in self._kept if each.from_s <= since]
            held = self._held[since] = Held.of(kept, self.reserve.board, self.reserve.purse)
        return held

    def started(self, queue: str, fits: Iterable[Fit], amounts: Amounts, until: float) -> None:
        """A start, on the board that the guard watches over."""
        for fit in fits:
            self.reserve.put(fit.row, until, fit.allocation)
        self._take(queue, amounts)

    def promised(self, queue: str, places: Sequence[Placement], amounts: Amounts, until: float) -> None:
        """Places that others leave were given out."""
        self.reserve.put_places(places, until)
        self._take(queue, amounts)

    def _take(self, queue: str, amounts: Amounts) -> None:
        for held in self._held.values():
            held.purse.take(queue, amounts)

    def hold_room(self, want: Want, queue: str, amounts: Amounts, expected_s: float) -> None:
        """Hold the earliest places for one that finds no room; none where nobody knows when there will be any."""
        claim = self.reserve.claim(want, expected_s)
        if claim is not None:
            self._keep(Kept(claim.reservation, queue, amounts, claim.held))

    def hold_quota(self, want: Want, queue: str, amounts: Amounts, bar: Barred) -> None:
        """Hold what its queue may use for one that has to wait for that. Not for one that borrows what others keep, or
        that asks for more than the queue may ever use."""
        if bar.bar is not Bar.LIMIT or bar.needed > bar.limit:
            return
        found = self.reserve.quota(want, bar)
        if found is not None:
            self._keep(Kept(found, queue, amounts, {}))

    def _keep(self, kept: Kept) -> None:
        self.reservations.append(kept.reservation)
        self.first = min(self.first, kept.from_s)
        insort(self._kept, kept, key=_from_s)
        for since, held in self._held.items():
            if since >= kept.from_s:
                held.keep(kept)


def _from_s(kept: Kept) -> float:
    return kept.from_s
