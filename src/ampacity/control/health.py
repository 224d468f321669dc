"""When a service's replica is given up: not ready in time, or no longer ready. Pure."""

from __future__ import annotations

from ampacity.model.attempt import Attempt, AttemptPhase, Cause, CauseKind, StopOrder
from ampacity.model.workload import WorkloadSpec


def give_up(attempt: Attempt, spec: WorkloadSpec, now: float, *, was_ready: bool) -> StopOrder | None:
    """The order to end an unhealthy replica, or ``None`` while there is hope.

    ``was_ready``: it has just stopped to answer (as often as its probe allows), after it had been ready.
    """
    if spec.service is None or attempt.phase is not AttemptPhase.RUNNING or attempt.ready:
        return None
    detail = attempt.unhealthy_detail or "it does not answer"
    if was_ready:
        return _order(spec, now, f"no longer ready: {detail}")
    probe = spec.service.readiness
    if attempt.started_at is not None and now - attempt.started_at >= probe.timeout_s:
        return _order(spec, now, f"not ready within {probe.timeout_s:g} s: {detail}")
    return None


def next_deadline(attempt: Attempt, spec: WorkloadSpec) -> float | None:
    """When :func:`give_up` has to be asked again though nothing happens."""
    waits = attempt.phase is AttemptPhase.RUNNING and not attempt.ready and attempt.started_at is not None
    if spec.service is None or not waits or attempt.started_at is None:
        return None
    return attempt.started_at + spec.service.readiness.timeout_s


def _order(spec: WorkloadSpec, now: float, message: str) -> StopOrder:
    cause = Cause(kind=CauseKind.UNHEALTHY, message=message)
    return StopOrder(
        reason=message, by="ampacity", grace_s=min(spec.grace_s, 5.0), at=now, final=AttemptPhase.FAILED, cause=cause
    )
