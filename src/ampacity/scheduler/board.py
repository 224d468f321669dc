"""The scratch of one plan over a fleet: what is taken and given back while deciding, and undone again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt
from ampacity.model.fits import Free
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import Node
from ampacity.model.plan import Placement
from ampacity.model.resources import Allocation, ResourceRequest

from .fleet import Counts, Fleet, Ints, free_of_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A node that holds one member, and what would be left there: thousandths of accelerators and of CPUs."""

    node: NodeId
    row: int
    allocation: Allocation
    accelerators_left_milli: int
    cpu_left_milli: int


@dataclass(slots=True)
class Answers:
    """How well a request fits each row, and of which version of the row that holds."""

    key: Ints
    version: Ints


Mark = int
"""A point to go back to: how much had been done by then."""

Deed = tuple[int, Allocation, int, WorkloadId | None, int]
"""Row, allocation, -1 taken or +1 given back, for whom it was taken, and the row's version before."""


@dataclass(slots=True)
class Board:
    """What is left on every node of a fleet while a plan is being made. The fleet itself stays as it is.

    Attributes:
        version: as the fleet's. It is the older one again after a rollback, so that what is known of a row stays known.
        answers: by request, how it fits; kept from plan to plan where the board was made with the fleet's own.
    """

    fleet: Fleet
    cpu_left: Ints
    memory_left: Ints
    disk_left: Ints
    device_left: Counts
    version: Ints
    answers: dict[ResourceRequest, Answers]
    _deeds: list[Deed] = field(default_factory=list)
    _open_nodes: tuple[Node, ...] | None = None

    @staticmethod
    def of(fleet: Fleet, answers: dict[ResourceRequest, Answers] | None = None) -> Board:
        """A board with all that the fleet has left. ``answers``: those of earlier boards of the same fleet; boards
        that share them may not be used at the same time."""
        return Board(
            fleet=fleet,
            cpu_left=fleet.cpu_left.copy(),
            memory_left=fleet.memory_left.copy(),
            disk_left=fleet.disk_left.copy(),
            device_left=fleet.device_left.copy(),
            version=fleet.version.copy(),
            answers={} if answers is None else answers,
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that take work, by id."""
        if self._open_nodes is None:
            fleet = self.fleet
            self._open_nodes = tuple(node for node in fleet.known() if fleet.open[fleet.row_of[node.id]])
        return self._open_nodes

    def free(self, id: NodeId) -> Free:
        """What is left on a known node, as a record."""
        row = self.fleet.row_of[id]
        left = self.device_left[row]
        return free_of_row(self.fleet.node(row), self.cpu_left[row], self.memory_left[row], self.disk_left[row], left)

    def taken(self, id: NodeId) -> Iterator[tuple[WorkloadId, Allocation]]:
        """What this plan has given out on a node, and to whom."""
        row = self.fleet.row_of[id]
        return ((by, allocation) for on, allocation, _, by, _ in self._deeds if on == row and by is not None)

    # What if -------------------------------------------------------------------------------------------------------

    def take(self, fit: Fit, by: WorkloadId) -> None:
        """Give a place out."""
        self._do(fit.row, fit.allocation, -1, by)

    def take_place(self, place: Placement, by: WorkloadId) -> None:
        """Give out a place on a known node."""
        self._do(self.fleet.row_of[place.node], place.allocation, -1, by)

    def give_place(self, place: Placement) -> None:
        """As if what is held there were gone. On a node that is not known it leaves nothing."""
        row = self.fleet.row_of.get(place.node)
        if row is not None:
            self._do(row, place.allocation, 1, None)

    def give(self, attempt: Attempt) -> None:
        """As if the attempt were gone. Members on nodes that are not known leave nothing."""
        for member in attempt.members:
            self.give_place(Placement(node=member.node, allocation=member.allocation))

    def give_back(self, fit: Fit) -> None:
        """Take the place of a :meth:`take` back, where what was decided since then shall stand."""
        self._do(fit.row, fit.allocation, 1, None)

    def mark(self) -> Mark:
        """A point that :meth:`rollback` goes back to."""
        return len(self._deeds)

    def rollback(self, mark: Mark) -> None:
        """Undo all that was taken and given since, the newest first. Costs what was done, not what there is."""
        while len(self._deeds) > mark:
            row, allocation, sign, _, version = self._deeds.pop()
            self._add(row, allocation, -sign)
            self.version[row] = version

    def _do(self, row: int, allocation: Allocation, sign: int, by: WorkloadId | None) -> None:
        self._deeds.append((row, allocation, sign, by, int(self.version[row])))
        self._add(row, allocation, sign)
        self.version[row] = next(self.fleet.stamps)

    def _add(self, row: int, allocation: Allocation, sign: int) -> None:
        self.cpu_left[row] += sign * allocation.cpu_milli
        self.memory_left[row] += sign * allocation.memory_bytes
        self.disk_left[row] += sign * allocation.disk_bytes
        for slot, milli in self.fleet.parts(row, allocation):
            self.device_left[row, slot] += sign * milli
