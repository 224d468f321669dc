"""Reservations: the time from which a gang will have its places, and what of the room that is free now it needs then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId
from ampacity.model.lasting import Basis
from ampacity.model.plan import Placement, Reservation
from ampacity.model.resources import Allocation, DeviceShare, ResourceRequest
from ampacity.model.rules import TopologyMode
from ampacity.scheduler.board import Board
from ampacity.scheduler.columns import Ints
from ampacity.scheduler.fit import allowed
from ampacity.scheduler.gang import Gang
from ampacity.scheduler.marked import NOWHERE
from ampacity.scheduler.order import Want
from ampacity.scheduler.place import alternatives

from .horizon import Horizon, Times, end_of

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
    """Finds the places. What this plan has already started counts as held until its expected end, and what it has
    reserved as held until the end of whom it is for.

    Attributes:
        board: without what this plan has started.
        busy_until: by row, when what this plan put there is gone.
    """

    horizon: Horizon
    board: Board
    attempts: Mapping[AttemptId, Attempt]
    now: float
    busy_until: dict[int, float] = field(default_factory=dict)

    def started(self, rows: Iterable[int], until: float) -> None:
        """Something was put on these rows."""
        for row in rows:
            self.busy_until[row] = max(until, self.busy_until.get(row, 0.0))

    def claim(self, want: Want, expected_s: float) -> Claim | None:
        """The earliest places of a gang that finds no room now; ``None`` = nobody knows when there will be any."""
        found = [
            (at, single, rows)
            for single in alternatives(want.gang.resources)
            if (earliest := self._earliest(want.gang, single)) is not None
            for at, rows in (earliest,)
        ]
        if not found:
            return None
        at, single, rows = min(found, key=lambda each: each[0])
        parts = [self._member(single, row, at) for row in rows.tolist()]
        self.started(rows.tolist(), at + expected_s)
        awaits = self._awaited(rows.tolist(), at)
        reservation = Reservation(
            workload=want.workload.id,
            replica=want.replica.index,
            placements=tuple(placement for placement, _ in parts),
            from_s=at,
            awaits=tuple(attempt.id for attempt in awaits[:MOST_AWAITED]),
            basis=max((attempt.lasting.basis for attempt in awaits), key=_SURENESS.index, default=Basis.ASSUMED),
        )
        held = {int(row): held for row, (_, held) in zip(rows, parts, strict=True)}
        return Claim(reservation=reservation, held=held)

    def _earliest(self, gang: Gang, request: ResourceRequest) -> tuple[float, Ints] | None:
        at = self.horizon.ready_at(self.board, request, self.now)
        for row, until in self.busy_until.items():
            at[row] = max(at[row], until)
        at[~self.board.fleet.marked.allowed(gang.rules)] = inf
        rule, count = gang.rules.topology, gang.size.minimum
        if rule is None or rule.mode is not TopologyMode.REQUIRED:
            return self._of(at, np.flatnonzero(at < inf), count)
        tree = self.board.fleet.marked.tree(rule.tree)
        if rule.level not in tree.levels:
            return None
        codes = tree.codes[:, tree.levels.index(rule.level)]
        codes = np.where(at < inf, codes, NOWHERE)
        places = [self._of(at, np.flatnonzero(codes == code), count) for code in np.unique(codes[codes != NOWHERE])]
        return min((each for each in places if each is not None), key=lambda each: each[0], default=None)

    def _of(self, at: Times, rows: Ints, count: int) -> tuple[float, Ints] | None:
        """The first ``count`` of these rows that come free. Those that come free last are taken, so that what is free
        now is left to others as far as can be."""
        if len(rows) < count:
            return None
        times = at[rows]
        first = float(np.partition(times, count - 1)[count - 1])
        rows, times = rows[times <= first], times[times <= first]
        chosen = rows[np.lexsort((self.board.rank[rows], -times))][:count]
        return max(first, self.now), chosen[np.argsort(self.board.rank[chosen])]

    def _member(self, request: ResourceRequest, row: int, at: float) -> tuple[Placement, Allocation]:
        """A member's place on a row, and what of the room that is free there now it needs."""
        horizon, board = self.horizon, self.board
        over = horizon.ends[row] <= at
        cpu, memory, disk = (int(given[row][over].sum()) for given in (horizon.cpu, horizon.memory, horizon.disk))
        slots = self._slots(request, row, horizon.devices[row][over].sum(axis=0))
        ids = board.fleet.device_ids(row)
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
        free = board.device_left[row]
        held = replace(
            whole,
            cpu_milli=max(0, whole.cpu_milli - cpu),
            memory_bytes=max(0, whole.memory_bytes - memory),
            disk_bytes=max(0, whole.disk_bytes - disk),
            devices=tuple(
                DeviceShare(device=ids[slot], milli=milli) for slot in slots if free[slot] >= milli
            ),
        )
        return Placement(node=NodeId(board.fleet.node(row).id), allocation=whole), held

    def _slots(self, request: ResourceRequest, row: int, given: Ints) -> list[int]:
        """Which devices it will have: rather those that come free than those that are."""
        if not request.accelerators:
            return []
        wanted, free = request.accelerators[0], self.board.device_left[row]
        usable = allowed(self.board, wanted, np.array([row]))[0]
        fitting = np.flatnonzero(usable & (free + given >= wanted.milli)).tolist()
        fitting.sort(key=lambda slot: (free[slot] >= wanted.milli, -slot))
        return sorted(fitting[: wanted.count.minimum])

    def _awaited(self, rows: Iterable[int], at: float) -> list[Attempt]:
        """The attempts on these rows that end until then, the last first."""
        fleet = self.board.fleet
        idents = {attempt for row in rows for attempt, _ in fleet.held.get(NodeId(fleet.node(row).id), ())}
        ending = [attempt for ident in idents if end_of(attempt := self.attempts[ident]) <= at]
        return sorted(ending, key=lambda attempt: (-end_of(attempt), attempt.id))


def none_before(reservations: Iterable[Reservation]) -> float:
    """The first time at which somebody has to have places."""
    return min((reservation.from_s for reservation in reservations), default=inf)


