"""What is left beside what is held for some of those that wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ampacity.model.amounts import Amounts
from ampacity.model.ids import NodeId
from ampacity.model.plan import Placement, Reservation
from ampacity.model.resources import Allocation, Counted, DeviceShare
from ampacity.scheduler.board import Board, Mark
from ampacity.scheduler.queues.purse import Purse


@dataclass(frozen=True, slots=True)
class Kept:
    """What is held for one that waits.

    Attributes:
        amounts: of its queue's quota.
        rows: by row, in the order of its places, what of the room that is free now it needs then.
    """

    reservation: Reservation
    queue: str
    amounts: Amounts
    rows: Mapping[int, Allocation]

    @property
    def from_s(self) -> float:
        """When it is expected to start."""
        return self.reservation.from_s


@dataclass(slots=True)
class Held:
    """A board and a purse on which some of those that wait have already what is held for them.

    Attributes:
        purse: what is left of the quotas beside it.
    """

    purse: Purse
    _plan: Board
    _board: Board
    _seen: Mark
    _rows: dict[int, Allocation] = field(default_factory=dict)

    @staticmethod
    def of(kept: Iterable[Kept], board: Board, purse: Purse) -> Held:
        """Over the board and the purse of a plan, as they are now."""
        twin = board.twin()
        found = Held(purse.twin(twin), board, twin, board.mark())
        for each in kept:
            found.keep(each)
        return found

    def board(self) -> Board:
        """With all that the plan has given out so far."""
        self._seen = self._board.follow(self._plan, self._seen)
        return self._board

    def keep(self, kept: Kept) -> None:
        """One more has something held. Of room that is held twice, for one after the other, only the larger part is."""
        self.purse.take(kept.queue, kept.amounts)
        fleet = self._board.fleet
        for row, wanted in kept.rows.items():
            before = self._rows.get(row)
            self._rows[row] = wanted if before is None else _larger(before, wanted)
            more = wanted if before is None else _beyond(wanted, before)
            self._board.take_place(Placement(node=fleet.node(row).id, allocation=more), kept.reservation.workload)


def held_on(kept: Iterable[Kept]) -> dict[NodeId, Allocation]:
    """The same by node. May be asked at any time later: no row is looked at."""
    found: dict[NodeId, Allocation] = {}
    for each in kept:
        for place, wanted in zip(each.reservation.placements, each.rows.values(), strict=False):
            before = found.get(place.node)
            found[place.node] = wanted if before is None else _larger(before, wanted)
    return found


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
        licences=_named(Counter(_amounts(one)) | Counter(_amounts(other))),
    )


def _beyond(wanted: Allocation, held: Allocation) -> Allocation:
    known = {share.device: share.milli for share in held.devices}
    more = ((share, share.milli - known.get(share.device, 0)) for share in wanted.devices)
    return Allocation(
        cpu_milli=max(0, wanted.cpu_milli - held.cpu_milli),
        memory_bytes=max(0, wanted.memory_bytes - held.memory_bytes),
        disk_bytes=max(0, wanted.disk_bytes - held.disk_bytes),
        devices=tuple(DeviceShare(device=share.device, milli=milli) for share, milli in more if milli > 0),
        licences=_named(Counter(_amounts(wanted)) - Counter(_amounts(held))),
    )


def _amounts(allocation: Allocation) -> dict[str, int]:
    return {each.name: each.amount for each in allocation.licences}


def _named(amounts: Mapping[str, int]) -> tuple[Counted, ...]:
    return tuple(Counted(name=name, amount=amount) for name, amount in sorted(amounts.items()) if amount > 0)
