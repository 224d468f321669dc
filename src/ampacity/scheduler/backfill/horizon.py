"""When each node will have room: what is held there, by when it is expected to end. Arrays, one row a node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId
from ampacity.model.resources import Allocation, ResourceRequest
from ampacity.scheduler.board import Board
from ampacity.scheduler.columns import Ints, sums
from ampacity.scheduler.fit import allowed
from ampacity.scheduler.fleet import Fleet

Times = npt.NDArray[np.float64]

STEPS = 16
"""Ends on one node that are told apart; where more end, several count as ending with the last of them."""

OVERDUE_S = 60.0
"""What should have ended before now is expected to, so long from now."""

NOW = -np.inf
"""The time of a row that has room already."""


@dataclass(slots=True)
class _Ready:
    """When each row has room for a request, and of which version of the row that is."""

    at: Times
    version: Ints


def expected(end: float, now: float) -> float:
    """When that end is still to come."""
    return end if end >= now else now + OVERDUE_S


def enough_by(
    ends: Iterable[tuple[float, AttemptId | None, int]], short: int, now: float
) -> tuple[float, list[AttemptId]] | None:
    """When so much has come free, ``NOW`` where nothing is short, and by whose ends; ``None`` = nobody knows.

    Args:
        ends: when how much comes free, and whose it is; ``None`` = of one that is no attempt yet.
    """
    at, awaits = NOW, list[AttemptId]()
    for end, ident, amount in sorted(ends, key=lambda each: (each[0], each[1] or "")):
        if short <= 0 or end == np.inf:
            break
        short, at = short - amount, expected(end, now)
        awaits += [] if ident is None else [ident]
    return (at, awaits) if short <= 0 else None


def end_of(attempt: Attempt) -> float:
    """When an attempt is expected to end: infinite for what runs until somebody stops it."""
    if attempt.stop is not None:
        return attempt.stop.at + attempt.stop.grace_s
    begun_at = attempt.placed_at if attempt.started_at is None else attempt.started_at
    return begun_at + attempt.lasting.expected_s


@dataclass(slots=True)
class Horizon:
    """What follows from a fleet and its attempts; rows are looked at again where their version changed.

    Attributes:
        ends: (rows, STEPS) when what is held ends, ascending; infinite where nothing more does.
        cpu, memory, disk: (rows, STEPS) what is given back at each of these times. ``devices``: (rows, STEPS, slots).
    """

    ends: Times = field(default_factory=lambda: np.zeros((0, STEPS)))
    cpu: Ints = field(default_factory=lambda: np.zeros((0, STEPS), np.int64))
    memory: Ints = field(default_factory=lambda: np.zeros((0, STEPS), np.int64))
    disk: Ints = field(default_factory=lambda: np.zeros((0, STEPS), np.int64))
    devices: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, STEPS, 0), np.int32))
    version: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    ready: dict[ResourceRequest, _Ready] = field(default_factory=dict)

    def ready_at(self, room: Board, request: ResourceRequest, now: float) -> Times:
        """When each row has room for one member: ``NOW``, a time after ``now``, or infinite = not that anybody knows.

        Args:
            room: of the fleet that this follows; only what the fleet itself has is looked at.
            request: with one alternative of accelerators at most.
        """
        known = self.ready.get(request)
        size = room.fleet.size
        if known is None or len(known.at) != size:
            known = self.ready[request] = _Ready(np.full(size, np.inf), np.full(size, -1, np.int64))
        changed = np.flatnonzero(known.version != self.version)
        if len(changed):
            known.at[changed] = self._ask(room, request, changed)
            known.version[changed] = self.version[changed]
        late = (known.at < now) & (known.at != NOW)
        return np.where(late, now + OVERDUE_S, known.at)

    def follow(self, fleet: Fleet, attempts: Mapping[AttemptId, Attempt]) -> None:
        """Take in what has changed since."""
        if len(self.version) != fleet.size or self.devices.shape[2] != fleet.device_left.shape[1]:
            self._grow(fleet.size, fleet.device_left.shape[1])
        for row in np.flatnonzero(self.version != fleet.version).tolist():
            node = fleet.nodes[row]
            held = () if node is None else fleet.held.get(node.id, {}).items()
            self._fill(fleet, row, [(end_of(attempts[attempt]), allocation) for (attempt, _), allocation in held])
            self.version[row] = fleet.version[row]

    def _fill(self, fleet: Fleet, row: int, held: Iterable[tuple[float, Allocation]]) -> None:
        self.ends[row] = np.inf
        self.cpu[row] = self.memory[row] = self.disk[row] = 0
        self.devices[row] = 0
        ordered = sorted((each for each in held if each[0] < np.inf), key=lambda each: each[0])
        for place, (end, allocation) in enumerate(ordered):
            step = place * STEPS // len(ordered) if len(ordered) > STEPS else place
            self.ends[row, step] = end
            self.cpu[row, step] += allocation.cpu_milli
            self.memory[row, step] += allocation.memory_bytes
            self.disk[row, step] += allocation.disk_bytes
            for slot, milli in fleet.parts(row, allocation):
                self.devices[row, step, slot] += milli

    def _ask(self, room: Board, request: ResourceRequest, rows: Ints) -> Times:
        """The end of the first step after which a member fits; what is counted and watts are not looked at: who asks
        for them is taken to wait for all that ends there. (Licences are no row's: :mod:`.licences`.)

        Step by step, and at each only those rows are looked at that have no room yet and where something more ends.
        """
        fleet, wanted = room.fleet, request.accelerators[0] if request.accelerators else None
        waits_for_all = bool(request.counted or request.power_w)
        found = np.full(len(rows), np.inf)
        places = np.flatnonzero(fleet.open[rows])
        left = _Left.of(fleet, rows[places])
        at = np.full(len(places), NOW)
        usable = None if wanted is None else allowed(room, wanted, rows[places])
        for step in range(STEPS + 1):
            fits = left.holds(request, usable)
            ends = self.ends[rows[places], step] if step < STEPS else np.full(len(places), np.inf)
            goes_on = ends < np.inf
            if waits_for_all:
                fits &= ~goes_on
            found[places[fits]] = at[fits]
            kept = goes_on & ~fits
            if not kept.any():
                break
            places, at = places[kept], ends[kept]
            usable = None if usable is None else usable[kept]
            here = rows[places]
            left = _Left(
                left.cpu[kept] + self.cpu[here, step],
                left.memory[kept] + self.memory[here, step],
                left.disk[kept] + self.disk[here, step],
                left.devices[kept] + self.devices[here, step],
            )
        return found

    def _grow(self, rows: int, slots: int) -> None:
        self.ends = np.full((rows, STEPS), np.inf)
        self.cpu, self.memory, self.disk = (np.zeros((rows, STEPS), np.int64) for _ in range(3))
        self.devices = np.zeros((rows, STEPS, slots), np.int32)
        self.version = np.full(rows, -1, np.int64)
        self.ready.clear()


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left on some rows after a step. ``devices``: (rows, slots)."""

    cpu: Ints
    memory: Ints
    disk: Ints
    devices: npt.NDArray[np.int32]

    @staticmethod
    def of(fleet: Fleet, rows: Ints) -> _Left:
        return _Left(fleet.cpu_left[rows], fleet.memory_left[rows], fleet.disk_left[rows], fleet.device_left[rows])

    def holds(self, request: ResourceRequest, usable: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
        """Where a member fits. ``usable``: (rows, slots) the devices that do for it."""
        fits = self.cpu >= request.cpu_milli.minimum
        fits &= self.memory >= request.memory_bytes.minimum
        fits &= self.disk >= request.disk_bytes
        if usable is not None:
            (wanted,) = request.accelerators
            fits &= sums(usable & (self.devices >= wanted.milli)) >= wanted.count.minimum
        return fits
