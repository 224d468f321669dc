"""Places that were promised: who has some goes there as soon as they are free, before anybody is served."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ampacity.model.amounts import Amounts
from ampacity.model.attempt import Attempt
from ampacity.model.fits import fits
from ampacity.model.plan import Placement, Promise, Start, Wait, WaitCode
from ampacity.model.shared import SharedFree, take_shared

from .board import Board
from .order import Want
from .preempting.leaving import leave, leaves, say_leaving
from .queues.purse import Purse
from .state import State


@dataclass(slots=True)
class Kept:
    """What becomes of promises: those that start, those that wait on, and those whose places are not there any more
    (a node is gone, or closed): they are served like all others."""

    starts: list[Start] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    broken: list[Want] = field(default_factory=list)


def keep_promises(state: State, board: Board, purse: Purse, now: float) -> Kept:
    """Take the promised places, or hold them until those have left who are on them."""
    kept = Kept()
    for want in sorted(state.line.promised.values(), key=state.line.turn):
        places, queue = want.replica.then, want.spec.queue
        amounts = purse.amounts(places) if all(place.node in board.fleet.row_of for place in places) else {}
        if _are_free(board, places) and purse.barred(queue, amounts) is None:
            kept.starts.append(_start(want))
        elif _become_free(state, board, places) and _may_use(state, purse, queue, amounts):
            kept.promises.append(Promise(workload=want.workload.id, replica=want.replica.index, placements=places))
            kept.waits.append(wait_for(state, want, places, now))
        else:
            kept.broken.append(want)
            continue
        for place in places:
            board.take_place(place, want.workload.id)
        purse.take(queue, amounts)
    return kept


def wait_for(state: State, want: Want, places: Iterable[Placement], now: float, also: Iterable[Attempt] = ()) -> Wait:
    """Why one with a promise waits. ``also``: those who are only now told to leave."""
    nodes = {place.node for place in places}
    told = {id for node in nodes for id, _ in state.fleet.held.get(node, ()) if state.attempts[id].stop is not None}
    attempts = [*(state.attempts[id] for id in sorted(told)), *also]
    if not attempts:  # the room is there; what its queue may use is not
        leaving = state.runners.leaving
        attempts = [leaving[id] for id in sorted(leaving) if (order := leaving[id].stop) is not None and order.preempts]
    names = [
        f"{state.live[each.workload].workload.name} ({each.workload})"
        for each in attempts
        if each.workload in state.live
    ]
    return Wait(
        workload=want.workload.id,
        replica=want.replica.index,
        code=WaitCode.PREEMPTING,
        text=say_leaving(attempts, names, now),
        change="it starts as soon as they have",
    )


def _start(want: Want) -> Start:
    return Start(
        workload=want.workload.id,
        replica=want.replica.index,
        placements=want.replica.then,
        why="the places that were kept for it",
    )


def _are_free(board: Board, places: Sequence[Placement]) -> bool:
    fleet = board.fleet
    rows = [(fleet.row_of.get(place.node), place) for place in places]
    return all(
        row is not None and fleet.open[row] and fits(board.free(place.node), place.allocation) for row, place in rows
    ) and _are_shared_out(board, places)


def _are_shared_out(board: Board, places: Sequence[Placement]) -> bool:
    """Whether the licences and watts are there, too."""
    if not any(place.allocation.licences or place.allocation.power_w for place in places):
        return True
    site, watts = board.fleet.marked.site, board.fleet.marked.watts_left(board.power_used_w)
    left = SharedFree(licences={name: board.licences_left(name) for name in site.licences}, watts=watts)
    return take_shared(left, site, ((board.fleet.get(place.node), place.allocation) for place in places)) is not None


def _may_use(state: State, purse: Purse, queue: str, amounts: Amounts) -> bool:
    """Whether its queue may use so much once those have ended who were told to."""
    then = purse.twin(purse.board)
    for attempt in state.runners.leaving.values():
        then.give_places(attempt.queue, leaves(attempt))
    return then.barred(queue, amounts) is None


def _become_free(state: State, board: Board, places: Sequence[Placement]) -> bool:
    """Whether they are free once those have ended who were told to: on these nodes, or, for the sake of what nodes
    share, wherever they are."""
    mark = board.mark()
    leaving = {id for place in places for id, _ in state.fleet.held.get(place.node, ())} | state.runners.leaving.keys()
    for id in sorted(leaving):
        if state.attempts[id].stop is not None:
            leave(board, state.attempts[id])
    found = _are_free(board, places)
    board.rollback(mark)
    return found
