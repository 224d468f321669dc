"""The scratch of one plan over a fleet: what is taken and given back while deciding, and undone again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ampacity.model.attempt import Attempt
from ampacity.model.fits import Free, usable
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.node import Node
from ampacity.model.plan import Placement
from ampacity.model.policy import PlacementName
from ampacity.model.resources import Allocation, ResourceRequest

from .columns import Answers, Codes, Counts, Flags, Floats, Ints, free_of_row, give
from .fleet import Fleet
from .neighbours import Neighbours
from .past import Holds, Past


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A node that holds one member, and what would be left there: thousandths of accelerators and of CPUs."""

    node: NodeId
    row: int
    allocation: Allocation
    accelerators_left_milli: int
    cpu_left_milli: int


Mark = int
"""A point to go back to: how much had been done by then."""


@dataclass(frozen=True, slots=True)
class _Deed:
    """What was taken off a row (``sign`` -1), ``by`` whom, or given back; and the row's version before."""

    row: int
    allocation: Allocation
    sign: int
    version: int
    by: WorkloadId | None = None
    gone: AttemptId | None = None


class _Inherited(dict[ResourceRequest, Answers]):
    """The answers of a twin: each begins with what the other board had found out, and is looked over once."""

    def __init__(self, before: Mapping[ResourceRequest, Answers]) -> None:
        super().__init__()
        self._before = before

    def __missing__(self, request: ResourceRequest) -> Answers:
        before = self._before[request]
        found = replace(before, key=before.key.copy(), version=before.version.copy(), read=-1)
        self[request] = found
        return found


class Preferring(Protocol):
    """A placement policy over a board: in which order rows are preferred, and which device a share comes from."""

    def keys(self, request: ResourceRequest, rates: tuple[tuple[str, float], ...] = ()) -> Floats:
        """One number a row, the lower the better. It need not say where the request fits. ``rates``: how fast it runs
        on each kind, where it may have any."""
        ...

    def slot(self, request: ResourceRequest, row: int) -> int:
        """The device that a share comes from on a row where it fits; -1 = the fullest that still holds it."""
        ...

    def on(self, board: Board) -> Preferring:
        """The same over another board of the fleet."""
        ...


@dataclass(slots=True)
class Board:
    """What is left on every node of a fleet while a plan is being made. The fleet itself stays as it is.

    Attributes:
        past: the nodes and who holds what, as it was when the board was made. With it :meth:`known`, :meth:`free`,
            :meth:`held` and :meth:`taken` may be asked at any time later, whatever becomes of the fleet.
        version: as the fleet's. It is the older one again after a rollback, so that what is known of a row stays known.
        neighbours: where workloads are that others keep apart from.
        answers: by request, how it fits; kept from plan to plan where the board was made with the fleet's own.
        placement, preferring: the placement policy in force; best fit needs nothing but ``answers``.
    """

    fleet: Fleet
    neighbours: Neighbours
    past: Past
    cpu_left: Ints
    memory_left: Ints
    disk_left: Ints
    power_used_w: Ints
    device_left: Counts
    counted_left: dict[str, Ints]
    licences_used: dict[str, int]
    version: Ints
    answers: dict[ResourceRequest, Answers]
    placement: PlacementName = PlacementName.BEST_FIT
    preferring: Preferring | None = None
    _deeds: list[_Deed] = field(default_factory=list)
    _open_nodes: tuple[Node, ...] | None = None

    @staticmethod
    def of(
        fleet: Fleet, neighbours: Neighbours | None = None, answers: dict[ResourceRequest, Answers] | None = None
    ) -> Board:
        """A board with all that the fleet has left. ``answers``: those of earlier boards of the same fleet; boards
        that share them may not be used at the same time."""
        fleet.forget_tries()
        return Board._over(fleet, neighbours or Neighbours(), {} if answers is None else answers)

    @staticmethod
    def _over(fleet: Fleet, neighbours: Neighbours, answers: dict[ResourceRequest, Answers]) -> Board:
        return Board(
            fleet=fleet,
            neighbours=neighbours,
            past=fleet.moment(),
            cpu_left=fleet.cpu_left.copy(),
            memory_left=fleet.memory_left.copy(),
            disk_left=fleet.disk_left.copy(),
            power_used_w=fleet.power_used_w.copy(),
            device_left=fleet.device_left.copy(),
            counted_left={name: counted.copy() for name, counted in fleet.counted_left.items()},
            licences_used=dict(fleet.licences_used),
            version=fleet.version.copy(),
            answers=answers,
        )

    def twin(self) -> Board:
        """Another board that begins as this one is now. Both may be used in turn: no two states of a row have one
        version, on whichever board."""
        found = replace(
            self,
            cpu_left=self.cpu_left.copy(),
            memory_left=self.memory_left.copy(),
            disk_left=self.disk_left.copy(),
            power_used_w=self.power_used_w.copy(),
            device_left=self.device_left.copy(),
            counted_left={name: counted.copy() for name, counted in self.counted_left.items()},
            licences_used=dict(self.licences_used),
            version=self.version.copy(),
            answers=_Inherited(self.answers),
            _deeds=list(self._deeds),
        )
        if self.preferring is not None:
            found.preferring = self.preferring.on(found)
        return found

    # What there is, as placement policies read it --------------------------------------------------------------------

    def fork(self) -> Board:
        """Another board that stands as this one does, to try things out on at the same time: one a plan, since what
        it finds out is kept for that of the next."""
        found = Board._over(self.fleet, self.neighbours, self.fleet.answers_ahead)
        found.follow(self, 0)
        return found

    def follow(self, other: Board, mark: Mark) -> Mark:
        """Do what was done on another board since a mark; what to give as the mark the next time."""
        for deed in other._deeds[mark:]:
            self._do(deed.row, deed.allocation, deed.sign, by=deed.by, gone=deed.gone)
        return other.mark()

    @property
    def cpu_total(self) -> Ints:
        return self.fleet.cpu_total

    @property
    def device_total(self) -> Counts:
        return self.fleet.device_total

    @property
    def device_kind(self) -> Codes:
        return self.fleet.device_kind

    @property
    def device_memory(self) -> Ints:
        return self.fleet.device_memory

    @property
    def open(self) -> Flags:
        return self.fleet.open

    @property
    def rank(self) -> Counts:
        return self.fleet.rank

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes that take work, by id."""
        if self._open_nodes is None:
            self._open_nodes = tuple(node for node in self.known() if usable(node))
        return self._open_nodes

    def known(self) -> list[Node]:
        """All nodes, by id."""
        found = [self.past.at(id).node for id in self.past.ids()]
        return [node for node in found if node is not None]

    def held(self, id: NodeId) -> Holds:
        """Who held what on a node when the board was made."""
        return self.past.at(id).held

    def free(self, id: NodeId) -> Free:
        """What is left on a known node, as a record."""
        was = self.past.at(id)
        assert was.node is not None, "the node is known"
        return free_of_row(was.node, self, was.row)

    def licences_left(self, name: str) -> int:
        return self.fleet.marked.site.licences.get(name, 0) - self.licences_used.get(name, 0)

    def taken(self, id: NodeId) -> Iterator[tuple[WorkloadId, Allocation]]:
        """What this plan has given out on a node, and to whom."""
        row = self.past.at(id).row
        return ((deed.by, deed.allocation) for deed in self._deeds if deed.row == row and deed.by is not None)

    def rows_of(self, workload: WorkloadId) -> set[int]:
        """Where a workload is, as things stand on the board. Nodes that are not known are left out."""
        return set(self.members_by_row(workload))

    def members_by_row(self, workload: WorkloadId) -> Counter[int]:
        """How many members of a workload each row has, as things stand on the board."""
        gone = {deed.gone for deed in self._deeds if deed.gone is not None}
        held = self.neighbours.nodes.get(workload, {})
        nodes = (node for attempt, nodes in held.items() if attempt not in gone for node in nodes)
        rows = Counter(self.fleet.row_of[node] for node in nodes if node in self.fleet.row_of)
        rows.update(deed.row for deed in self._deeds if deed.by == workload)
        return rows

    # What if -------------------------------------------------------------------------------------------------------

    def take(self, fit: Fit, by: WorkloadId) -> None:
        """Give a place out."""
        self._do(fit.row, fit.allocation, -1, by=by)

    def take_place(self, place: Placement, by: WorkloadId) -> None:
        """Give out a place on a known node."""
        self._do(self.fleet.row_of[place.node], place.allocation, -1, by=by)

    def give_place(self, place: Placement) -> None:
        """As if what is held there were gone. On a node that is not known it leaves nothing but its licences."""
        self._do(self.fleet.row_of.get(place.node, -1), place.allocation, 1)

    def give(self, attempt: Attempt) -> None:
        """As if the attempt were gone. Members on nodes that are not known leave nothing but their licences."""
        for member in attempt.members:
            self._do(self.fleet.row_of.get(member.node, -1), member.allocation, 1, gone=attempt.id)

    def mark(self) -> Mark:
        """A point that :meth:`rollback` goes back to."""
        return len(self._deeds)

    def rollback(self, mark: Mark) -> None:
        """Undo all that was taken and given since, the newest first. Costs what was done, not what there is."""
        while len(self._deeds) > mark:
            deed = self._deeds.pop()
            self._add(deed.row, deed.allocation, -deed.sign)
            if deed.row >= 0:
                self.fleet.tried(deed.row)
                self.version[deed.row] = deed.version

    def _do(
        self,
        row: int,
        allocation: Allocation,
        sign: int,
        *,
        by: WorkloadId | None = None,
        gone: AttemptId | None = None,
    ) -> None:
        before = int(self.version[row]) if row >= 0 else 0
        self._deeds.append(_Deed(row, allocation, sign, before, by, gone))
        self._add(row, allocation, sign)
        if row >= 0:
            self.version[row] = self.fleet.tried(row)

    def _add(self, row: int, allocation: Allocation, sign: int) -> None:
        for each in allocation.licences:
            self.licences_used[each.name] = self.licences_used.get(each.name, 0) - sign * each.amount
        if row >= 0:
            give(self, self.fleet.parts(row, allocation), row, allocation, sign)
