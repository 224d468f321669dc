"""Part 2 of a step: evolve attempts by the facts, and write down what follows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from ampacity.model.attempt import (
    Attempt,
    AttemptFact,
    AttemptLost,
    AttemptPhase,
    IncarnationBegan,
    MemberStarted,
    ProgressReported,
    ReadinessChanged,
)
from ampacity.model.event import EventKind
from ampacity.model.evolve import evolve, order_stop
from ampacity.model.ids import WorkloadId

from .accounting import accounts, forgotten
from .batch import Batch
from .handles import Handles
from .health import give_up
from .lifecycle import settle
from .mirror import Mirror
from .words import cause_words, place_words


def apply_facts(batch: Batch, facts: Iterable[AttemptFact], handles: Handles) -> set[WorkloadId]:
    """Evolve every attempt that a fact is about; the workloads that were touched. ``handles`` go with them."""
    touched: set[WorkloadId] = set()
    for fact in facts:
        attempt = batch.attempt(fact.attempt if isinstance(fact, AttemptLost) else fact.key.attempt)
        if attempt is None:
            continue
        handed = handles.on(attempt)
        changed = evolve(handed, fact)
        if changed is handed:
            continue
        kind, text = _describe(attempt, changed, fact)
        written = accounts(batch, attempt, changed)
        batch.write(kind, text, changed, *written, removed=forgotten(batch, written))
        touched.add(attempt.workload)
        if isinstance(fact, ReadinessChanged) and attempt.ready and not fact.ready:
            _give_up(batch, changed, was_ready=True)
    return touched


def watch_health(batch: Batch, mirror: Mirror) -> None:
    """Give up replicas that did not become ready in time."""
    for attempt in mirror.served_attempts():
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


def settle_all(batch: Batch, touched: Iterable[WorkloadId], mirror: Mirror) -> None:
    """Settle the touched workloads and, whenever one ended, those that come after it."""
    queue = deque(sorted(touched))
    ended: set[WorkloadId] = set()
    while queue:
        ident = queue.popleft()
        settle(batch, ident)
        workload = batch.workload(ident)
        if workload is not None and workload.phase.ended and ident not in ended:
            ended.add(ident)
            queue.extend(sorted(mirror.dependants(ident)))


def _describe(before: Attempt, after: Attempt, fact: AttemptFact) -> tuple[EventKind, str]:
    if after.phase.ended:
        return EventKind.ATTEMPT_ENDED, f"{after.phase}: {cause_words(after.cause)}"
    if after.phase is AttemptPhase.STOPPING and before.phase is not AttemptPhase.STOPPING:
        return EventKind.ATTEMPT_STOPPING, after.stop.reason if after.stop is not None else "stopping"
    match fact:
        case MemberStarted() if after.nodes != before.nodes:
            return EventKind.ATTEMPT_PLACED, f"its pool has put it on {place_words(after)}"
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
