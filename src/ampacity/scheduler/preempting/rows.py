"""Which nodes are worth a closer look: those that would hold a member if all that may be taken were gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ampacity.model.resources import WHOLE_MILLI, ResourceRequest

from ..board import Board
from ..columns import sums
from ..gang import Gang
from .runners import CPU, DEVICES, DISK, MEMORY, Held, Ints, Runner, Runners, amounts_of

LOOKED_AT = 16
"""So many nodes more than are needed are looked at closely."""


def promising(
    board: Board,
    reclaimed: Ints,
    held: Sequence[Held],
    gone: Iterable[Runner],
    gang: Gang,
    request: ResourceRequest,
) -> list[int] | None:
    """Rows, those first that lack the least; ``None`` = there cannot be enough of them.

    An upper bound: devices are counted without their kinds, and those of which a part is held as if they were whole;
    neighbours are not looked at.

    Args:
        reclaimed: all that ``held`` holds, as :func:`reclaimable` gives it.
        gone: those that hold nothing any more on this board.
        request: that of the gang with one of its alternatives of accelerators.
    """
    fleet, members = board.fleet, gang.size.minimum
    reclaimed = _without(reclaimed, board, held, gone)
    wanted = request.accelerators[0] if request.accelerators else None
    devices = 0 if wanted is None else wanted.count.minimum * wanted.milli
    needs = {
        CPU: (request.cpu_milli.minimum, board.cpu_left),
        MEMORY: (request.memory_bytes.minimum, board.memory_left),
        DISK: (request.disk_bytes, board.disk_left),
        DEVICES: (devices, sums(board.device_left)),
    }
    may = fleet.open & fleet.marked.allowed(gang)
    for column, (needed, left) in needs.items():
        may &= left + reclaimed[column] >= needed
    rows = np.flatnonzero(may)
    if len(rows) < members:
        return None
    lacks = np.maximum(0, devices - needs[DEVICES][1][rows]) * WHOLE_MILLI
    lacks += np.maximum(0, request.cpu_milli.minimum - board.cpu_left[rows])
    order = np.lexsort((fleet.rank[rows], lacks))
    chosen: list[int] = rows[order][: members + LOOKED_AT].tolist()
    return chosen


def reclaimable(board: Board, runners: Runners, held: Sequence[Held]) -> Ints:
    """(4, rows): what those claims hold, by the fleet's rows."""
    rows = runners.rows_in(board.fleet)
    whole = np.zeros((len(rows), 4), np.int64)
    for each in held:  # summed as they lie, and moved to the fleet's rows once
        amounts = each.amounts[: len(rows)]
        whole[: len(amounts)] += amounts
    found = np.zeros((board.fleet.size, 4), np.int64)
    known = np.flatnonzero(rows >= 0)
    found[rows[known]] = whole[known]
    return np.ascontiguousarray(found.T)


def _without(reclaimed: Ints, board: Board, held: Sequence[Held], gone: Iterable[Runner]) -> Ints:
    """Without what those hold who are gone."""
    mine = [runner for runner in gone if any(runner.attempt.id in each.runners for each in held)]
    if not mine:
        return reclaimed
    found = reclaimed.copy()
    for runner in mine:
        for member in runner.attempt.members:
            if (row := board.fleet.row_of.get(member.node)) is not None:
                found[:, row] -= amounts_of(member.allocation)
    return found
