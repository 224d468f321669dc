"""Part 2 of a step: evolve attempts by the facts, keep the nodes, and write down what follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ampacity.model.attempt import (
    Attempt,
    AttemptFact,
    AttemptLost,
    AttemptPhase,
    Cause,
    CauseKind,
    IncarnationBegan,
    ProgressReported,
    ReadinessChanged,
)
from ampacity.model.event import EventKind
from ampacity.model.evolve import evolve, order_stop
from ampacity.model.ids import NodeId, WorkloadId
from ampacity.model.node import Node, NodeCondition

from .batch import Batch
from .health import give_up
from .lifecycle import settle
from .mirror import Mirror
from .words import cause_words


def apply_facts(batch: Batch, facts: Iterable[AttemptFact]) -> set[WorkloadId]:
    """Evolve every attempt that a fact is about; the workloads that were touched."""
    touched: set[WorkloadId] = set()
    for fact in facts:
        attempt = batch.attempt(fact.attempt if isinstance(fact, AttemptLost) else fact.key.attempt)
        if attempt is None:
            continue
        changed = evolve(attempt, fact)
        if changed is attempt:
            continue
        kind, text = _describe(attempt, changed, fact)
        batch.write(kind, text, changed)
        touched.add(attempt.workload)
        if isinstance(fact, ReadinessChanged) and attempt.ready and not fact.ready:
            _give_up(batch, changed, was_ready=True)
    return touched


def watch_health(batch: Batch, mirror: Mirror) -> None:
    """Give up replicas that did not become ready in time."""
    for attempt in list(mirror.live_attempts()):
        current = batch.attempt(attempt.id)
        if current is not None and current.phase is AttemptPhase.RUNNING and not current.ready:
            _give_up(batch, current, was_ready=False)


def _give_up(batch: Batch, attempt: Attempt, *, was_ready: bool) -> None:
    workload = batch.workload(attempt.workload)
    if workload is None or workload.phase.ended:
        return
    order = give_up(attempt, batch.spec(workload, attempt.spec_revision), batch.now, was_ready=was_ready)
    if order is not None:
        batch.write(EventKind.ATTEMPT_STOPPING, order.reason, order_stop(attempt, order))


def keep_nodes(batch: Batch, mirror: Mirror, seen: Mapping[str, Mapping[NodeId, Node]], *, lost_after_s: float) -> None:
    """Register new nodes, mark silent ones, and after ``lost_after_s`` of silence lose the attempts there."""
    for driver, nodes in seen.items():
        for node in nodes.values():
            _keep_node(batch, mirror.rows.nodes.get(node.id), node)
        for known in [row for row in mirror.rows.nodes.values() if row.driver == driver]:
            if known.id not in nodes:
                _silent(batch, mirror, known, lost_after_s=lost_after_s)


def _keep_node(batch: Batch, known: Node | None, seen: Node) -> None:
    if known is None:
        fresh = replace(seen, registered_at=batch.now, condition=NodeCondition.READY, version=1)
        batch.write(EventKind.NODE_REGISTERED, f"node {seen.id} is there", fresh)
        return
    back = known.condition is NodeCondition.UNKNOWN
    condition = NodeCondition.READY if back else known.condition
    now = replace(
        seen, registered_at=known.registered_at, condition=condition, unknown_since=None, version=known.version
    )
    if now != known:
        text = f"node {seen.id} is back" if back else f"node {seen.id} changed"
        batch.write(EventKind.NODE_CHANGED, text, now)


def _silent(batch: Batch, mirror: Mirror, known: Node, *, lost_after_s: float) -> None:
    if known.condition is not NodeCondition.UNKNOWN:
        silent = replace(known, condition=NodeCondition.UNKNOWN, unknown_since=batch.now)
        batch.write(EventKind.NODE_CHANGED, f"node {known.id} is silent", silent)
        return
    since = known.unknown_since if known.unknown_since is not None else batch.now
    if batch.now - since < lost_after_s:
        return
    cause = Cause(kind=CauseKind.NODE_LOST, message=f"node {known.id} has been silent for {lost_after_s:g} s")
    gone = [attempt for attempt in mirror.live_attempts() if known.id in attempt.nodes]
    apply_facts(batch, [AttemptLost(attempt=attempt.id, at=batch.now, cause=cause) for attempt in gone])


def settle_all(batch: Batch, touched: Iterable[WorkloadId], mirror: Mirror) -> None:
    """Settle the touched workloads and, when one ended, those that come after it."""
    queue = sorted(touched)
    done: set[WorkloadId] = set()
    while queue:
        ident = queue.pop(0)
        if ident in done:
            continue
        done.add(ident)
        settle(batch, ident)
        workload = batch.workload(ident)
        if workload is not None and workload.phase.ended:
            queue.extend(row.id for row in mirror.rows.workloads.values() if ident in row.after)


def _describe(before: Attempt, after: Attempt, fact: AttemptFact) -> tuple[EventKind, str]:
    if after.phase.ended:
        return EventKind.ATTEMPT_ENDED, f"{after.phase}: {cause_words(after.cause)}"
    if after.phase is AttemptPhase.STOPPING and before.phase is not AttemptPhase.STOPPING:
        return EventKind.ATTEMPT_STOPPING, after.stop.reason if after.stop is not None else "stopping"
    match fact:
        case IncarnationBegan():
            words = f"{cause_words(fact.cause)}; restarted in place (incarnation {fact.incarnation})"
            return EventKind.ATTEMPT_RESTARTED, words
        case ReadinessChanged():
            return EventKind.ATTEMPT_READY, "ready" if fact.ready else f"not ready: {fact.detail}"
        case ProgressReported():
            loss = "" if fact.progress.loss is None else f", loss {fact.progress.loss:.4g}"
            return EventKind.ATTEMPT_CHANGED, f"step {fact.progress.step}{loss}"
        case _:
            return EventKind.ATTEMPT_CHANGED, after.phase.value
