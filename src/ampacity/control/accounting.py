"""What is written down with the end of an attempt: what it has used, and how long it took."""

from __future__ import annotations

from ampacity.model.amounts import given
from ampacity.model.attempt import Attempt, AttemptPhase
from ampacity.model.event import Row, Table
from ampacity.model.history import (
    RuntimeHistory,
    Usage,
    account_key,
    lasted_s,
    runtime_key,
    steps_per_s,
    usage_rate,
    used_since,
)
from ampacity.model.node import Node
from ampacity.model.policy import DEFAULT_POLICY, POLICY_KEY, SchedulerPolicy
from ampacity.model.resources import WHOLE_MILLI
from ampacity.model.workload import Workload, WorkloadKind

from .batch import Batch

MOST_KINDS = 5000
"""Of so many kinds of jobs it is remembered how long they took."""


def accounts(batch: Batch, before: Attempt, after: Attempt) -> tuple[Row, ...]:
    """The rows that go with the end of an attempt; none where it has not just ended."""
    if before.phase.ended or not after.phase.ended:
        return ()
    policy = batch.get(Table.POLICIES, POLICY_KEY)
    usage = _charged(batch, after, policy if isinstance(policy, SchedulerPolicy) else DEFAULT_POLICY)
    workload = batch.workload(after.workload)
    if workload is None:
        return (usage,)
    key = runtime_key(workload)
    row = batch.get(Table.RUNTIMES, key)
    before_it = row if isinstance(row, RuntimeHistory) else RuntimeHistory(key=key)
    learned = _paced(batch, before_it, after)
    if _tells(workload, after):
        learned = learned.with_run(lasted_s(after, batch.now), batch.now)
    return (usage,) if learned is before_it else (usage, learned)


def forgotten(batch: Batch, written: tuple[Row, ...]) -> tuple[Row, ...]:
    """What is not remembered any more when jobs of a new kind come: the kind that nobody has run for the longest."""
    known = batch.standing(Table.RUNTIMES)
    fresh = any(isinstance(row, RuntimeHistory) and row.key not in known for row in written)
    if not fresh or len(known) < MOST_KINDS:
        return ()
    kept = [
        row for key, row in known.items() if isinstance(row, RuntimeHistory) and batch.get(Table.RUNTIMES, key) is row
    ]
    return tuple(sorted(kept, key=lambda row: (row.at, row.key))[:1])


def _charged(batch: Batch, attempt: Attempt, policy: SchedulerPolicy) -> Usage:
    end = batch.now if attempt.ended_at is None else attempt.ended_at
    rate = usage_rate(
        given((member.allocation, _kinds(batch, member.node).get) for member in attempt.members), policy.usage_weights
    )
    used_s = used_since(rate, attempt.placed_at, end, policy.half_life_s)
    row = batch.get(Table.USAGE, account_key(attempt.queue, attempt.project, attempt.owner))
    if not isinstance(row, Usage):
        row = Usage(queue=attempt.queue, project=attempt.project, owner=attempt.owner, at=end)
    return row.charged(used_s, end, policy.half_life_s)


def _kinds(batch: Batch, node: str) -> dict[str, str]:
    row = batch.get(Table.NODES, node)
    return {str(device.id): device.kind for device in row.devices} if isinstance(row, Node) else {}


def _tells(workload: Workload, attempt: Attempt) -> bool:
    """Whether its end says how long such jobs take: one that failed or was stopped does not."""
    return attempt.phase is AttemptPhase.SUCCEEDED and workload.kind is not WorkloadKind.SERVICE


def _paced(batch: Batch, known: RuntimeHistory, attempt: Attempt) -> RuntimeHistory:
    """With the rate that it made on its accelerators, however it ended; where they are all of one kind."""
    rate = steps_per_s(attempt)
    shares = [(each.node, share) for each in attempt.members for share in each.allocation.devices]
    kinds = {_kinds(batch, node).get(share.device) for node, share in shares}
    devices = sum(share.milli for _, share in shares) / WHOLE_MILLI
    kind = next(iter(kinds), None)
    if rate is None or kind is None or len(kinds) > 1:
        return known
    return known.with_rate(kind, rate / devices, batch.now)
