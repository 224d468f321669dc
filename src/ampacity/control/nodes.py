"""Keeping the nodes' rows: new ones, changed ones, silent ones, and those that were silent for too long. Pure but for
asking what has to be fenced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ampacity.model.attempt import AttemptPhase, Cause, CauseKind, MemberPhase, StopOrder
from ampacity.model.event import EventKind
from ampacity.model.evolve import order_stop
from ampacity.model.ids import NodeId
from ampacity.model.node import Health, Node, NodeCondition, placing_pool

from .batch import Batch
from .fencing import Fences
from .mirror import Mirror


def keep_nodes(
    batch: Batch,
    mirror: Mirror,
    seen: Mapping[str, Mapping[NodeId, Node]],
    fences: Fences,
    *,
    lost_after_s: float,
) -> None:
    """Register new nodes, mark silent ones, and give up the attempts on those that were silent for ``lost_after_s``."""
    for driver, nodes in seen.items():
        for node in nodes.values():
            _seen(batch, mirror.rows.nodes.get(node.id), node, fences)
        for known in [row for row in mirror.rows.nodes.values() if row.driver == driver]:
            if known.id not in nodes:
                fences.forget(known.id)
                _silent(batch, known)
    for ident in lost_nodes(mirror, batch.now, lost_after_s):
        _give_up(batch, mirror, ident, lost_after_s)


def lost_nodes(mirror: Mirror, now: float, lost_after_s: float) -> frozenset[NodeId]:
    """The nodes that have been silent for ``lost_after_s`` or longer."""
    return frozenset(
        node.id
        for node in mirror.rows.nodes.values()
        if node.unknown_since is not None and now - node.unknown_since >= lost_after_s
    )


def _seen(batch: Batch, known: Node | None, seen: Node, fences: Fences) -> None:
    if known is None:
        fresh = replace(seen, registered_at=batch.now, condition=NodeCondition.READY, unknown_since=None)
        batch.write(EventKind.NODE_REGISTERED, f"node {seen.id} is there", fresh)
        return
    back = known.unknown_since is not None
    if back and fences.hold(known):
        return
    fences.forget(known.id)
    condition = NodeCondition.CORDONED if known.condition is NodeCondition.CORDONED else NodeCondition.READY
    now = replace(
        seen,
        registered_at=known.registered_at,
        condition=condition,
        unknown_since=None,
        marks=known.marks,
        version=known.version,
    )
    if now != known:
        text = f"node {seen.id} is back" if back else f"node {seen.id} changed"
        text += "".join(f"; {words}" for words in _devices_told(known, now))
        batch.write(EventKind.NODE_CHANGED, text, now)


def _devices_told(before: Node, after: Node) -> Iterator[str]:
    """What happened to devices, in words."""
    was = {device.id: device for device in before.devices}
    for device in after.devices:
        then = was.pop(device.id, device)
        if device.resets > then.resets:
            yield f"device {device.id} was reset"
        if device.health is then.health:
            continue
        if device.health is Health.FAILED:
            cause = f" ({device.trouble})" if device.trouble else ""
            yield f"device {device.id} has failed{cause}, and nothing is placed on it"
        else:
            yield f"device {device.id} is {device.health}"
    for gone in was:
        yield f"device {gone} is no part of it any more"


def _silent(batch: Batch, known: Node) -> None:
    """Mark it once. A cordoned one stays cordoned, so that it still is when it returns."""
    if known.unknown_since is not None:
        return
    cordoned = known.condition is NodeCondition.CORDONED
    condition = known.condition if cordoned else NodeCondition.UNKNOWN
    silent = replace(known, condition=condition, unknown_since=batch.now)
    batch.write(EventKind.NODE_CHANGED, f"node {known.id} is silent", silent)


def _give_up(batch: Batch, mirror: Mirror, node: NodeId, lost_after_s: float) -> None:
    """Order the attempts there to end as lost. They have when all their members that can be reached have ended."""
    message = f"node {node} has been silent for {lost_after_s:g} s"
    cause = Cause(kind=CauseKind.NODE_LOST, message=message)
    order = StopOrder(reason=message, by="ampacity", grace_s=0.0, at=batch.now, final=AttemptPhase.LOST, cause=cause)
    row = mirror.rows.nodes[node]
    # What a pool has not begun yet may still come to another of its nodes.
    unsure = () if placing_pool(row, mirror.rows.pools) is None else (MemberPhase.PENDING, MemberPhase.PREPARING)
    for attempt in list(mirror.live_attempts()):
        current = batch.attempt(attempt.id)
        if current is None or not any(member.node == node and member.phase not in unsure for member in current.members):
            continue
        told = order_stop(current, order)
        if told is not current:
            batch.write(EventKind.ATTEMPT_STOPPING, message, told)
