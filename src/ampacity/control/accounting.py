"""What is written down with the end of an attempt: what it has used, and how long it took; and how fast it is while
it runs, now and then."""

from __future__ import annotations

from math import floor, log2

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

FIRST_RATE_S = 60.0
"""A job that runs tells its rate when it was measured for so long; then after twice that, four times, and so on."""

MOST_KINDS = 5000
"""Of so many kinds of jobs it is remembered how long they took."""


def accounts(batch: Batch, before: Attempt, after: Attempt) -> tuple[Row, ...]:
    """The rows that go with a change of an attempt: with its end, and while it runs with its rate from time to time."""
    if not after.phase.ended:
        return _learned_so_far(batch, before, after)
    if before.phase.ended:
        return ()
    policy = batch.get(Table.POLICIES, POLICY_KEY)
    usage = _charged(batch, after, policy if isinstance(policy, SchedulerPolicy) else DEFAULT_POLICY)
    workload = batch.workload(after.workload)
    if workload is None:
        return (usage,)
    before_it = _history(batch, workload)
    learned = _paced(batch, before_it, after)
    if _tells(workload, after):
        learned = learned.with_run(lasted_s(after, batch.now), batch.now)
    return (usage,) if learned is before_it else (usage, learned)


def _learned_so_far(batch: Batch, before: Attempt, after: Attempt) -> tuple[Row, ...]:
    """Its rate on a kind of accelerator, where it has been measured for twice as long as when it was written last."""
    if after.progress is before.progress or _doublings(before) == _doublings(after):
        return ()
    workload = batch.workload(after.workload)
    if workload is None:
        return ()
    known = _history(batch, workload)
    learned = _paced(batch, known, after)
    return () if learned is known else (learned,)


def _doublings(attempt: Attempt) -> int:
    """How often the time over which its rate was measured has doubled since ``FIRST_RATE_S``; 0 = it is shorter."""
    first, last = attempt.first_progress, attempt.progress
    measured_s = 0.0 if first is None or last is None else last.at - first.at
    return 0 if measured_s < FIRST_RATE_S else 1 + floor(log2(measured_s / FIRST_RATE_S))


def _history(batch: Batch, workload: Workload) -> RuntimeHistory:
    key = runtime_key(workload)
    row = batch.get(Table.RUNTIMES, key)
    return row if isinstance(row, RuntimeHistory) else RuntimeHistory(key=key)


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
