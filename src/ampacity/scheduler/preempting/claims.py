"""Who may take whose place. Among the same two workloads never both ways: so preemption comes to rest.

A place goes to a higher priority of the same queue; within one priority to a higher tier, as the owners of the two say.
The nodes that an elastic gang has beyond its least go to the same priority as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from ampacity.model.ids import QueueName
from ampacity.model.workload import GivingWay, WorkloadKind, WorkloadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """All of a workload that says whose place it may take, and who its."""

    queue: QueueName
    priority: int
    kind: WorkloadKind
    preemptible: bool
    giving_way: GivingWay

    @staticmethod
    def of(spec: WorkloadSpec) -> Claim:
        return Claim(
            queue=spec.queue,
            priority=spec.priority,
            kind=spec.kind,
            preemptible=spec.preemptible,
            giving_way=spec.giving_way,
        )

    @property
    def rank(self) -> tuple[int, int]:
        """Those of a lower rank are stopped first."""
        return self.priority, self.giving_way.tier


def may_stop(one: Claim, other: Claim) -> bool:
    """Whether one that waits may have the place of the other, which runs. Then the other is of a lower rank."""
    if not other.preemptible or one.queue != other.queue or one.rank <= other.rank:
        return False
    if one.priority > other.priority:
        return True
    return one.kind in other.giving_way.yield_to or other.kind in one.giving_way.outrank


def may_shrink(one: Claim, other: Claim) -> bool:
    """Whether one that waits may have what the other, an elastic gang, has beyond its least."""
    return other.preemptible and one.queue == other.queue and one.priority >= other.priority


def say_claim(one: Claim, other: Claim, debtor: str | None) -> str:
    """Why the one may have the other's place. ``debtor``: the queue from which it is reclaimed."""
    if debtor is not None:
        return f"the queue {debtor} has borrowed what {one.queue} has a right to"
    if one.priority > other.priority:
        return f"priority {one.priority} over {other.priority}"
    if one.kind in other.giving_way.yield_to:
        return f"it yields to a {one.kind}, as its owner says"
    if other.kind in one.giving_way.outrank:
        return f"that outranks a {other.kind}, as its owner says"
    return "it has more than its least"
