"""What follows from what happened: replicas end or are tried again, workloads begin, end, or fall together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, StopOrder
from ampacity.model.event import EventKind
from ampacity.model.evolve import order_stop
from ampacity.model.history import lasted_s
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

STEADY_S = 60.0
"""A service's replica that ran for so long has its failures forgotten."""

BACKOFF_LIMIT_S = 60.0

DO_NOT_REQUEUE = 93
"""A job that exits with this code is not tried again, whatever its retry policy (docs/training.md)."""


def settle(batch: Batch, ident: WorkloadId) -> None:
    """Write what follows for one workload. Settling again writes nothing more."""
    workload = batch.workload(ident)
    desired = batch.desired(ident)
    if workload is None or desired is None or workload.phase.ended:
        return
    aim = _aim(batch, workload, desired)
    _match_count(batch, workload, aim)
    latest = {attempt.replica: attempt for attempt in batch.attempts(ident)}
    for replica in batch.replicas(ident):
        _settle_replica(batch, workload, aim, replica, latest.get(replica.index))
    _settle_workload(batch, workload, aim)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aim:
    """What the workload shall come to: how many replicas; ``stop``: none, and why; ``note``: what it fell with."""

    replicas: int
    stop: bool
    reason: str
    by: str
    note: str = ""

    def wants(self, replica: Replica) -> bool:
        return not self.stop and replica.index < self.replicas


def _aim(batch: Batch, workload: Workload, desired: Desired) -> _Aim:
    """What is desired; but one that comes after something that failed or was cancelled is to end, too."""
    if desired.wish is Wish.STOP:
        return _Aim(replicas=desired.replicas, stop=True, reason=f"stopped by {desired.by}", by=desired.by)
    for ident in workload.after:
        before = batch.workload(ident)
        if before is not None and before.phase in (WorkloadPhase.FAILED, WorkloadPhase.CANCELLED):
            verb = "failed" if before.phase is WorkloadPhase.FAILED else "was cancelled"
            note = f"{before.name} ({before.id}), which it comes after, {verb}"
            return _Aim(replicas=desired.replicas, stop=True, reason=note, by="ampacity", note=note)
    return _Aim(replicas=desired.replicas, stop=False, reason="fewer replicas wanted", by=desired.by)


def backoff_s(failures: int) -> float:
    """How long to wait before the next attempt: the first repetition at once, then 1, 2, 4 … seconds."""
    if failures <= 1:
        return 0.0
    return min(BACKOFF_LIMIT_S, 2.0 ** min(failures - 2, 10))


def _match_count(batch: Batch, workload: Workload, aim: _Aim) -> None:
    """As many replica rows as are desired; what is above is stopped, and its row goes when it has ended.

    The row of an index that was there before goes on at the epoch that this one had come to.
    """
    replicas = batch.replicas(workload.id)
    known = {replica.index for replica in replicas}
    missing = [] if aim.stop else [index for index in range(aim.replicas) if index not in known]
    if missing:
        epochs = {attempt.replica: attempt.epoch for attempt in batch.attempts(workload.id)}
        rows = [Replica(workload=workload.id, index=index, epoch=epochs.get(index, 0)) for index in missing]
        batch.write(EventKind.REPLICA_CHANGED, f"replicas up to {aim.replicas}", *rows)
    for replica in replicas:
        if replica.index >= aim.replicas and replica.phase.ended:
            batch.write(EventKind.REPLICA_CHANGED, f"replica {replica.index} removed", removed=(replica,))


def _settle_replica(batch: Batch, workload: Workload, aim: _Aim, replica: Replica, latest: Attempt | None) -> None:
    wanted = aim.wants(replica)
    if replica.phase is ReplicaPhase.WAITING and not wanted:
        stopped = replace(replica, phase=ReplicaPhase.STOPPED)
        batch.write(EventKind.REPLICA_CHANGED, f"{aim.reason}, before it had a place", stopped)
    if replica.phase is ReplicaPhase.STOPPED and wanted:
        batch.write(EventKind.REPLICA_CHANGED, "wanted again", replace(replica, phase=ReplicaPhase.WAITING))
    if replica.phase is not ReplicaPhase.ACTIVE or latest is None:
        return
    spec = batch.spec(workload, latest.spec_revision)
    if not latest.phase.ended:
        if not wanted:
            _stop(batch, latest, spec, aim)
        return
    ran = replace(replica, ran_s=replica.ran_s + lasted_s(latest, batch.now))
    after, text = _after_attempt(batch.now, workload.kind, spec, ran, latest, wanted=wanted)
    batch.write(EventKind.REPLICA_CHANGED, text, after)


def _stop(batch: Batch, attempt: Attempt, spec: WorkloadSpec, aim: _Aim) -> None:
    order = StopOrder(reason=aim.reason, by=aim.by, grace_s=spec.grace_s, at=batch.now)
    told = order_stop(attempt, order)
    if told is not attempt:
        batch.write(EventKind.ATTEMPT_STOPPING, aim.reason, told)


def _after_attempt(
    now: float, kind: WorkloadKind, spec: WorkloadSpec, replica: Replica, attempt: Attempt, *, wanted: bool
) -> tuple[Replica, str]:
    """The replica once its attempt ended, and the words for it."""
    service = kind is WorkloadKind.SERVICE
    if attempt.phase is AttemptPhase.SUCCEEDED and not service:
        return replace(replica, phase=ReplicaPhase.SUCCEEDED), "succeeded"
    if not wanted:
        return replace(replica, phase=ReplicaPhase.STOPPED), "stopped"
    if attempt.cause is not None and attempt.cause.kind is CauseKind.PREEMPTED:
        return _after_preemption(replica, attempt)
    if attempt.phase is AttemptPhase.CANCELLED:
        return replace(replica, phase=ReplicaPhase.WAITING), "gave its place up; waits for another"
    failures = _failures(now, replica, attempt, service=service)
    refusal = _no_retry(spec, attempt, failures, service=service)
    if refusal:
        return replace(replica, phase=ReplicaPhase.FAILED, failures=failures), refusal
    pause_s = backoff_s(failures)
    text = "is tried again" + (f" after {pause_s:g} s" if pause_s else "")
    return replace(replica, phase=ReplicaPhase.WAITING, failures=failures, not_before=now + pause_s), text


def _after_preemption(replica: Replica, attempt: Attempt) -> tuple[Replica, str]:
    """It waits for a place again, or goes on at those that were promised. No retry is used up, but for the restarts in
    place that the attempt had."""
    then = () if attempt.stop is None else attempt.stop.then
    after = replace(
        replica,
        phase=ReplicaPhase.WAITING,
        failures=replica.failures + attempt.incarnation,
        preempted=replica.preempted + 1,
        then=then,
    )
    return after, "goes on at another place" if then else "gave its place up; waits for another"


def _failures(now: float, replica: Replica, attempt: Attempt, *, service: bool) -> int:
    steady = attempt.started_at is not None and (attempt.ended_at or now) - attempt.started_at >= STEADY_S
    before = 0 if service and steady else replica.failures
    return before + attempt.incarnation + 1


def _no_retry(spec: WorkloadSpec, attempt: Attempt, failures: int, *, service: bool) -> str:
    """Why it is not tried again; empty when it is."""
    cause = attempt.cause or Cause(kind=CauseKind.EXIT)
    if cause.exit_code == DO_NOT_REQUEUE and not service:
        return f"failed with exit code {DO_NOT_REQUEUE}, which asks not to be tried again"
    if cause.kind is CauseKind.TIME_LIMIT and not service:
        return "failed: its time was up"
    event = RetryEvent.INTERRUPTION if cause.kind.is_interruption else RetryEvent.ERROR
    if event not in spec.retry.on_events:
        return f"failed; its retry policy does not cover {event}s"
    if spec.retry.maximum is not None and failures > spec.retry.maximum:
        return {0: "failed", 1: "failed; its one retry is used up"}.get(
            spec.retry.maximum, f"failed; all {spec.retry.maximum} retries are used up"
        )
    return ""


def _settle_workload(batch: Batch, workload: Workload, aim: _Aim) -> None:
    phase = _phase(workload.kind, [replica.phase for replica in batch.replicas(workload.id)], stop=aim.stop)
    if phase is workload.phase:
        return
    if not phase.ended:
        batch.write(EventKind.WORKLOAD_CHANGED, f"{workload.name} is {phase}", replace(workload, phase=phase))
        return
    verdict = "was cancelled" if phase is WorkloadPhase.CANCELLED else phase.value
    text = f"{workload.name} {verdict}" + (f": {aim.note}" if aim.note else "")
    ended = replace(workload, phase=phase, ended_at=batch.now, note=aim.note or workload.note)
    batch.write(EventKind.WORKLOAD_ENDED, text, ended)


def _phase(kind: WorkloadKind, phases: list[ReplicaPhase], *, stop: bool) -> WorkloadPhase:
    """A service that was told to stop is cancelled, however its replicas ended; a job succeeds or fails by itself."""
    if stop and all(phase.ended for phase in phases):
        if kind is WorkloadKind.SERVICE:
            return WorkloadPhase.CANCELLED
        return next((end for replica, end in _ENDS if replica in phases), WorkloadPhase.CANCELLED)
    if phases and all(phase.ended for phase in phases):
        return next((end for replica, end in _ENDS if replica in phases), WorkloadPhase.WAITING)
    if stop:
        return WorkloadPhase.STOPPING
    return WorkloadPhase.RUNNING if ReplicaPhase.ACTIVE in phases else WorkloadPhase.WAITING


_ENDS = ((ReplicaPhase.FAILED, WorkloadPhase.FAILED), (ReplicaPhase.SUCCEEDED, WorkloadPhase.SUCCEEDED))
"""What a workload comes to when all its replicas have ended; the first that is there."""
