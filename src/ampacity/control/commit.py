"""Part 4 of a step: check every decision of the plan against the rows, and write the placed attempts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, Member, StopOrder
from ampacity.model.event import EventKind
from ampacity.model.evolve import order_stop
from ampacity.model.fits import Free, fits, free_on, less, usable
from ampacity.model.ids import NodeId, attempt_id
from ampacity.model.plan import Move, Placement, Plan, Resize, Start, Stop
from ampacity.model.resources import Allocation
from ampacity.model.shared import Given, shared_free, take_shared
from ampacity.model.site import EMPTY_SITE, SITE_KEY
from ampacity.model.workload import Replica, ReplicaPhase, Wish

from .batch import Batch
from .mirror import Mirror
from .words import place_words

log = logging.getLogger(__name__)


class Board:
    """What is free on the nodes that the plan names, and of what all nodes share: by the rows, less what this commit
    has given out."""

    def __init__(self, mirror: Mirror, nodes: Iterable[NodeId]) -> None:
        named = set(nodes)
        used: dict[NodeId, list[Allocation]] = defaultdict(list)
        shared: list[Given] = []
        known = self._known = mirror.rows.nodes
        for attempt in mirror.live_attempts() if named else ():
            for _, place in attempt.held:
                if place.node in named:
                    used[place.node].append(place.allocation)
                if place.allocation.licences or place.allocation.power_w:
                    shared.append((known.get(place.node), place.allocation))
        self._site = mirror.rows.sites.get(SITE_KEY, EMPTY_SITE)
        self._shared = shared_free(self._site, shared)
        self._free: dict[NodeId, Free] = {
            node: free_on(known[node], used[node]) for node in named if node in known and usable(known[node])
        }

    def take(self, placements: Iterable[Placement]) -> bool:
        """Give the gang its places, all of them or none. ``False`` = it does not fit."""
        left, gang = dict(self._free), list(placements)
        for placement in gang:
            free = left.get(placement.node)
            if free is None or not fits(free, placement.allocation):
                return False
            left[placement.node] = less(free, placement.allocation)
        wanted = ((self._known.get(place.node), place.allocation) for place in gang)
        shared = take_shared(self._shared, self._site, wanted)
        if shared is None:
            return False
        self._free, self._shared = left, shared
        return True


def commit(batch: Batch, mirror: Mirror, plan: Plan) -> list[str]:
    """Stops first, then what changes its place, then starts. What no longer holds is left out, and named."""
    changes: tuple[Resize | Move, ...] = (*plan.resizes, *plan.moves)
    places = (*(change.placements for change in changes), *(start.placements for start in plan.starts))
    board = Board(mirror, (place.node for gang in places for place in gang))
    for stop in plan.stops:
        _stop(batch, stop)
    given_up: list[str] = [change.attempt for change in changes if not _change_places(batch, board, change)]
    given_up += commit_starts(batch, board, plan.starts)
    for name in given_up:
        log.warning("what was planned for %s no longer fits; planned anew", name)
    _promise(batch, mirror, plan)
    return given_up


def commit_starts(batch: Batch, board: Board, starts: tuple[Start, ...]) -> list[str]:
    """Write an attempt for each start that still holds. Those that do not are left to the next plan: their replicas."""
    given_up = []
    for start in starts:
        replica = next((each for each in batch.replicas(start.workload) if each.index == start.replica), None)
        if replica is None or not _still_wanted(batch, replica):
            continue
        if board.take(start.placements):
            _place(batch, start, replica)
        else:
            given_up.append(f"{start.workload}.{start.replica}")
    return given_up


def _still_wanted(batch: Batch, replica: Replica) -> bool:
    desired = batch.desired(replica.workload)
    wanted = desired is not None and desired.wish is Wish.RUN and replica.index < desired.replicas
    return wanted and replica.phase is ReplicaPhase.WAITING


def _place(batch: Batch, start: Start, replica: Replica) -> None:
    workload = batch.workload(start.workload)
    assert workload is not None, "a replica has its workload"
    epoch = replica.epoch + 1
    attempt = Attempt(
        id=attempt_id(workload.id, replica.index, epoch),
        workload=workload.id,
        replica=replica.index,
        epoch=epoch,
        spec_revision=workload.spec_revision,
        members=tuple(
            Member(index=index, node=placement.node, allocation=placement.allocation)
            for index, placement in enumerate(start.placements)
        ),
        project=workload.project,
        owner=workload.owner,
        queue=batch.spec(workload).queue,
        lasting=start.lasting,
        placed_at=batch.now,
    )
    active = replace(replica, phase=ReplicaPhase.ACTIVE, epoch=epoch, then=())
    nodes = tuple(dict.fromkeys(attempt.nodes))
    text = f"placed on {place_words(attempt)}" + (f"; {start.why}" if start.why else "")
    batch.write(EventKind.ATTEMPT_PLACED, text, attempt, active, touched=nodes)


def _stop(batch: Batch, stop: Stop) -> None:
    attempt = batch.attempt(stop.attempt)
    if attempt is not None:
        _give_way(batch, attempt, stop.reason, grace_s=stop.grace_s, save=stop.checkpoint_first)


def _change_places(batch: Batch, board: Board, change: Resize | Move) -> bool:
    """Have the attempt end, and keep the places for its successor. ``False`` = they are not there any more."""
    attempt = batch.attempt(change.attempt)
    workload = None if attempt is None else batch.workload(attempt.workload)
    if attempt is None or workload is None or attempt.stop is not None:
        return True  # it ends by itself
    own = {member.node: member.allocation for member in attempt.members}
    kept = all(own.get(place.node, place.allocation) == place.allocation for place in change.placements)
    if not kept or not board.take(place for place in change.placements if place.node not in own):
        return False
    grace_s = batch.spec(workload, attempt.spec_revision).grace_s
    _give_way(batch, attempt, change.reason, grace_s=grace_s, save=True, then=change.placements)
    return True


def _give_way(
    batch: Batch,
    attempt: Attempt,
    reason: str,
    *,
    grace_s: float,
    save: bool,
    then: tuple[Placement, ...] = (),
) -> None:
    """Order the attempt to end for something else. One that has reported its progress is asked to save before."""
    workload = batch.workload(attempt.workload)
    within_s = 0.0 if workload is None else batch.spec(workload, attempt.spec_revision).checkpoint.within_s
    asks = save and attempt.phase is AttemptPhase.RUNNING and attempt.progress is not None
    order = StopOrder(
        reason=reason,
        by="scheduler",
        grace_s=grace_s,
        at=batch.now,
        cause=Cause(kind=CauseKind.PREEMPTED, message=reason),
        save_until=batch.now + within_s if asks else None,
        saved_step=None if attempt.progress is None else attempt.progress.checkpoint_step,
        then=then,
    )
    told = order_stop(attempt, order)
    if told is not attempt:
        text = f"is to give its place up: {reason}" + ("; it saves first" if asks else "")
        batch.write(EventKind.ATTEMPT_STOPPING, text, told)


def _promise(batch: Batch, mirror: Mirror, plan: Plan) -> None:
    """Write down whom places are promised to. Who neither has them now nor is waited for any more waits like all."""
    standing = {(each.workload, each.replica): each.placements for each in plan.promises}
    keys = dict.fromkeys((*(f"{workload}.{index}" for workload, index in standing), *mirror.promised))
    for key in keys:
        replica = batch.replica(key)
        if replica is None or replica.phase is not ReplicaPhase.WAITING:
            continue
        then = standing.get((replica.workload, replica.index), ())
        if then != replica.then:
            text = f"gets a place on {', '.join(place.node for place in then)}, once it was left" if then else _GONE
            batch.write(EventKind.REPLICA_CHANGED, text, replace(replica, then=then))


_GONE = "the place that was kept for it is not there any more"
