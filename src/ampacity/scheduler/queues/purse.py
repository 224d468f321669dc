"""What queues hold while a plan is being made: the scratch of one plan over their shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ampacity.model.amounts import Amounts, demand, given
from ampacity.model.attempt import Attempt
from ampacity.model.plan import Placement, QueueStanding
from ampacity.model.resources import Range
from ampacity.scheduler.board import Board
from ampacity.scheduler.order import Want

from .rules import Barred, barred
from .shares import Shares, kinds_of
from .standing import standings
from .tree import TOP


@dataclass(slots=True)
class Purse:
    """As :class:`Shares`, which stay as they are: only what a plan changes is copied."""

    shares: Shares
    board: Board
    used: dict[str, Amounts]
    _running: dict[str, int]

    @staticmethod
    def of(shares: Shares, board: Board) -> Purse:
        return Purse(shares, board, dict(shares.used), {name: len(each) for name, each in shares.running.items()})

    def twin(self, board: Board) -> Purse:
        """Another one that begins as this one is now."""
        return Purse(self.shares, board, dict(self.used), dict(self._running))

    def barred(self, queue: str, amounts: Amounts) -> Barred | None:
        """Why the queue may not take so much more."""
        return barred(self.shares.tree, self.used, self.shares.capacity, queue, amounts)

    def allowed(self, want: Want) -> Range | None:
        """On how many nodes the replica may run by its queue's limits; ``None`` = not even on the least number."""
        queue, request, size = want.spec.queue, want.spec.resources, want.size
        if self.barred(queue, demand(request, size.minimum)) is not None:
            return None
        most = len(self.board.fleet.row_of) if size.maximum is None else size.maximum
        fewest = size.minimum
        while fewest < most:  # halving: a larger gang takes more of everything
            middle = (fewest + most + 1) // 2
            if self.barred(queue, demand(request, middle)) is None:
                fewest = middle
            else:
                most = middle - 1
        return Range(minimum=size.minimum, maximum=fewest)

    def amounts(self, places: Iterable[Placement]) -> dict[str, int]:
        """What these places come to, by the kinds of their devices."""
        fleet = self.board.fleet
        return given((place.allocation, kinds_of(fleet.get(place.node)).get) for place in places)

    def take(self, queue: str, amounts: Amounts) -> None:
        """A queue has so much more, in one attempt more."""
        self._add(queue, amounts, 1)

    def release(self, queue: str, amounts: Amounts) -> None:
        """A queue has so much less."""
        self._add(queue, amounts, -1)

    def give(self, attempt: Attempt) -> None:
        """As if the attempt were gone."""
        queue, amounts = self.shares.of[attempt.id]
        self._add(queue, amounts, -1)

    def give_places(self, queue: str, places: Iterable[Placement]) -> None:
        """As if these were gone, with the attempt that has them."""
        self._add(queue, self.amounts(places), -1)

    def standings(self, waiting: Mapping[str, int]) -> tuple[QueueStanding, ...]:
        shares = self.shares
        return standings(shares.tree, self.used, shares.capacity, running=self._running, waiting=waiting)

    def _add(self, queue: str, amounts: Amounts, sign: int) -> None:
        for name in (*self.shares.tree.chain(queue), TOP):
            used = dict(self.used.get(name, {}))
            for resource, amount in amounts.items():
                used[resource] = used.get(resource, 0) + sign * amount
            self.used[name] = {resource: amount for resource, amount in used.items() if amount}
        self._running[queue] = self._running.get(queue, 0) + sign


def wanted(want: Want) -> dict[str, int]:
    """What a replica would take at least."""
    return demand(want.spec.resources, want.size.minimum)
