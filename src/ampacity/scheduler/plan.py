"""``plan(state, now)``: order, gates, fit, place, explain, one after the other."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from heapq import heapify, heappop, heappush

from ampacity.model.ids import WorkloadId
from ampacity.model.plan import Plan, Promise, Start, Wait, Waits
from ampacity.model.policy import PlacementName
from ampacity.model.preemption import DEFAULT_PREEMPTION
from ampacity.model.quantities import print_cpus
from ampacity.model.workload import WorkloadKind

from .board import Board, Fit
from .chooser import choose_by
from .explain import Explainer
from .gates import held_back
from .order import Shape, Turn, Want
from .place import place, placements
from .preempting.preemptor import Preemptor
from .promises import keep_promises
from .queues.purse import Purse, wanted
from .queues.rules import Barred
from .queues.words import say_barred
from .state import State
from .waiting import Because, Rest, Waiting

Head = tuple[Turn, list[tuple[Turn, Want]], int]
"""The first of a group that has not had its turn: its turn, the group, and its place there."""


def plan(state: State, now: float) -> Plan:
    """What to start now, and for every other replica that wants a start why it waits.

    A gang that finds no room is passed over and those behind it may start. So a large gang can starve behind a
    stream of small ones of lower priority: reservations and backfill are not there yet.

    Its cost grows with the nodes, the starts and the different shapes that wait, not with how many wait; the waits are
    written out when somebody reads them.

    Args:
        state: is read, never changed.
        now: seconds since the epoch.
    """
    board = Board.of(state.fleet, state.neighbours, state.answers)
    choose_by(board, state.policy.placement, state.policies, state.demand)
    held: list[Wait] = []
    heads: list[Head] = [(group[0][0], group, 0) for group in state.line.groups.values()]
    for want in state.line.apart.values():
        wait = held_back(state, want, now)
        if wait is None:
            heads.append((want.turn, [(want.turn, want)], 0))
        else:
            held.append(wait)
    purse = Purse.of(state.shares, board)
    kept = keep_promises(state, board, now)
    given: list[Start | Promise] = [*kept.starts, *kept.promises]
    for each in given:
        purse.take(state.queue_of(each.workload), purse.amounts(each.placements))
    heads += [(want.turn, [(want.turn, want)], 0) for want in kept.broken]
    preemptor = Preemptor(state=state, board=board, purse=purse, now=now, policy=DEFAULT_PREEMPTION)
    starts, crowded, barred = _serve(board, purse, preemptor, heads)
    explainer = Explainer(state, board)
    reasons: list[Because] = [(partial(explainer.reason, rests[0][0][1]), rests) for rests in crowded.values()]
    reasons += [(partial(say_barred, bar, rest[0][1].spec.queue), [rest]) for bar, rest in barred]
    return Plan(
        starts=(*kept.starts, *starts),
        stops=tuple(preemptor.stops),
        resizes=tuple(preemptor.resizes),
        promises=(*kept.promises, *preemptor.promises),
        waits=Waits(Waiting([*held, *kept.waits, *preemptor.waits], reasons).write_out),
        queues=purse.standings(state.line.waiting),
        next_wake=_earliest(_next_wake(state.line.apart.values(), now), preemptor.next_at),
    )


def _serve(
    board: Board, purse: Purse, preemptor: Preemptor, heads: list[Head]
) -> tuple[list[Start], dict[Shape, list[Rest]], list[tuple[Barred, Rest]]]:
    """The starts, by shape all who found no room, and those whose queue may not use more. What is left only shrinks
    while a plan is made: a shape that found no room once finds none later, and a group that was barred stays so. But
    others may have to give way for it."""
    starts: list[Start] = []
    crowded: dict[Shape, list[Rest]] = {}
    barred: list[tuple[Barred, Rest]] = []
    heapify(heads)
    while heads:
        _, group, position = heappop(heads)
        want = group[position][1]
        shape = want.shape
        queue = want.spec.queue
        size = purse.allowed(want)
        bar = purse.barred(queue, wanted(want)) if size is None else None
        fits = None if size is None or shape in crowded else place(board, replace(want.gang, size=size), _spread(want))
        amounts = {} if fits is None else purse.amounts(placements(fits))
        if fits is not None:
            bar = purse.barred(queue, amounts)
        if bar is not None:
            barred.append((bar, group[position:]))
            continue
        if fits is not None:
            for fit in fits:
                board.take(fit, want.workload.id)
            purse.take(queue, amounts)
            starts.append(_start(want, fits, board.placement))
        elif not preemptor.help(want):
            crowded.setdefault(shape, []).append(group[position:])
            continue
        if position + 1 < len(group):
            heappush(heads, (group[position + 1][0], group, position + 1))
    return starts, crowded, barred


def _spread(want: Want) -> WorkloadId | None:
    """The service whose replicas are kept from each other, so that a node that is lost takes as few as can be."""
    return want.workload.id if want.spec.kind is WorkloadKind.SERVICE else None


def _start(want: Want, fits: tuple[Fit, ...], placement: PlacementName) -> Start:
    more = f" and {len(fits) - 4} more" if len(fits) > 4 else ""
    left = [_leaves(fit) + (f" on {fit.node}" if len(fits) > 1 else "") for fit in fits[:4]]
    return Start(
        workload=want.workload.id,
        replica=want.replica.index,
        placements=placements(fits),
        why=f"{placement.value.replace('_', ' ')}: leaves {', '.join(left)}{more}",
    )


def _leaves(fit: Fit) -> str:
    """What is then free on the node; accelerators where it has some to speak of."""
    cpus = f"{print_cpus(fit.cpu_left_milli)} CPUs"
    if not fit.accelerators_left_milli and not fit.allocation.devices:
        return cpus
    return f"{print_cpus(fit.accelerators_left_milli)} accelerators and {cpus}"


def _earliest(one: float | None, other: float | None) -> float | None:
    return min((time for time in (one, other) if time is not None), default=None)


def _next_wake(apart: Iterable[Want], now: float) -> float | None:
    return min((want.replica.not_before for want in apart if want.replica.not_before > now), default=None)
