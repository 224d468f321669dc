"""``plan(state, now)``: order, gates, fit, place, explain, one after the other."""

from __future__ import annotations

from ampacity.model.plan import Plan, Start, Wait
from ampacity.model.quantities import print_cpus
from ampacity.model.resources import ResourceRequest

from .explain import Explainer
from .fit import Board, Fit
from .gates import held_back
from .order import Want, wanted
from .place import place, placements
from .state import State


def plan(state: State, now: float) -> Plan:
    """What to start now, and for every other replica that wants a start why it waits.

    A gang that finds no room is passed over and those behind it may start. So a large gang can starve behind a
    stream of small ones of lower priority: reservations and backfill are not there yet.

    Args:
        state: is read, never changed.
        now: seconds since the epoch.
    """
    board = Board.of(state.ledger)
    starts: list[Start] = []
    waits: list[Wait] = []
    crowded_out: list[Want] = []
    no_room: set[tuple[ResourceRequest, int]] = set()
    wants = wanted(state)
    for want in wants:
        wait = held_back(state, want, now)
        if wait is not None:
            waits.append(wait)
            continue
        # What is free only shrinks while a plan is made: what found no room once finds none later.
        shape = (want.spec.resources, want.size.minimum)
        fits = None if shape in no_room else place(board, want.spec.resources, want.size)
        if fits is None:
            no_room.add(shape)
            crowded_out.append(want)
            continue
        for fit in fits:
            board.take(fit.node, want.workload.id, fit.allocation)
        starts.append(_start(want, fits))
    explainer = Explainer(state, board)
    waits.extend(explainer.wait(want) for want in crowded_out)
    return Plan(
        starts=tuple(starts),
        waits=tuple(sorted(waits, key=lambda wait: (wait.workload, wait.replica))),
        next_wake=_next_wake(wants, now),
    )


def _start(want: Want, fits: tuple[Fit, ...]) -> Start:
    more = f" and {len(fits) - 4} more" if len(fits) > 4 else ""
    left = [_leaves(fit) + (f" on {fit.node}" if len(fits) > 1 else "") for fit in fits[:4]]
    return Start(
        workload=want.workload.id,
        replica=want.replica.index,
        placements=placements(fits),
        why=f"best fit: leaves {', '.join(left)}{more}",
    )


def _leaves(fit: Fit) -> str:
    """What is then free on the node; accelerators where it has some to speak of."""
    cpus = f"{print_cpus(fit.cpu_left_milli)} CPUs"
    if not fit.accelerators_left_milli and not fit.allocation.devices:
        return cpus
    return f"{print_cpus(fit.accelerators_left_milli)} accelerators and {cpus}"


def _next_wake(wants: list[Want], now: float) -> float | None:
    return min((want.replica.not_before for want in wants if want.replica.not_before > now), default=None)
