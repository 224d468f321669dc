"""What can be taken from one node, and what each piece costs: a node of an elastic gang, or a whole attempt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from ampacity.model.attempt import Attempt
from ampacity.model.ids import AttemptId, NodeId, WorkloadId
from ampacity.model.plan import Placement

from ..board import Board
from .claims import Claim
from .runners import Runner

Price = tuple[int, float]
"""The class that has to be touched, and device seconds. Of several pieces the highest class, and the sum."""

NOTHING: Price = (0, 0.0)
SHRINKING = 1
"""Gangs give what is beyond their least before anybody is stopped; then those of the lowest rank come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A member on the node that is looked at. ``stops``: all of its attempt goes, not this member alone."""

    runner: Runner
    place: Placement
    price: Price
    stops: bool


@dataclass(slots=True)
class Taken:
    """What is to be taken from others for one that waits: whole attempts, and single nodes of elastic gangs.

    ``replicas``: how many attempts of each workload are to stop.
    """

    stopped: dict[AttemptId, Runner] = field(default_factory=dict)
    shrunk: dict[AttemptId, dict[NodeId, Runner]] = field(default_factory=dict)
    replicas: Counter[WorkloadId] = field(default_factory=Counter)

    def stop(self, runner: Runner) -> None:
        self.shrunk.pop(runner.attempt.id, None)
        self.stopped[runner.attempt.id] = runner
        self.replicas[runner.attempt.workload] += 1

    def keep(self, runner: Runner) -> None:
        """It is not stopped after all."""
        del self.stopped[runner.attempt.id]
        self.replicas[runner.attempt.workload] -= 1

    def has(self, attempt: AttemptId, node: NodeId) -> bool:
        return attempt in self.stopped or node in self.shrunk.get(attempt, ())

    def add(self, piece: Piece) -> None:
        if piece.stops:
            self.stop(piece.runner)
        else:
            self.shrunk.setdefault(piece.runner.attempt.id, {})[piece.place.node] = piece.runner

    def leave(self, board: Board) -> None:
        """As if all of it were gone."""
        for id in sorted(self.stopped):
            board.give(self.stopped[id].attempt)
        for id in sorted(self.shrunk):
            nodes = self.shrunk[id]
            runner = next(iter(nodes.values()))
            for spot in places_of(runner.attempt):
                if spot.node in nodes:
                    board.give_place(spot)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which pieces one that waits may take, and what they cost.

    Attributes:
        shrinks: those claims whose gangs may be made smaller.
        stops: those whose attempts may be stopped, by their place: the first are stopped first.
        may_stop: whether this one of them may, once all that is taken is gone.
    """

    shrinks: Collection[Claim]
    stops: Mapping[Claim, int]
    cost: Callable[[Runner], float]
    may_stop: Callable[[Runner, Taken], bool]
    is_held: Callable[[Runner], bool]

    def piece(self, runner: Runner, place: Placement, taken: Taken) -> Piece | None:
        """The cheaper way to have this place; ``None`` = there is none."""
        gone = len(taken.shrunk.get(runner.attempt.id, ()))
        if runner.elastic and runner.surplus > gone and runner.claim in self.shrinks and not self.is_held(runner):
            price = (SHRINKING, 0.0 if gone else self.cost(runner))
            return Piece(runner=runner, place=place, price=price, stops=False)
        return self.whole(runner, taken, place)

    def whole(self, runner: Runner, taken: Taken, place: Placement | None = None) -> Piece | None:
        """Its end, for this place or for whichever; ``None`` = it may not be stopped."""
        if runner.claim not in self.stops or self.is_held(runner) or not self.may_stop(runner, taken):
            return None
        price = (self.level(runner), self.cost(runner))
        return Piece(runner=runner, place=place or places_of(runner.attempt)[0], price=price, stops=True)

    def level(self, runner: Runner) -> int:
        return SHRINKING + 1 + self.stops[runner.claim]


def total(prices: Collection[Price]) -> Price:
    """Of pieces that are taken together."""
    return max((level for level, _ in prices), default=0), sum(cost for _, cost in prices)


def places_of(attempt: Attempt) -> list[Placement]:
    return [Placement(node=member.node, allocation=member.allocation) for member in attempt.members]
