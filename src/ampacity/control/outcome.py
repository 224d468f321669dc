"""The end of part 5: what came of the drivers' calls is written down."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ampacity.drivers.base import Handle
from ampacity.model.attempt import Attempt, AttemptFact, AttemptLost, AttemptPhase, Cause, CauseKind, MemberPhase
from ampacity.model.event import EventKind
from ampacity.model.ids import MemberKey, NodeId, WorkloadId

from .act import Deeds
from .batch import Batch
from .mirror import Mirror
from .update import apply_facts

OVERDUE_S = 10.0
"""A member on a lost node that was told to stop, and says nothing for so long after its grace time, is given up."""


def record_deeds(batch: Batch, deeds: Deeds) -> set[WorkloadId]:
    """Handles into their members, refusals as exits. The workloads that were touched."""
    for handle in deeds.handles:
        _keep_handle(batch, handle)
    return apply_facts(batch, deeds.refused)


def _keep_handle(batch: Batch, handle: Handle) -> None:
    attempt = batch.attempt(handle.key.attempt)
    if attempt is None or attempt.phase.ended:
        return
    members = tuple(
        replace(member, handle=handle.ref) if member.index == handle.key.member else member
        for member in attempt.members
    )
    if members != attempt.members:
        batch.write(EventKind.ATTEMPT_CHANGED, f"handed to {handle.node}", replace(attempt, members=members))


def conclude_lost(
    batch: Batch, mirror: Mirror, lost: Collection[NodeId], unreachable: Collection[MemberKey]
) -> set[WorkloadId]:
    """End the attempts of which only members on lost nodes are left, and those cannot be reached."""
    if not lost:
        return set()
    gone: list[AttemptFact] = []
    for attempt in mirror.live_attempts():
        current = batch.attempt(attempt.id)
        if current is not None and _is_lost(current, lost, unreachable, batch.now):
            cause = current.stop.cause if current.stop is not None else None
            gone.append(AttemptLost(attempt=current.id, at=batch.now, cause=cause or Cause(kind=CauseKind.NODE_LOST)))
    return apply_facts(batch, gone)


def _is_lost(attempt: Attempt, lost: Collection[NodeId], unreachable: Collection[MemberKey], now: float) -> bool:
    if attempt.phase is not AttemptPhase.STOPPING or attempt.stop is None:
        return False
    left = [member for member in attempt.members if member.phase is not MemberPhase.EXITED]
    overdue = now >= attempt.stop.at + attempt.stop.grace_s + OVERDUE_S
    return all(member.node in lost and (overdue or attempt.key(member.index) in unreachable) for member in left)
