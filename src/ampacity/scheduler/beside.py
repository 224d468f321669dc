"""What a plan has left, beside what is held for some of those that wait: as it was, for whoever asks later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ampacity.model.amounts import Amounts
from ampacity.model.fits import Free, holds, less
from ampacity.model.ids import WorkloadId
from ampacity.model.node import Node
from ampacity.model.site import Site

from .backfill.held import Kept, held_on
from .board import Board
from .gang import Gang, admission, is_by_node
from .place import alternatives
from .queues.purse import Purse
from .queues.rules import Barred
from .queues.shares import Shares

Holding = frozenset[tuple[WorkloadId, int]]
"""For whom something is held."""


@dataclass(frozen=True, slots=True)
class Beside:
    """May be asked at any time after the plan, from any thread: nothing of the state is read. What was found out of a
    shape is kept, since many that wait have it.

    Attributes:
        board: all that is left.
        kept: what is held, in the order of time.
        now: when the plan was made.
        pooled: whether there are nodes that no gang spans.
    """

    board: Board
    site: Site
    purse: Purse
    kept: tuple[Kept, ...]
    now: float
    pooled: bool
    _frees: dict[Holding, list[tuple[Node, Free]]] = field(default_factory=dict)
    _rooms: dict[tuple[Gang, Holding], bool] = field(default_factory=dict)

    @staticmethod
    def of(board: Board, purse: Purse, kept: tuple[Kept, ...], now: float) -> Beside:
        """``board``, ``purse``: those of a plan that is made; the queues' are copied, since the state's change."""
        shares = Shares(tree=purse.shares.tree, capacity=dict(purse.shares.capacity))
        # Down to the amounts: the state goes on counting in these very dicts.
        used: dict[str, Amounts] = {queue: dict(amounts) for queue, amounts in purse.used.items()}
        copied = Purse(shares, board, used, {})
        marked = board.fleet.marked
        return Beside(board, marked.site, copied, kept, now, marked.is_pooled)

    def tells(self, gang: Gang) -> bool:
        """Whether what is left of each node says if the gang has room."""
        return is_by_node(gang) and (gang.size.minimum == 1 or not self.pooled)

    def nodes(self, gang: Gang, kept: Sequence[Kept]) -> list[tuple[Node, Free]]:
        """The nodes that its rules and volumes let it go to, and what is left of each beside what is held."""
        lets_in = admission(gang, self.site)
        return [(node, free) for node, free in self._left(kept) if lets_in(node)]

    def has_room(self, gang: Gang, kept: Sequence[Kept]) -> bool:
        """Whether it has room for sure."""
        if not self.tells(gang):
            return False
        key = gang.shape, holding(kept)
        if key not in self._rooms:
            nodes = self.nodes(gang, kept)
            self._rooms[key] = any(
                sum(holds(node, free, request) for node, free in nodes) >= gang.size.minimum
                for request in alternatives(gang.resources)
            )
        return self._rooms[key]

    def _left(self, kept: Sequence[Kept]) -> list[tuple[Node, Free]]:
        key = holding(kept)
        if key not in self._frees:
            held, board = held_on(kept), self.board
            self._frees[key] = [
                (node, less(board.free(node.id), held[node.id]) if node.id in held else board.free(node.id))
                for node in board.nodes
            ]
        return self._frees[key]

    def barred(self, queue: str, amounts: Amounts, kept: Sequence[Kept]) -> Barred | None:
        """Why the queue may not use so much more beside what is held of its quota."""
        purse = self.purse.twin(self.board)
        for each in kept:
            purse.take(each.queue, each.amounts)
        return purse.barred(queue, amounts)


def holding(kept: Iterable[Kept]) -> Holding:
    """Of these, whatever their order."""
    return frozenset((each.reservation.workload, each.reservation.replica) for each in kept)
