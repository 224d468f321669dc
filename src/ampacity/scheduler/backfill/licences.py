"""When licences come free. They are there once for all nodes, so no row can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId
from ampacity.model.resources import Allocation, Counted, ResourceRequest
from ampacity.scheduler.board import Board
from ampacity.scheduler.queues.shares import Shares

from .horizon import NOW, end_of, enough_by

End = tuple[float, AttemptId | None, int]
"""When how many come free, and whose they are; ``None`` = of one that this plan has started, or has reserved for."""


@dataclass(slots=True)
class Licences:
    """What this plan has started holds its licences until it is expected to end, and what it has reserved for, too."""

    board: Board
    shares: Shares
    attempts: Mapping[AttemptId, Attempt]
    now: float
    _ends: dict[str, list[End]] = field(default_factory=dict)
    _claimed: dict[str, int] = field(default_factory=dict)

    def put(self, allocation: Allocation, until: float) -> None:
        """A member was started."""
        for each in allocation.licences:
            self._ends_of(each.name).append((until, None, each.amount))

    def claim(self, request: ResourceRequest, members: int, until: float) -> None:
        """A gang will have them."""
        for each in request.licences:
            amount = each.amount * members
            self._ends_of(each.name).append((until, None, amount))
            self._claimed[each.name] = self._claimed.get(each.name, 0) + amount

    def free_at(self, request: ResourceRequest, members: int) -> tuple[float, list[Attempt]] | None:
        """When there are enough for a gang, ``NOW`` where there are already, and whose ends that waits for; ``None`` =
        nobody knows."""
        at, awaits = NOW, list[Attempt]()
        for each in request.licences:
            short = each.amount * members - self.board.licences_left(each.name) + self._claimed.get(each.name, 0)
            found = enough_by(self._ends_of(each.name), short, self.now)
            if found is None:
                return None
            at = max(at, found[0])
            awaits += [self.attempts[ident] for ident in found[1]]
        return at, awaits

    def held_now(self, request: ResourceRequest, members: int, at: float) -> tuple[Counted, ...]:
        """What of those that are free now a gang needs then: those beyond what comes free until then."""
        held = []
        for each in request.licences:
            coming = sum(amount for end, _, amount in self._ends_of(each.name) if end <= at)
            beyond = each.amount * members - max(0, coming - self._claimed.get(each.name, 0))
            held += [Counted(name=each.name, amount=beyond)] if beyond > 0 else []
        return tuple(held)

    def _ends_of(self, name: str) -> list[End]:
        found = self._ends.get(name)
        if found is None:
            holders = [id for id, (_, amounts) in self.shares.of.items() if name in amounts]
            ends = [(end_of(self.attempts[id]), id, _amount(self.attempts[id], name)) for id in holders]
            found = self._ends[name] = [each for each in ends if each[2]]
        return found


def _amount(attempt: Attempt, name: str) -> int:
    return sum(each.amount for member in attempt.members for each in member.allocation.licences if each.name == name)
