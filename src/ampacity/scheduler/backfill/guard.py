"""What is held for those at the head, while others are served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf

from ampacity.model.amounts import Amounts
from ampacity.model.plan import Placement, Reservation
from ampacity.model.resources import Allocation, DeviceShare, Range
from ampacity.scheduler.board import Board, Fit
from ampacity.scheduler.order import Want
from ampacity.scheduler.place import place_as
from ampacity.scheduler.queues.purse import Purse
from ampacity.scheduler.queues.rules import Bar, Barred

from .reserve import Claim, Reserve


@dataclass(slots=True)
class Guard:
    """The room and the quotas less what is held for somebody: for what does not end before the first of them starts.

    Attributes:
        depth: so many may have something held for them.
        first: when the first of them is expected to start.
        board, purse: what is left beside what is held; ``None`` before anything is.
    """

    depth: int
    reserve: Reserve
    reservations: list[Reservation] = field(default_factory=list)
    first: float = inf
    board: Board | None = None
    purse: Purse | None = None
    _held: dict[int, Allocation] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        return len(self.reservations) >= self.depth

    def delays(self, until: float) -> bool:
        """Whether something that lasts until then could delay somebody."""
        return until > self.first

    def place(self, want: Want, size: Range) -> tuple[Fit, ...] | None:
        """Places beside all that is held."""
        assert self.board is not None, "something is held"
        return place_as(self.board, want.gang, size, want.spread)

    def barred(self, queue: str, amounts: Amounts) -> bool:
        """Whether the queue may not use so much beside what is held of its quota."""
        return self.purse is not None and self.purse.barred(queue, amounts) is not None

    def started(self, want: Want, queue: str, fits: Iterable[Fit], amounts: Amounts, until: float) -> None:
        """A start, on the board that the guard watches over."""
        for fit in fits:
            self.reserve.put(fit.row, until, fit.allocation)
            if self.board is not None:
                self.board.take(fit, want.workload.id)
        if self.purse is not None:
            self.purse.take(queue, amounts)

    def promised(self, want: Want, queue: str, places: Sequence[Placement], amounts: Amounts, until: float) -> None:
        """Places that others leave were given out."""
        self.reserve.put_places(places, until)
        if self.board is not None and self.purse is not None:
            for place in places:
                self.board.take_place(place, want.workload.id)
            self.purse.take(queue, amounts)

    def hold_room(self, want: Want, queue: str, amounts: Amounts, expected_s: float) -> None:
        """Hold the earliest places for one that finds no room; none where nobody knows when there will be any."""
        claim = self.reserve.claim(want, expected_s)
        if claim is not None:
            self._begin()
            self._keep(claim)
            self._take(claim.reservation, queue, amounts)

    def hold_quota(self, want: Want, queue: str, amounts: Amounts, bar: Barred) -> None:
        """Hold what its queue may use for one that has to wait for that. Not for one that borrows what others keep, or
        that asks for more than the queue may ever use."""
        if bar.bar is not Bar.LIMIT or bar.needed > bar.limit:
            return
        found = self.reserve.quota(want, bar)
        if found is not None:
            self._begin()
            self._take(found, queue, amounts)

    def _begin(self) -> None:
        if self.board is None or self.purse is None:
            self.board = self.reserve.board.twin()
            self.purse = self.reserve.purse.twin(self.board)

    def _take(self, reservation: Reservation, queue: str, amounts: Amounts) -> None:
        assert self.purse is not None, "it has begun"
        self.purse.take(queue, amounts)
        self.reservations.append(reservation)
        self.first = min(self.first, reservation.from_s)

    def _keep(self, claim: Claim) -> None:
        """Of room that is held twice, for one after the other, only the larger part is."""
        assert self.board is not None, "it has begun"
        fleet = self.board.fleet
        for row, wanted in claim.held.items():
            before = self._held.get(row)
            self._held[row] = wanted if before is None else _larger(before, wanted)
            more = wanted if before is None else _beyond(wanted, before)
            self.board.take_place(Placement(node=fleet.node(row).id, allocation=more), claim.reservation.workload)


def _larger(one: Allocation, other: Allocation) -> Allocation:
    devices = {share.device: share for share in one.devices}
    for share in other.devices:
        if share.device not in devices or devices[share.device].milli < share.milli:
            devices[share.device] = share
    return Allocation(
        cpu_milli=max(one.cpu_milli, other.cpu_milli),
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        disk_bytes=max(one.disk_bytes, other.disk_bytes),
        devices=tuple(devices.values()),
    )


def _beyond(wanted: Allocation, held: Allocation) -> Allocation:
    known = {share.device: share.milli for share in held.devices}
    more = ((share, share.milli - known.get(share.device, 0)) for share in wanted.devices)
    return Allocation(
        cpu_milli=max(0, wanted.cpu_milli - held.cpu_milli),
        memory_bytes=max(0, wanted.memory_bytes - held.memory_bytes),
        disk_bytes=max(0, wanted.disk_bytes - held.disk_bytes),
        devices=tuple(DeviceShare(device=share.device, milli=milli) for share, milli in more if milli > 0),
    )
