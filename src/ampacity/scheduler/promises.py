"""Places that were promised: a gang that was resized or moved goes on where it was told, before anybody is served."""

from __future__ import annotations

from collections.abc import Iterable

from ampacity.model.fits import fits
from ampacity.model.plan import Placement, Start

from .board import Board
from .order import Line, Want


def keep_promises(board: Board, line: Line) -> tuple[list[Start], list[Want]]:
    """The starts at promised places, and those whose places are not there any more (a node is gone, or closed)."""
    starts: list[Start] = []
    others: list[Want] = []
    for want in sorted(line.promised.values(), key=line.turn):
        if not _are_free(board, want.replica.then):
            others.append(want)
            continue
        for place in want.replica.then:
            board.take_place(place, want.workload.id)
        starts.append(
            Start(
                workload=want.workload.id,
                replica=want.replica.index,
                placements=want.replica.then,
                why="the places that were kept for it",
            )
        )
    return starts, others


def _are_free(board: Board, places: Iterable[Placement]) -> bool:
    fleet = board.fleet
    rows = [(fleet.row_of.get(place.node), place) for place in places]
    return all(
        row is not None and fleet.open[row] and fits(board.free(place.node), place.allocation) for row, place in rows
    )
