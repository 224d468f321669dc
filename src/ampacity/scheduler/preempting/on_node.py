"""The cheapest pieces to take from one node so that it holds a member."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

from ampacity.model.fits import holds
from ampacity.model.resources import ResourceRequest

from ..board import Board
from .pieces import NOTHING, Piece, Price, total

EXACT = 5
"""Of so few pieces every choice is looked at; of more, the cheapest are taken until it fits, and what was too much is
given back."""

Suffices = Callable[[Sequence[Piece]], bool]


def cheapest(
    board: Board, row: int, request: ResourceRequest, pieces: Sequence[Piece]
) -> tuple[Price, list[Piece]] | None:
    """What to take, and its price; ``None`` = it does not fit even if all are taken.

    Args:
        request: with one alternative of accelerators at most.
        pieces: at most one for each attempt.
    """
    node = board.fleet.node(row)

    def suffices(chosen: Sequence[Piece]) -> bool:
        mark = board.mark()
        for piece in chosen:
            board.give_place(piece.place)
        found = holds(node, board.free(node.id), request)
        board.rollback(mark)
        return found

    if suffices(()):
        return NOTHING, []
    if not suffices(pieces):
        return None
    found = _of_every_choice(pieces, suffices) if len(pieces) <= EXACT else _greedily(pieces, suffices)
    return total([piece.price for piece in found]), found


def _of_every_choice(pieces: Sequence[Piece], suffices: Suffices) -> list[Piece]:
    choices = [list(chosen) for size in range(1, len(pieces) + 1) for chosen in combinations(pieces, size)]
    choices.sort(key=lambda chosen: (total([piece.price for piece in chosen]), len(chosen), _ids(chosen)))
    return next(chosen for chosen in choices if suffices(chosen))


def _greedily(pieces: Sequence[Piece], suffices: Suffices) -> list[Piece]:
    ordered = sorted(pieces, key=lambda piece: (piece.price, piece.runner.attempt.id))
    least = next(size for size in range(1, len(ordered) + 1) if suffices(ordered[:size]))
    chosen = ordered[:least]
    for piece in reversed(ordered[:least]):
        without = [each for each in chosen if each is not piece]
        if suffices(without):
            chosen = without
    return chosen


def _ids(pieces: Sequence[Piece]) -> list[str]:
    return sorted(piece.runner.attempt.id for piece in pieces)
