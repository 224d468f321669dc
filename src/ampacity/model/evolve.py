"""The one function that changes an attempt: ``evolve(attempt, fact)``. Pure; a doubled fact changes nothing more."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from .attempt import (
    TRANSITIONS,
    Attempt,
    AttemptFact,
    AttemptLost,
    AttemptPhase,
    Cause,
    CauseKind,
    IncarnationBegan,
    Member,
    MemberExited,
    MemberPhase,
    MemberPreparing,
    MemberStarted,
    Progress,
    ProgressReported,
    ReadinessChanged,
    StopOrder,
)
from .plan import Placement

_MEMBER_ORDER = list(MemberPhase)


def evolve(attempt: Attempt, fact: AttemptFact) -> Attempt:
    """The attempt after the fact.

    Facts may come doubled, late or with some missing. A fact of another attempt or epoch, one about a member that has
    already ended, or any fact about an attempt that has ended changes nothing: then the very same object is returned.
    A changed attempt has ``version`` one higher.
    """
    if attempt.phase.ended or not _concerns(attempt, fact):
        return attempt
    changed = _after(attempt, fact)
    return attempt if changed == attempt else replace(changed, version=attempt.version + 1)


def order_stop(attempt: Attempt, stop: StopOrder) -> Attempt:
    """The attempt once it was told to stop. An order that stands is not replaced, but a preemption is by any other."""
    if attempt.phase.ended or (attempt.stop is not None and (stop.preempts or not attempt.stop.preempts)):
        return attempt
    return replace(attempt, phase=AttemptPhase.STOPPING, stop=stop, ready=False, version=attempt.version + 1)


def _concerns(attempt: Attempt, fact: AttemptFact) -> bool:
    if isinstance(fact, AttemptLost):
        return fact.attempt == attempt.id
    key = fact.key
    return key.attempt == attempt.id and key.epoch == attempt.epoch and 0 <= key.member < len(attempt.members)


def _after(attempt: Attempt, fact: AttemptFact) -> Attempt:
    match fact:
        case AttemptLost():
            return _end(attempt, AttemptPhase.LOST, fact.at, fact.cause)
        case MemberPreparing():
            member = _advance(attempt.members[fact.key.member], MemberPhase.PREPARING)
            return _forward(_with_member(attempt, member), AttemptPhase.PREPARING, fact.at)
        case MemberStarted():
            member = _advance(attempt.members[fact.key.member], MemberPhase.RUNNING, endpoint=fact.endpoint, on=fact.on)
            return _forward(_with_member(attempt, member), AttemptPhase.RUNNING, fact.at)
        case MemberExited():
            return _member_exited(attempt, fact)
        case IncarnationBegan():
            incarnation = max(attempt.incarnation, fact.incarnation)
            first = attempt.first_progress if incarnation == attempt.incarnation else None
            return replace(attempt, incarnation=incarnation, first_progress=first)
        case ProgressReported():
            progress = _later(attempt.progress, fact.progress)
            first = attempt.first_progress
            if first is None or progress.step < first.step:
                first = progress
            return replace(attempt, progress=progress, first_progress=first)
        case ReadinessChanged():
            if attempt.phase is AttemptPhase.STOPPING:
                return attempt
            return replace(attempt, ready=fact.ready, unhealthy_detail="" if fact.ready else fact.detail)
        case _:
            assert_never(fact)


def _with_member(attempt: Attempt, member: Member) -> Attempt:
    members = tuple(member if each.index == member.index else each for each in attempt.members)
    return replace(attempt, members=members)


def _advance(member: Member, phase: MemberPhase, *, endpoint: str = "", on: Placement | None = None) -> Member:
    if _MEMBER_ORDER.index(phase) <= _MEMBER_ORDER.index(member.phase):
        return member
    if on is not None:
        member = replace(member, node=on.node, allocation=on.allocation)
    return replace(member, phase=phase, endpoint=endpoint or member.endpoint)


def _forward(attempt: Attempt, phase: AttemptPhase, at: float) -> Attempt:
    """To ``running`` when every member runs; to ``preparing`` when the first begins."""
    if phase is AttemptPhase.RUNNING and any(
        member.phase in (MemberPhase.PENDING, MemberPhase.PREPARING) for member in attempt.members
    ):
        phase = AttemptPhase.PREPARING
    if phase not in TRANSITIONS[attempt.phase]:
        return attempt
    started_at = at if phase is AttemptPhase.RUNNING else attempt.started_at
    return replace(attempt, phase=phase, started_at=started_at)


def _member_exited(attempt: Attempt, fact: MemberExited) -> Attempt:
    member = attempt.members[fact.key.member]
    if member.phase is MemberPhase.EXITED:
        return attempt
    attempt = _with_member(attempt, replace(member, phase=MemberPhase.EXITED, cause=fact.cause))
    if not fact.cause.completed and _is_its_own_doing(attempt, fact.cause):
        order = StopOrder(
            reason=f"member {member.index} ended: {fact.cause.kind}",
            by="ampacity",
            grace_s=0.0,
            at=fact.at,
            final=AttemptPhase.FAILED,
            cause=fact.cause,
        )
        attempt = replace(attempt, phase=AttemptPhase.STOPPING, stop=order, ready=False)
    if any(each.phase is not MemberPhase.EXITED for each in attempt.members):
        return _forward(attempt, AttemptPhase.RUNNING, fact.at)  # that it began may never have been heard of
    if attempt.stop is None or (attempt.stop.preempts and _has_completed(attempt)):
        return _end(attempt, AttemptPhase.SUCCEEDED, fact.at, fact.cause)
    cause = attempt.stop.cause or Cause(kind=CauseKind.STOPPED, message=attempt.stop.reason)
    return _end(attempt, attempt.stop.final, fact.at, cause)


def _is_its_own_doing(attempt: Attempt, cause: Cause) -> bool:
    """Whether a member's end ends the attempt, and is why. One that is being preempted may still fail by itself."""
    if attempt.stop is None:
        return True
    told_to = cause.kind is CauseKind.STOPPED or cause.kind.is_interruption
    return attempt.stop.preempts and not told_to


def _has_completed(attempt: Attempt) -> bool:
    """All its members had done their work before they were told to end."""
    return all(member.cause is not None and member.cause.completed for member in attempt.members)


def _end(attempt: Attempt, phase: AttemptPhase, at: float, cause: Cause) -> Attempt:
    return replace(attempt, phase=phase, ended_at=at, cause=cause, ready=False)


def _later(known: Progress | None, new: Progress) -> Progress:
    if known is None:
        return new
    if new.at < known.at:
        return known
    if new.checkpoint_step is not None:
        return new
    return replace(
        new,
        checkpoint_step=known.checkpoint_step,
        checkpoint_path=new.checkpoint_path or known.checkpoint_path,
        checkpoint_at=known.checkpoint_at,
    )
