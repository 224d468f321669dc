"""The end of part 5: attempts of which nothing is left but what cannot be reached are concluded."""

from __future__ import annotations

from collections.abc import Collection

from ampacity.model.attempt import Attempt, AttemptFact, AttemptLost, AttemptPhase, Cause, CauseKind, MemberPhase
from ampacity.model.ids import MemberKey, NodeId, WorkloadId

from .batch import Batch
from .handles import Handles
from .mirror import Mirror
from .update import apply_facts

OVERDUE_S = 10.0
"""A member on a lost node that was told to stop, and says nothing for so long after its grace time, is given up."""


def conclude_lost(
    batch: Batch, mirror: Mirror, lost: Collection[NodeId], unreachable: Collection[MemberKey], handles: Handles
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
    return apply_facts(batch, gone, handles)


def _is_lost(attempt: Attempt, lost: Collection[NodeId], unreachable: Collection[MemberKey], now: float) -> bool:
    if attempt.phase is not AttemptPhase.STOPPING or attempt.stop is None:
        return False
    left = [member for member in attempt.members if member.phase is not MemberPhase.EXITED]
    overdue = now >= max(attempt.stop.at, attempt.stop.save_until or 0.0) + attempt.stop.grace_s + OVERDUE_S
    return all(member.node in lost and (overdue or attempt.key(member.index) in unreachable) for member in left)
