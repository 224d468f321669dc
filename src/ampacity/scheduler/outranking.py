"""With which priority one that waits would have a place made for it: what an explanation proposes where that does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from ampacity.model.fits import Free, holds, more, usable
from ampacity.model.ids import AttemptId
from ampacity.model.node import Node
from ampacity.model.resources import Allocation
from ampacity.model.rules import TopologyMode
from ampacity.model.site import Site

from .board import Board
from .gang import is_by_node
from .hindrance import by_place
from .order import Shape, Want
from .ordering.fair import LARGEST_PRIORITY
from .place import alternatives
from .preempting.runners import Runner
from .state import State

Victim = tuple[int, Allocation]
"""The priority of one that may be stopped, and what it holds on a node."""


@dataclass(slots=True)
class Outranking:
    """Asks of those that ran when a plan was made, at any time after it. Only what makes room for sure counts: nobody
    who was chosen to leave already, who keeps its place for having left one lately, or of whose replicas some are kept.

    Attributes:
        chosen: those that the plan has told to leave, or to go elsewhere.
        alone: whether no two shapes wait that have to be among neighbours: for one a plan all nodes are looked at.
    """

    state: State
    board: Board
    chosen: Collection[AttemptId]
    seq: int = field(init=False)
    enabled: bool = field(init=False)
    site: Site = field(init=False)
    pooled: bool = field(init=False)
    alone: bool = field(init=False)
    _known: dict[tuple[Shape, str, int], int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        marked, shapes = self.state.fleet.marked, self.state.line.shapes.values()
        self.seq, self.enabled = self.state.seq, self.state.policy.preemption.enabled
        self.site, self.pooled = marked.site, marked.is_pooled
        self.alone = sum(shape.rules.topology is not None or shape.name is not None for shape in shapes) < 2

    def say(self, want: Want, nodes: Sequence[Node]) -> str:
        """``raise its priority to 101``; empty where no priority would do.

        Args:
            nodes: those that its rules let it go to.
        """
        rules, gang = want.gang.rules, replace(want.gang, rules=replace(want.gang.rules, topology=None))
        if not self.enabled or not is_by_node(gang) or (self.pooled and gang.size.minimum > 1):
            return ""
        rule = rules.topology
        if rule is not None and not (self.alone and rule.level in self.site.levels_of(rule.tree)):
            return ""
        key = want.shape, str(want.spec.queue), want.spec.priority
        if key not in self._known:
            self._known[key] = self._least(want, [node for node in nodes if usable(node)])
        least = self._known[key]
        return "" if least is None else f"raise its priority to {least}"

    def _least(self, want: Want, nodes: Sequence[Node]) -> int | None:
        """The smallest priority with which enough nodes hold a member once all of a smaller one are gone."""
        rooms = [(node, self.board.free(node.id), self._victims(want, node)) for node in nodes]
        known = {priority for _, _, victims in rooms for priority, _ in victims}
        for priority in sorted(each for each in known if want.spec.priority <= each < LARGEST_PRIORITY):
            emptied = [(node, _without(free, victims, priority)) for node, free, victims in rooms]
            for request in alternatives(want.spec.resources):
                if self._are_enough(want, [node for node, free in emptied if holds(node, free, request)]):
                    return priority + 1
        return None

    def least_of_all(self, want: Want, suffices: Callable[[Iterable[tuple[Node, Allocation]]], bool]) -> int | None:
        """The smallest priority with which all that may be stopped for it suffices, wherever that is."""
        if not self.enabled:
            return None
        victims = [(each, node, held) for node in self.board.known() for each, held in self._victims(want, node)]
        for priority in sorted({each for each, _, _ in victims if want.spec.priority <= each < LARGEST_PRIORITY}):
            if suffices((node, held) for each, node, held in victims if each <= priority):
                return priority + 1
        return None

    def _are_enough(self, want: Want, nodes: Sequence[Node]) -> bool:
        """Whether so many of them are in one place, where they have to be."""
        rule, count = want.gang.rules.topology, want.size.minimum
        if rule is None or rule.mode is not TopologyMode.REQUIRED:
            return len(nodes) >= count
        return any(len(each) >= count for each in by_place(rule, self.site, nodes).values())

    def _victims(self, want: Want, node: Node) -> list[Victim]:
        found = [
            (runner, allocation)
            for (attempt, index), allocation in self.board.held(node.id).items()
            if index >= 0 and attempt not in self.chosen and (runner := self._runner(attempt)) is not None
        ]
        return [
            (runner.claim.priority, allocation)
            for runner, allocation in found
            if runner.claim.queue == want.spec.queue
            and not runner.preempted
            and not runner.spec.giving_way.keep_replicas
        ]

    def _runner(self, attempt: AttemptId) -> Runner | None:
        return self.state.runners.at(attempt, self.seq)


def _without(free: Free, victims: Sequence[Victim], priority: int) -> Free:
    for each, allocation in victims:
        if each <= priority:
            free = more(free, allocation)
    return free
