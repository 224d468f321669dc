"""Reservations: when a gang will have its places, and what of the room that is free now it needs then."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from ampacity.model.attempt import Attempt
from ampacity.model.fits import Free, holds, more
from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.lasting import Basis
from ampacity.model.plan import Placement, Reservation
from ampacity.model.resources import Allocation, DeviceShare, ResourceRequest
from ampacity.model.rules import TopologyMode, TopologyRule
from ampacity.scheduler.board import Board
from ampacity.scheduler.columns import Flags, Ints
from ampacity.scheduler.fit import allowed
from ampacity.scheduler.gang import Gang
from ampacity.scheduler.marked import NOWHERE
from ampacity.scheduler.order import Want
from ampacity.scheduler.place import alternatives
from ampacity.scheduler.queues.purse import Purse
from ampacity.scheduler.queues.rules import Barred

from .horizon import NOW, Horizon, Times, end_of, enough_by, expected
from .licences import Licences

MOST_AWAITED = 4

_SURENESS = (Basis.LIMIT, Basis.LEARNED, Basis.ASSUMED)
"""The surest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Places of a gang from a time on. ``held``: by row, what of the room that is free now it needs then."""

    reservation: Reservation
    held: Mapping[int, Allocation] = field(default_factory=dict)


@dataclass(slots=True)
class Reserve:
    """Finds the places. What this plan has started counts as held until it is expected to end, and what it has reserved
    as held until whom it is for is expected to.

    Attributes:
        board, purse: as the plan has come to now.
    """

    horizon: Horizon
    board: Board
    purse: Purse
    attempts: Mapping[AttemptId, Attempt]
    now: float
    _licences: Licences = field(init=False)
    _started: dict[int, list[tuple[float, Allocation]]] = field(default_factory=dict)
    _busy_until: dict[int, float] = field(default_factory=dict)
    _steps: dict[int, tuple[tuple[int, int], list[tuple[float, Free]]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._licences = Licences(self.board, self.purse.shares, self.attempts, self.now)

    def put(self, row: int, until: float, allocation: Allocation) -> None:
        """Something was started on a row."""
        self._licences.put(allocation, until)
        self._started.setdefault(row, []).append((until, allocation))

    def put_places(self, places: Iterable[Placement], until: float) -> None:
        """Something has these places, or is going to. Those on nodes that are not known do not count."""
        for place in places:
            row = self.board.fleet.row_of.get(place.node)
            if row is not None:
                self.put(row, until, place.allocation)

    def claim(self, want: Want, expected_s: float) -> Claim | None:
        """The earliest places of a gang that finds no room now; ``None`` = nobody knows when there will be any."""
        licensed = self._licences.free_at(want.gang.resources, want.size.minimum)
        if licensed is None:
            return None
        least, lenders = licensed
        found = [
            (at, single, rows)
            for single in alternatives(want.gang.resources)
            if (earliest := self._earliest(want.gang, single, least)) is not None
            for at, rows in (earliest,)
        ]
        if not found:
            return None
        at, single, rows = min(found, key=lambda each: each[0])
        licences = self._licences.held_now(single, len(rows), at)
        self._licences.claim(single, len(rows), at + expected_s)
        parts = [self._member(single, row, at) for row in rows.tolist()]
        for row in rows.tolist():
            self._busy_until[row] = max(at + expected_s, self._busy_until.get(row, 0.0))
        reservation = self._reservation(want, at, [*self._on(rows.tolist()), *lenders])
        held = {row: held for row, (_, held) in zip(rows.tolist(), parts, strict=True)}
        if licences:  # they are no row's: the first one stands for all
            held[int(rows[0])] = replace(held[int(rows[0])], licences=licences)
        places = tuple(placement for placement, _ in parts)
        return Claim(reservation=replace(reservation, placements=places), held=held)

    def quota(self, want: Want, bar: Barred) -> Reservation | None:
        """When enough of what a queue may use has come free again; ``None`` = nobody knows."""
        shares = self.purse.shares
        inside = [queue for queue in shares.running if bar.queue in shares.tree.chain(queue)]
        holding = [
            (end_of(self.attempts[ident]), ident, amount)
            for queue in inside
            for ident in shares.running[queue]
            if (amount := shares.of[ident][1].get(bar.resource, 0))
        ]
        found = enough_by(holding, bar.used + bar.needed - bar.limit, self.now)
        if found is None:
            return None
        at, awaits = found
        return self._reservation(want, at, [self.attempts[ident] for ident in awaits])

    def _reservation(self, want: Want, at: float, held_by: Iterable[Attempt]) -> Reservation:
        ending = list({attempt.id: attempt for attempt in held_by if end_of(attempt) <= at}.values())
        ending.sort(key=lambda attempt: (-end_of(attempt), attempt.id))
        return Reservation(
            workload=want.workload.id,
            replica=want.replica.index,
            placements=(),
            from_s=at,
            awaits=tuple(attempt.id for attempt in ending[:MOST_AWAITED]),
            basis=max((_basis(attempt) for attempt in ending), key=_SURENESS.index, default=Basis.ASSUMED),
        )

    def ready_at(self, request: ResourceRequest) -> Times:
        """As :meth:`Horizon.ready_at`, with what this plan has started."""
        at = self.horizon.ready_at(self.board, request, self.now)
        for row in self._started:
            at[row] = self._after_starts(row, request)
        return at

    def _earliest(self, gang: Gang, request: ResourceRequest, least: float) -> tuple[float, Ints] | None:
        """Args:
        least: not before then.
        """
        at = self.ready_at(request)
        for row, until in self._busy_until.items():
            at[row] = max(at[row], until)
        at[~self.board.fleet.marked.allowed(gang)] = inf
        rule, count = gang.rules.topology, gang.size.minimum
        if rule is None or rule.mode is not TopologyMode.REQUIRED:
            groups = [np.flatnonzero(at < inf)]
        else:
            groups = self._of_a_level(rule, at < inf)
        parts = [part for group in groups for part in self.board.fleet.marked.apart(group)]
        places = [self._of(at, part, count, least) for part in parts]
        return min((each for each in places if each is not None), key=lambda each: each[0], default=None)

    def _of_a_level(self, rule: TopologyRule, may: Flags) -> list[Ints]:
        """The rows in the places of a rule's level."""
        tree = self.board.fleet.marked.tree(rule.tree)
        if rule.level not in tree.levels:
            return []
        codes = np.where(may, tree.codes[:, tree.levels.index(rule.level)], NOWHERE)
        return [np.flatnonzero(codes == code) for code in np.unique(codes[codes != NOWHERE])]

    def _after_starts(self, row: int, request: ResourceRequest) -> float:
        """When a row has room on which this plan has started something."""
        fleet = self.board.fleet
        if not fleet.open[row]:
            return inf
        node, steps = fleet.node(row), self._steps_of(row)

        if not holds(node, steps[-1][1], request):
            return inf
        at, _ = steps[
            bisect_left(steps, True, key=lambda step: holds(node, step[1], request))
        ]  # what ends only adds to what is free
        return at if at == NOW else expected(at, self.now)

    def _steps_of(self, row: int) -> list[tuple[float, Free]]:
        """What is free on a row now, and after each end on it. Kept while the row stays as it is."""
        started, version = self._started[row], int(self.board.version[row])
        known = self._steps.get(row)
        if known is not None and known[0] == (version, len(started)):
            return known[1]
        node = self.board.fleet.node(row)
        held = self.board.fleet.held.get(node.id, {}).items()
        ends = [(end_of(self.attempts[ident]), each) for (ident, _), each in held]
        free = self.board.free(node.id)
        steps = [(NOW, free)]
        for end, allocation in sorted((*ends, *started), key=lambda each: each[0]):
            if end == inf:
                break
            free = more(free, allocation)
            steps.append((end, free))
        self._steps[row] = (version, len(started)), steps
        return steps

    def _of(self, at: Times, rows: Ints, count: int, least: float) -> tuple[float, Ints] | None:
        """The first ``count`` of these rows that come free. Those that come free last are taken, so that what is free
        now is left to others as far as can be."""
        if len(rows) < count:
            return None
        times = at[rows]
        first = max(least, float(np.partition(times, count - 1)[count - 1]))
        rows, times = rows[times <= first], times[times <= first]
        chosen = rows[np.lexsort((self.board.rank[rows], -times))][:count]
        if first == NOW:
            return None  # it waits for something else than that room comes free
        return first, chosen[np.argsort(self.board.rank[chosen])]

    def _member(self, request: ResourceRequest, row: int, at: float) -> tuple[Placement, Allocation]:
        """A member's place on a row, and what of the room that is free there now it needs."""
        board = self.board
        given = self._given(row, at)
        slots = self._slots(request, row, given)
        ids, returned = board.fleet.device_ids(row), Counter[int]()
        for slot, back in board.fleet.parts(row, given):
            returned[slot] += back
        milli = request.accelerators[0].milli if request.accelerators else 0
        whole = Allocation(
            cpu_milli=request.cpu_milli.minimum,
            memory_bytes=request.memory_bytes.minimum,
            disk_bytes=request.disk_bytes,
            devices=tuple(DeviceShare(device=ids[slot], milli=milli) for slot in slots),
            counted=request.counted,
            licences=request.licences,
            power_w=request.power_w,
        )
        held = Allocation(
            cpu_milli=max(0, whole.cpu_milli - given.cpu_milli),
            memory_bytes=max(0, whole.memory_bytes - given.memory_bytes),
            disk_bytes=max(0, whole.disk_bytes - given.disk_bytes),
            devices=tuple(
                DeviceShare(device=ids[slot], milli=milli - returned[slot]) for slot in slots if returned[slot] < milli
            ),
        )
        return Placement(node=NodeId(board.fleet.node(row).id), allocation=whole), held

    def _given(self, row: int, at: float) -> Allocation:
        """What comes free on a row until then."""
        node = self.board.fleet.node(row).id
        held = self.board.fleet.held.get(node, {})
        ending = [each for (ident, _), each in held.items() if end_of(self.attempts[ident]) <= at]
        ending += [each for end, each in self._started.get(row, ()) if end <= at]
        return Allocation(
            cpu_milli=sum(each.cpu_milli for each in ending),
            memory_bytes=sum(each.memory_bytes for each in ending),
            disk_bytes=sum(each.disk_bytes for each in ending),
            devices=tuple(share for each in ending for share in each.devices),
        )

    def _slots(self, request: ResourceRequest, row: int, given: Allocation) -> list[int]:
        """Which devices it will have: rather those that come free than those that are, and of each the first: whoever
        is let past because it ends in time is given the first that are free, too, and leaves the others to the rest."""
        if not request.accelerators:
            return []
        wanted, free = request.accelerators[0], self.board.device_left[row]
        usable = allowed(self.board, wanted, np.array([row]))[0]
        then = free.copy()
        for slot, milli in self.board.fleet.parts(row, given):
            then[slot] += milli
        fitting = np.flatnonzero(usable & (then >= wanted.milli)).tolist()
        fitting.sort(key=lambda slot: free[slot] >= wanted.milli)
        return sorted(fitting[: wanted.count.minimum])

    def _on(self, rows: Iterable[int]) -> list[Attempt]:
        """The attempts on these rows."""
        fleet = self.board.fleet
        idents = {ident for row in rows for ident, _ in fleet.held.get(NodeId(fleet.node(row).id), ())}
        return [self.attempts[ident] for ident in sorted(idents)]


def _basis(attempt: Attempt) -> Basis:
    """What has been told to stop has a limit."""
    return Basis.LIMIT if attempt.stop is not None else attempt.lasting.basis
