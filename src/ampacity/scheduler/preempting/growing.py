"""Gangs that get another size: elastic ones more nodes when there is room that nobody waits for, and all of them the
size that is desired of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from ampacity.model.ids import AttemptId
from ampacity.model.plan import Placement, Resize
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import ANY_KIND, Range, ResourceRequest

from ..board import Board
from ..fit import fits_on
from ..gang import Gang
from ..place import alternatives, in_rank_order, placements, rows_beside
from ..queues.purse import Purse
from ..state import State
from .pieces import places_of
from .runners import Runner


@dataclass(slots=True)
class Growth:
    """``next_at``: when the next one may grow that is still too young."""

    resizes: list[Resize] = field(default_factory=list)
    next_at: float | None = None


def cut_down(state: State, told: Collection[AttemptId]) -> Iterator[Resize]:
    """Smaller sizes for those that have more nodes than is desired of them: they keep their first ones.

    Args:
        told: those that leave, or get other places, already.
    """
    for id in sorted(state.runners.resizable.keys() - set(told)):
        runner = state.runners.resizable[id]
        own, wished = places_of(runner.attempt), runner.desired
        if wished is not None and 0 < wished < len(own):
            reason = f"goes on with {wished} of {len(own)} nodes, as is desired of it"
            yield Resize(attempt=id, placements=tuple(own[:wished]), reason=reason)


def grow(state: State, board: Board, purse: Purse, now: float, policy: PreemptionPolicy) -> Growth:
    """Larger sizes for those that may have them: the highest priority first, then the oldest.

    It costs a gang its place for a moment: so it has to have run for a while, and to have saved its state before, as it
    is asked to do again; but not where more is desired of it than it has. It keeps its own nodes.
    """
    growth = Growth()
    ordered = sorted(state.runners.resizable.values(), key=lambda each: (-each.spec.priority, each.attempt.id))
    for runner in ordered:
        desired = runner.desired is not None
        if not desired and not (policy.grow and _has_saved(runner)):
            continue
        places = _larger(state, board, purse, runner)
        if not places:
            continue
        began_at = runner.attempt.started_at
        ready_at = (now if began_at is None else began_at) + policy.grow_after_s
        if ready_at > now and not desired:
            growth.next_at = ready_at if growth.next_at is None else min(growth.next_at, ready_at)
            continue
        own = set(runner.attempt.nodes)
        more = [place for place in places if place.node not in own]
        why = "that is desired of it, and there is room" if desired else "there is room that nobody waits for"
        reason = f"goes on with {len(places)} nodes instead of {len(own)}: {why}"
        growth.resizes.append(Resize(attempt=runner.attempt.id, placements=places, reason=reason))
        for spot in more:
            board.take_place(spot, runner.attempt.workload)
        purse.take(runner.attempt.queue, purse.amounts(more))
    return growth


def _has_saved(runner: Runner) -> bool:
    progress = runner.attempt.progress
    return progress is not None and progress.checkpoint_step is not None


def _larger(state: State, board: Board, purse: Purse, runner: Runner) -> tuple[Placement, ...]:
    """Its own places and more, of the same kind of accelerators, in the order of the ranks; none where there are none
    more that its queue may use."""
    attempt, least, most = runner.attempt, max(1, -runner.surplus), runner.size.maximum
    room = None if most is None else most - len(attempt.members)
    own = np.array([row for node in attempt.nodes if (row := board.fleet.row_of.get(node)) is not None], np.int64)
    if (room is not None and room < least) or len(own) < len(attempt.members):
        return ()
    for request in _alike(board, runner):
        gang = state.gang(attempt.workload, runner.spec, request, Range(minimum=least, maximum=room))
        found = placements(fits_on(board, request, rows_beside(board, gang, own).tolist()))
        while found and purse.barred(attempt.queue, purse.amounts(found)) is not None:
            found = found[:-1]
        if len(found) >= least:
            return _in_rank_order(board, gang, (*places_of(attempt), *found))
    return ()


def _in_rank_order(board: Board, gang: Gang, places: tuple[Placement, ...]) -> tuple[Placement, ...]:
    by_row = {board.fleet.row_of[place.node]: place for place in places}
    return tuple(by_row[row] for row in in_rank_order(board, gang, np.array(list(by_row), np.int64)).tolist())


def _alike(board: Board, runner: Runner) -> list[ResourceRequest]:
    """Its request with those alternatives of which it has devices."""
    node = board.fleet.get(runner.attempt.members[0].node)
    kinds = {str(device.id): device.kind for device in (node.devices if node is not None else ())}
    has = {kinds.get(share.device) for share in runner.attempt.members[0].allocation.devices}
    return [
        request
        for request in alternatives(runner.spec.resources)
        if not request.accelerators or request.accelerators[0].kind in (ANY_KIND, *has)
    ]
