"""What follows from what happened: replicas end or are tried again, workloads begin, end, or fall together. Pure."""

from __future__ import annotations

from dataclasses import replace

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, StopOrder
from ampacity.model.event import EventKind
from ampacity.model.evolve import order_stop
from ampacity.model.ids import WorkloadId
from ampacity.model.workload import (
    Desired,
    Replica,
    ReplicaPhase,
    RetryEvent,
    Wish,
    Workload,
    WorkloadKind,
    WorkloadPhase,
    WorkloadSpec,
)

from .batch import Batch

DO_NOT_REQUEUE = 93
"""A job that exits with this code is not tried again, whatever its retry policy."""

STEADY_S = 60.0
"""A service's replica that ran for so long has its failures forgotten."""

BACKOFF_LIMIT_S = 60.0


def settle(batch: Batch, ident: WorkloadId) -> None:
    """Write what follows for one workload. Settling again writes nothing more."""
    workload = batch.workload(ident)
    desired = batch.desired(ident)
    if workload is None or desired is None or workload.phase.ended:
        return
    spec = batch.spec(workload)
    _cancel_after_failure(batch, workload, desired)
    desired = batch.desired(ident) or desired
    _match_count(batch, workload, desired)
    latest = {attempt.replica: attempt for attempt in batch.attempts(ident)}
    for replica in batch.replicas(ident):
        _settle_replica(batch, workload, spec, desired, replica, latest.get(replica.index))
    _settle_workload(batch, workload, desired)


def backoff_s(kind: WorkloadKind, failures: int) -> float:
    """How long to wait before the next attempt: the first repetition at once, then 1, 2, 4 … seconds."""
    if failures <= 1:
        return 0.0
    return min(BACKOFF_LIMIT_S, 2.0 ** (failures - 2))


def _cancel_after_failure(batch: Batch, workload: Workload, desired: Desired) -> None:
    if desired.wish is Wish.STOP:
        return
    for ident in workload.after:
        before = batch.workload(ident)
        if before is not None and before.phase in (WorkloadPhase.FAILED, WorkloadPhase.CANCELLED):
            note = f"{before.name} ({before.id}), which it comes after, {_ended_words(before.phase)}"
            changed = replace(desired, wish=Wish.STOP, by="ampacity")
            batch.write(EventKind.DESIRED_CHANGED, note, changed, replace(workload, note=note))
            return


def _ended_words(phase: WorkloadPhase) -> str:
    return "failed" if phase is WorkloadPhase.FAILED else "was cancelled"


def _match_count(batch: Batch, workload: Workload, desired: Desired) -> None:
    """As many replica rows as are desired; what is above is stopped, and its row goes when it has ended."""
    replicas = batch.replicas(workload.id)
    known = {replica.index for replica in replicas}
    missing = [index for index in range(desired.replicas) if index not in known]
    if missing and desired.wish is Wish.RUN:
        rows = [Replica(workload=workload.id, index=index) for index in missing]
        batch.write(EventKind.REPLICA_CHANGED, f"replicas up to {desired.replicas}", *rows)
    for replica in replicas:
        if replica.index >= desired.replicas and replica.phase.ended:
            batch.write(EventKind.REPLICA_CHANGED, f"replica {replica.index} removed", removed=(replica,))


def _settle_replica(
    batch: Batch, workload: Workload, spec: WorkloadSpec, desired: Desired, replica: Replica, latest: Attempt | None
) -> None:
    wanted = desired.wish is Wish.RUN and replica.index < desired.replicas
    if replica.phase is ReplicaPhase.WAITING and not wanted:
        batch.write(EventKind.REPLICA_CHANGED, "stopped before it had a place", _moved(replica, ReplicaPhase.STOPPED))
    if replica.phase is ReplicaPhase.STOPPED and wanted:
        batch.write(EventKind.REPLICA_CHANGED, "wanted again", _moved(replica, ReplicaPhase.WAITING))
    if replica.phase is not ReplicaPhase.ACTIVE or latest is None:
        return
    if not latest.phase.ended:
        if not wanted:
            _stop(batch, latest, spec, desired, workload)
        return
    after, text = _after_attempt(batch.now, workload.kind, spec, replica, latest, wanted=wanted)
    batch.write(EventKind.REPLICA_CHANGED, text, after)


def _moved(replica: Replica, phase: ReplicaPhase) -> Replica:
    return replace(replica, phase=phase)


def _stop(batch: Batch, attempt: Attempt, spec: WorkloadSpec, desired: Desired, workload: Workload) -> None:
    reason = workload.note or (f"stopped by {desired.by}" if desired.wish is Wish.STOP else "fewer replicas wanted")
    order = StopOrder(reason=reason, by=desired.by, grace_s=spec.grace_s, at=batch.now)
    told = order_stop(attempt, order)
    if told is not attempt:
        batch.write(EventKind.ATTEMPT_STOPPING, reason, told)


def _after_attempt(
    now: float, kind: WorkloadKind, spec: WorkloadSpec, replica: Replica, attempt: Attempt, *, wanted: bool
) -> tuple[Replica, str]:
    """The replica once its attempt ended, and the words for it."""
    service = kind is WorkloadKind.SERVICE
    if attempt.phase is AttemptPhase.SUCCEEDED and not service:
        return replace(replica, phase=ReplicaPhase.SUCCEEDED), "succeeded"
    if not wanted:
        return replace(replica, phase=ReplicaPhase.STOPPED), "stopped"
    if attempt.phase is AttemptPhase.CANCELLED:
        return replace(replica, phase=ReplicaPhase.WAITING), "gave its place up; waits for another"
    failures = _failures(now, replica, attempt, service=service)
    refusal = _no_retry(spec, attempt, failures, service=service)
    if refusal:
        return replace(replica, phase=ReplicaPhase.FAILED, failures=failures), refusal
    pause_s = backoff_s(kind, failures)
    text = "is tried again" + (f" after {pause_s:g} s" if pause_s else "")
    return replace(replica, phase=ReplicaPhase.WAITING, failures=failures, not_before=now + pause_s), text


def _failures(now: float, replica: Replica, attempt: Attempt, *, service: bool) -> int:
    steady = attempt.started_at is not None and (attempt.ended_at or now) - attempt.started_at >= STEADY_S
    before = 0 if service and steady else replica.failures
    return before + attempt.incarnation + 1


def _no_retry(spec: WorkloadSpec, attempt: Attempt, failures: int, *, service: bool) -> str:
    """Why it is not tried again; empty when it is."""
    cause = attempt.cause or Cause(kind=CauseKind.EXIT)
    if cause.exit_code == DO_NOT_REQUEUE:
        return f"failed with exit code {DO_NOT_REQUEUE}, which asks not to be tried again"
    if cause.kind is CauseKind.TIME_LIMIT and not service:
        return "failed: its time was up"
    event = RetryEvent.INTERRUPTION if cause.kind.is_interruption else RetryEvent.ERROR
    if event not in spec.retry.on_events:
        return f"failed; its retry policy does not cover {event}s"
    if spec.retry.maximum is not None and failures > spec.retry.maximum:
        return f"failed; all {spec.retry.maximum} retries are used up" if spec.retry.maximum else "failed"
    return ""


def _settle_workload(batch: Batch, workload: Workload, desired: Desired) -> None:
    workload = batch.workload(workload.id) or workload
    phases = [replica.phase for replica in batch.replicas(workload.id)]
    phase = _phase(phases, desired)
    if phase is workload.phase:
        return
    if not phase.ended:
        batch.write(EventKind.WORKLOAD_CHANGED, f"{workload.name} is {phase}", replace(workload, phase=phase))
        return
    ended = replace(workload, phase=phase, ended_at=batch.now)
    batch.write(EventKind.WORKLOAD_ENDED, f"{workload.name} {_verdict(phase)}", ended)


def _verdict(phase: WorkloadPhase) -> str:
    return "was cancelled" if phase is WorkloadPhase.CANCELLED else phase.value


def _phase(phases: list[ReplicaPhase], desired: Desired) -> WorkloadPhase:
    if phases and all(phase.ended for phase in phases):
        if ReplicaPhase.FAILED in phases:
            return WorkloadPhase.FAILED
        return WorkloadPhase.SUCCEEDED if ReplicaPhase.SUCCEEDED in phases else WorkloadPhase.CANCELLED
    if not phases:
        return WorkloadPhase.CANCELLED if desired.wish is Wish.STOP else WorkloadPhase.WAITING
    if desired.wish is Wish.STOP:
        return WorkloadPhase.STOPPING
    return WorkloadPhase.RUNNING if ReplicaPhase.ACTIVE in phases else WorkloadPhase.WAITING
