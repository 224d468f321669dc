"""Part 4 of a step: check every decision of the plan against the rows, and write the placed attempts."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from ampacity.model.attempt import Attempt, Member, StopOrder
from ampacity.model.event import EventKind
from ampacity.model.evolve import order_stop
from ampacity.model.fits import Free, fits, free_on, less, usable
from ampacity.model.ids import NodeId, attempt_id
from ampacity.model.plan import Plan, Start, Stop
from ampacity.model.resources import Allocation
from ampacity.model.workload import Replica, ReplicaPhase, Wish

from .batch import Batch
from .mirror import Mirror
from .words import place_words

log = logging.getLogger(__name__)


class Board:
    """What is free on the nodes that the plan names: by the rows, less what this commit has given out."""

    def __init__(self, mirror: Mirror, nodes: Iterable[NodeId]) -> None:
        named = set(nodes)
        used: dict[NodeId, list[Allocation]] = defaultdict(list)
        for attempt in mirror.live_attempts():
            for member in attempt.members:
                if member.node in named:
                    used[member.node].append(member.allocation)
        known = mirror.rows.nodes
        self._free: dict[NodeId, Free] = {
            node: free_on(known[node], used[node]) for node in named if node in known and usable(known[node])
        }

    def take(self, start: Start) -> bool:
        """Give the gang its places, all of them or none. ``False`` = it does not fit."""
        left = dict(self._free)
        for placement in start.placements:
            free = left.get(placement.node)
            if free is None or not fits(free, placement.allocation):
                return False
            left[placement.node] = less(free, placement.allocation)
        self._free = left
        return True


def commit_starts(batch: Batch, mirror: Mirror, starts: tuple[Start, ...]) -> list[str]:
    """Write an attempt for each start that still holds. Those that do not are left to the next plan: their replicas."""
    given_up = []
    board = Board(mirror, (placement.node for start in starts for placement in start.placements))
    for start in starts:
        replica = next((each for each in batch.replicas(start.workload) if each.index == start.replica), None)
        if replica is None or not _still_wanted(batch, replica):
            continue
        if not board.take(start):
            given_up.append(f"{start.workload}.{start.replica}")
            log.warning("the start of %s no longer fits; planned anew", given_up[-1])
            continue
        _place(batch, start, replica)
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
        placed_at=batch.now,
    )
    active = replace(replica, phase=ReplicaPhase.ACTIVE, epoch=epoch)
    nodes = tuple(dict.fromkeys(attempt.nodes))
    text = f"placed on {place_words(attempt)}" + (f"; {start.why}" if start.why else "")
    batch.write(EventKind.ATTEMPT_PLACED, text, attempt, active, touched=nodes)


def commit_stops(batch: Batch, stops: tuple[Stop, ...]) -> None:
    """Tell the attempts to stop that the plan wants gone."""
    for stop in stops:
        attempt = batch.attempt(stop.attempt)
        if attempt is None:
            continue
        order = StopOrder(reason=stop.reason, by="scheduler", grace_s=stop.grace_s, at=batch.now)
        told = order_stop(attempt, order)
        if told is not attempt:
            batch.write(EventKind.ATTEMPT_STOPPING, stop.reason, told)


def commit(batch: Batch, mirror: Mirror, plan: Plan) -> list[str]:
    """Stops first, then starts. The replicas whose start no longer fits."""
    commit_stops(batch, plan.stops)
    return commit_starts(batch, mirror, plan.starts)
