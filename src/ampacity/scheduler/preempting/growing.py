"""Elastic gangs that get more nodes when there is room that nobody waits for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ampacity.model.plan import Placement, Resize
from ampacity.model.preemption import PreemptionPolicy
from ampacity.model.resources import ANY_KIND, Range, ResourceRequest

from ..board import Board
from ..fit import fits_on, keys_of
from ..gang import Gang
from ..place import alternatives, candidates, placements
from ..queues.purse import Purse
from ..state import State
from .pieces import places_of
from .runners import Runner


@dataclass(slots=True)
class Growth:
    """``next_at``: when the next one may grow that is still too young."""

    resizes: list[Resize] = field(default_factory=list)
    next_at: float | None = None


def grow(state: State, board: Board, purse: Purse, now: float, policy: PreemptionPolicy) -> Growth:
    """Larger sizes for those that may have them: the highest priority first, then the oldest.

    It costs a gang its place for a moment: so it has to have run for a while, and to have saved its state before, as it
    is asked to do again. It keeps its own nodes.
    """
    growth = Growth()
    if not policy.grow:
        return growth
    ordered = sorted(state.runners.elastic.values(), key=lambda each: (-each.spec.priority, each.attempt.id))
    for runner in ordered:
        more = _more(board, purse, runner)
        if not more:
            continue
        began_at = runner.attempt.started_at
        ready_at = (now if began_at is None else began_at) + policy.grow_after_s
        if ready_at > now:
            growth.next_at = ready_at if growth.next_at is None else min(growth.next_at, ready_at)
            continue
        own = places_of(runner.attempt)
        reason = f"goes on with {len(own) + len(more)} nodes instead of {len(own)}: there is room that nobody waits for"
        growth.resizes.append(Resize(attempt=runner.attempt.id, placements=(*own, *more), reason=reason))
        for spot in more:
            board.take_place(spot, runner.attempt.workload)
        purse.take(runner.attempt.queue, purse.amounts(more))
    return growth


def _more(board: Board, purse: Purse, runner: Runner) -> tuple[Placement, ...]:
    """Places beside its own, of the same kind of accelerators; none where there are none that its queue may use."""
    attempt, spec = runner.attempt, runner.spec
    most = spec.num_nodes.maximum
    room = None if most is None else most - len(attempt.members)
    saved = attempt.progress is not None and attempt.progress.checkpoint_step is not None
    if not saved or (room is not None and room <= 0) or spec.rules.topology is not None:
        return ()
    for request in _alike(board, runner):
        found = _beside(board, Gang(resources=request, size=Range(minimum=1, maximum=room), rules=spec.rules), runner)
        while found and purse.barred(attempt.queue, purse.amounts(found)) is not None:
            found = found[:-1]
        if found:
            return found
    return ()


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


def _beside(board: Board, gang: Gang, runner: Runner) -> tuple[Placement, ...]:
    """Places on nodes that it does not have, the best first."""
    fleet = board.fleet
    own = [row for node in runner.attempt.nodes if (row := fleet.row_of.get(node)) is not None]
    rows = np.setdiff1d(candidates(board, gang, gang.resources), own)
    keys = keys_of(board, gang.resources)[rows]
    chosen: list[int] = rows[np.lexsort((fleet.rank[rows], keys))][: gang.size.maximum].tolist()
    return placements(fits_on(board, gang.resources, chosen))
